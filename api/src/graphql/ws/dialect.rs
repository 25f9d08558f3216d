//! The two subprotocols: what each calls its messages, and where their rules differ.
//!
//! Both say the same things in other words, so that there is one state machine, one set of checks and one fan-out for
//! them. What a subprotocol adds to that stands here and in [`super::message`], and nowhere else.

use super::super::fanout::Receipt;
use super::close::CloseReason;

const ACK: &str = r#"{"type":"connection_ack"}"#;
const PING: &str = r#"{"type":"ping"}"#;
const KA: &str = r#"{"type":"ka"}"#;

/// The language that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `graphql-transport-ws`, of graphql-ws.
    Modern,
    /// `graphql-ws`, of subscriptions-transport-ws, which is no longer maintained and still met often.
    Legacy,
}

/// What a client asks for by a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// To be let in.
    Init,
    /// A sign of life.
    Ping,
    /// A sign of life, whether it was asked for or not.
    Pong,
    /// To execute an operation.
    Start,
    /// To hear nothing more of an operation.
    Stop,
    /// To close the connection.
    Terminate,
}

impl Dialect {
    /// What to speak with a client that offers these subprotocols: the first of them that is ours, if any is.
    ///
    /// They stand in the client's order of preference (RFC 6455, section 4.1). There are clients that offer both, the
    /// legacy one first, and speak that one even if the other was chosen: gql for Python does so, as it looks for the
    /// answer's header in one writing alone.
    pub(super) fn choose<'a>(mut offered: impl Iterator<Item = &'a str>, legacy: bool) -> Option<Self> {
        let ours: &[Self] = if legacy { &[Self::Modern, Self::Legacy] } else { &[Self::Modern] };
        offered.find_map(|name| ours.iter().copied().find(|dialect| dialect.subprotocol() == name))
    }

    /// Its name in `Sec-WebSocket-Protocol`, which is compared exactly: clients refuse another writing than theirs.
    pub(super) fn subprotocol(self) -> &'static str {
        match self {
            Self::Modern => "graphql-transport-ws",
            Self::Legacy => "graphql-ws",
        }
    }

    /// What a client means by a message of this type; none for what is no message of a client.
    pub(super) fn verb(self, kind: &str) -> Option<Verb> {
        match (self, kind) {
            (_, "connection_init") => Some(Verb::Init),
            (Self::Modern, "ping") => Some(Verb::Ping),
            (Self::Modern, "pong") => Some(Verb::Pong),
            (Self::Modern, "subscribe") | (Self::Legacy, "start") => Some(Verb::Start),
            (Self::Modern, "complete") | (Self::Legacy, "stop") => Some(Verb::Stop),
            (Self::Legacy, "connection_terminate") => Some(Verb::Terminate),
            _ => None,
        }
    }

    /// What is said to a client that is let in. Legacy clients watch over the connection from the first `ka` on.
    pub(super) fn welcome(self) -> &'static [&'static str] {
        match self {
            Self::Modern => &[ACK],
            Self::Legacy => &[ACK, KA],
        }
    }

    /// What is said from time to time, so that neither side takes silence for the end.
    pub(super) fn keep_alive(self) -> &'static str {
        match self {
            Self::Modern => PING,
            Self::Legacy => KA,
        }
    }

    /// Whether it lets it be known what a client has received: only pings that are answered do.
    pub(super) fn receipt(self) -> Receipt {
        match self {
            Self::Modern => Receipt::Known,
            Self::Legacy => Receipt::Unknown,
        }
    }

    /// The type of a message with a result.
    pub(super) fn result(self) -> &'static str {
        match self {
            Self::Modern => "next",
            Self::Legacy => "data",
        }
    }

    /// Whether the end of an operation is said also to the client that asked for it.
    pub(super) fn confirms_stop(self) -> bool {
        self == Self::Legacy
    }

    /// Whether why the connection is closed is said in a message first: legacy clients do not look at close codes.
    ///
    /// Not where the client did nothing wrong, since they take `connection_error` for a refusal.
    pub(super) fn explains(self, reason: CloseReason) -> bool {
        let blameless = matches!(
            reason,
            CloseReason::GoingAway | CloseReason::Asked | CloseReason::Stalled | CloseReason::Defect
        );
        self == Self::Legacy && !blameless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_order_decides_and_names_are_exact() {
        let choose = |offered: &[&str], legacy| Dialect::choose(offered.iter().copied(), legacy);
        let (modern, legacy) = ("graphql-transport-ws", "graphql-ws");
        assert_eq!(choose(&[modern], true), Some(Dialect::Modern));
        assert_eq!(choose(&["soap", legacy], true), Some(Dialect::Legacy));
        assert_eq!(choose(&[modern, legacy], true), Some(Dialect::Modern));
        assert_eq!(choose(&[legacy, modern], true), Some(Dialect::Legacy));
        assert_eq!(choose(&[legacy, modern], false), Some(Dialect::Modern));
        assert_eq!(choose(&[legacy], false), None);
        assert_eq!(choose(&["GraphQL-Transport-WS", "graphql-ws2", ""], true), None);
    }

    #[test]
    fn what_is_a_word_of_one_is_none_of_the_other() {
        for (kind, modern, legacy) in [
            ("connection_init", Some(Verb::Init), Some(Verb::Init)),
            ("ping", Some(Verb::Ping), None),
            ("pong", Some(Verb::Pong), None),
            ("subscribe", Some(Verb::Start), None),
            ("start", None, Some(Verb::Start)),
            ("complete", Some(Verb::Stop), None),
            ("stop", None, Some(Verb::Stop)),
            ("connection_terminate", None, Some(Verb::Terminate)),
            ("connection_ack", None, None),
            ("ka", None, None),
            ("data", None, None),
            ("", None, None),
        ] {
            assert_eq!((Dialect::Modern.verb(kind), Dialect::Legacy.verb(kind)), (modern, legacy), "{kind}");
        }
    }
}
