//! What the streams of GraphQL are written in, byte by byte.
//!
//! Server-sent events as PROTOCOL.md of graphql-sse has them, for one operation or for many; and multipart as Apollo's
//! "multipart protocol for GraphQL subscriptions" has it. A payload is one line of JSON, so that no line break can end a
//! field of an event before its time.

use async_graphql::ServerError;
use nuncio_model::json::push_string;

use super::super::response;
use crate::accept::Accept;
use crate::connections::Kind;
use crate::sse::EVENT_STREAM;

/// The media type of answers in parts, without its parameters.
const MULTIPART: &str = "multipart/mixed";
/// What a part begins with, after the boundary.
const PART: &[u8] = b"\r\ncontent-type: application/json\r\n\r\n";

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Events of one operation: the distinct connections mode.
    Distinct,
    /// Events of many operations, each under its id: the single connection mode.
    Single,
    /// Parts of one operation.
    Multipart,
}

impl Dialect {
    /// The one that a client names as what it accepts for an answer that goes on.
    pub(super) fn wanted(accept: &Accept) -> Option<Self> {
        match (accept.names(EVENT_STREAM), accept.names(MULTIPART)) {
            (true, true) if accept.wants(MULTIPART) > accept.wants(EVENT_STREAM) => Some(Self::Multipart),
            (true, _) => Some(Self::Distinct),
            (false, true) => Some(Self::Multipart),
            (false, false) => None,
        }
    }

    /// As `Content-Type` has it.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Distinct | Self::Single => "text/event-stream; charset=utf-8",
            Self::Multipart => "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0",
        }
    }

    /// As it is listed among the connections.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Distinct | Self::Single => Kind::GraphqlSse,
            Self::Multipart => Kind::Multipart,
        }
    }

    /// The first bytes, so that proxies pass the headers on.
    pub(super) fn hello(self) -> &'static [u8] {
        match self {
            Self::Distinct | Self::Single => b":\n\n",
            Self::Multipart => b"\r\n--graphql",
        }
    }

    /// A sign of life.
    pub(super) fn beat(self) -> Vec<u8> {
        match self {
            Self::Distinct | Self::Single => b":\n\n".to_vec(),
            Self::Multipart => [PART, b"{}", Self::Multipart.after_part()].concat(),
        }
    }

    /// What a message with a result of this operation begins with; the result comes after it, and then the [tail](Self::tail).
    pub(super) fn head(self, id: &str) -> Vec<u8> {
        match self {
            Self::Distinct => b"event: next\ndata: ".to_vec(),
            Self::Single => {
                let mut head = b"event: next\ndata: {\"id\":".to_vec();
                push_string(&mut head, id);
                head.extend_from_slice(b",\"payload\":");
                head
            }
            Self::Multipart => [PART, b"{\"payload\":"].concat(),
        }
    }

    /// What a message with a result ends with.
    pub(super) fn tail(self) -> &'static [u8] {
        match self {
            Self::Distinct => b"\n\n",
            Self::Single => b"}\n\n",
            // A client takes a part once the boundary after it has come.
            Self::Multipart => b"}\r\n--graphql",
        }
    }

    /// The operation could not begin, or go on.
    pub(super) fn error(self, id: &str, errors: &[ServerError]) -> Vec<u8> {
        let mut out = match self {
            Self::Distinct | Self::Single => [&self.head(id), &b"{\"errors\":"[..]].concat(),
            // An error of the transport is one that ends the stream.
            Self::Multipart => [PART, b"{\"payload\":null,\"errors\":"].concat(),
        };
        response::write_errors(&mut out, errors);
        match self {
            Self::Distinct | Self::Single => {
                out.push(b'}');
                out.extend_from_slice(self.tail());
            }
            Self::Multipart => out.extend_from_slice(self.tail()),
        }
        out
    }

    /// The operation has nothing more. The browser's EventSource passes on only events that have a line of data.
    pub(super) fn complete(self, id: &str) -> Vec<u8> {
        match self {
            Self::Distinct => b"event: complete\ndata:\n\n".to_vec(),
            Self::Single => {
                let mut out = b"event: complete\ndata: {\"id\":".to_vec();
                push_string(&mut out, id);
                out.extend_from_slice(b"}\n\n");
                out
            }
            // The last boundary.
            Self::Multipart => b"--\r\n".to_vec(),
        }
    }

    fn after_part(self) -> &'static [u8] {
        self.tail().strip_prefix(b"}").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::*;

    fn text(bytes: impl AsRef<[u8]>) -> String {
        String::from_utf8(bytes.as_ref().to_vec()).expect("UTF-8")
    }

    #[test]
    fn events_are_those_of_the_protocol() {
        let next = |dialect: Dialect, id| text([&dialect.head(id), &b"{}"[..], dialect.tail()].concat());
        assert_eq!(next(Dialect::Distinct, ""), "event: next\ndata: {}\n\n");
        assert_eq!(next(Dialect::Single, "a\n"), "event: next\ndata: {\"id\":\"a\\n\",\"payload\":{}}\n\n");
        assert_eq!(text(Dialect::Distinct.complete("")), "event: complete\ndata:\n\n");
        assert_eq!(text(Dialect::Single.complete("a\n")), "event: complete\ndata: {\"id\":\"a\\n\"}\n\n");
        let errors = [ServerError::new("no", None)];
        assert_eq!(
            text(Dialect::Single.error("7", &errors)),
            "event: next\ndata: {\"id\":\"7\",\"payload\":{\"errors\":[{\"message\":\"no\"}]}}\n\n"
        );
        assert_eq!(
            text(Dialect::Distinct.error("", &errors)),
            "event: next\ndata: {\"errors\":[{\"message\":\"no\"}]}\n\n"
        );
    }

    #[test]
    fn every_part_is_between_two_boundaries() {
        let dialect = Dialect::Multipart;
        let next = [&dialect.head(""), &b"{\"data\":1}"[..], dialect.tail()].concat();
        let errors = [ServerError::new("no", None)];
        let all =
            [dialect.hello(), &dialect.beat(), &next, &dialect.error("", &errors), &dialect.complete("")];
        let all = text(all.concat());
        let parts: Vec<_> = all.split("\r\n--graphql").collect();
        let part = |body| format!("\r\ncontent-type: application/json\r\n\r\n{body}");
        let error = part(r#"{"payload":null,"errors":[{"message":"no"}]}"#);
        assert_eq!(parts, ["", &part("{}"), &part(r#"{"payload":{"data":1}}"#), &error, "--\r\n"]);
    }

    #[test]
    fn a_stream_is_for_those_who_name_one() {
        for (value, dialect) in [
            ("text/event-stream", Some(Dialect::Distinct)),
            (
                "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json",
                Some(Dialect::Multipart),
            ),
            ("text/event-stream, multipart/mixed", Some(Dialect::Distinct)),
            ("multipart/mixed, text/event-stream;q=0.5", Some(Dialect::Multipart)),
            ("*/*", None),
            ("application/json, text/event-stream;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]);
            assert_eq!(Dialect::wanted(&Accept::of(&headers)), dialect, "{value}");
        }
    }
}
