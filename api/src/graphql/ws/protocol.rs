//! The state machine of a connection, without sockets and without time.
//!
//! It follows the protocol document of graphql-ws (PROTOCOL.md), close codes included. The legacy dialect is held to the
//! same rules: where its own document is silent or lets a mistake pass, the connection is closed all the same.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::request::Incoming;
use super::close::CloseReason;
use super::dialect::{Dialect, Verb};

/// The longest id of an operation.
const MAX_ID_BYTES: usize = 256;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but `connection_init` may come.
    New,
    /// The credentials are being looked at.
    Initialising,
    /// `connection_ack` was sent.
    Ready,
}

/// What is to be done about a message.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing.
    None,
    /// Look at the credentials in the payload, then call [`Protocol::acknowledge`].
    Initialise(InitPayload),
    /// Answer with this text.
    Send(String),
    /// A ping was answered, with its number where the client sends it back.
    Pong(Option<u64>),
    /// Start the operation under the id; it counts as running from now on.
    Start(String, Incoming),
    /// Refuse the operation: too many are running. The connection goes on.
    Refuse(String),
    /// Stop the operation; nothing more is to be sent under its id.
    Stop(String),
    /// Close the connection.
    Close(CloseReason),
}

/// The credentials of `connection_init`; what else a client's application puts there is its own.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InitPayload {
    /// A token or a key.
    #[serde(default)]
    pub(super) token: Option<String>,
    /// `Bearer`, a space, and a token or a key.
    #[serde(default, rename = "Authorization")]
    authorization: Option<String>,
    /// The same, as headers are written in lower case.
    #[serde(default, rename = "authorization")]
    lower_case: Option<String>,
}

impl InitPayload {
    /// `Bearer`, a space, and a token or a key.
    pub(super) fn authorization(self) -> Option<String> {
        self.authorization.or(self.lower_case)
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
}

/// One connection's place in the protocol, and the ids of its running operations.
#[derive(Debug)]
pub(super) struct Protocol {
    dialect: Dialect,
    state: State,
    running: HashSet<String>,
    max_operations: usize,
}

impl Protocol {
    pub(super) fn new(dialect: Dialect, max_operations: usize) -> Self {
        Self { dialect, state: State::New, running: HashSet::new(), max_operations }
    }

    /// The language of the connection.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Takes a text message from the client.
    pub(super) fn receive(&mut self, text: &str) -> Action {
        let Some(message) = object::<Message<'_>>(text) else {
            return Action::Close(CloseReason::BadMessage);
        };
        match self.dialect.verb(&message.r#type) {
            Some(Verb::Init) => self.init(message.payload),
            Some(Verb::Ping) => ping(message.payload),
            Some(Verb::Pong) => pong(message.payload),
            Some(Verb::Start) => self.start(message.id, message.payload),
            Some(Verb::Stop) => self.stop(message.id),
            Some(Verb::Terminate) => Action::Close(CloseReason::Asked),
            None => Action::Close(CloseReason::BadMessage),
        }
    }

    /// The credentials are good: what to answer.
    ///
    /// It must be called before the next message is taken, since legacy clients do not wait for it.
    pub(super) fn acknowledge(&mut self) -> &'static [&'static str] {
        self.state = State::Ready;
        self.dialect.welcome()
    }

    /// Whether `connection_ack` was sent.
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// The operation has ended by itself; its id may be used again.
    pub(super) fn finish(&mut self, id: &str) {
        self.running.remove(id);
    }

    fn init(&mut self, payload: Option<&RawValue>) -> Action {
        if self.state != State::New {
            return Action::Close(CloseReason::SecondInit);
        }
        let payload = match payload.map(RawValue::get) {
            None | Some("null") => Some(InitPayload::default()),
            Some(text) => object(text),
        };
        let Some(payload) = payload else {
            return Action::Close(CloseReason::BadMessage);
        };
        self.state = State::Initialising;
        Action::Initialise(payload)
    }

    fn start(&mut self, id: Option<String>, payload: Option<&RawValue>) -> Action {
        if self.state != State::Ready {
            return Action::Close(CloseReason::NotInitialised);
        }
        let incoming = payload.and_then(|payload| object(payload.get()));
        let (Some(id), Some(incoming)) = (id.filter(|id| is_id(id)), incoming) else {
            return Action::Close(CloseReason::BadMessage);
        };
        if self.running.contains(&id) {
            return Action::Close(CloseReason::DuplicateId);
        }
        if self.running.len() >= self.max_operations {
            return Action::Refuse(id);
        }
        self.running.insert(id.clone());
        Action::Start(id, incoming)
    }

    fn stop(&mut self, id: Option<String>) -> Action {
        match id.filter(|id| is_id(id)) {
            // The operation may have ended while this was on its way.
            Some(id) if self.running.remove(&id) => Action::Stop(id),
            Some(_) => Action::None,
            None => Action::Close(CloseReason::BadMessage),
        }
    }
}

#[derive(Deserialize)]
struct PongPayload {
    n: Option<u64>,
}

/// The client answers a ping, or shows of itself that it is there.
fn pong(payload: Option<&RawValue>) -> Action {
    if !is_details(payload) {
        return Action::Close(CloseReason::BadMessage);
    }
    let payload = payload.and_then(|payload| serde_json::from_str::<PongPayload>(payload.get()).ok());
    Action::Pong(payload.and_then(|payload| payload.n))
}

/// A `pong` must come at once, with the payload of its ping.
fn ping(payload: Option<&RawValue>) -> Action {
    match payload.map(RawValue::get) {
        _ if !is_details(payload) => Action::Close(CloseReason::BadMessage),
        None | Some("null") => Action::Send(r#"{"type":"pong"}"#.to_owned()),
        Some(payload) => Action::Send(format!(r#"{{"type":"pong","payload":{payload}}}"#)),
    }
}

/// Whether this can be the payload of a ping or pong: an object, null or nothing.
fn is_details(payload: Option<&RawValue>) -> bool {
    payload.is_none_or(|payload| payload.get() == "null" || payload.get().starts_with('{'))
}

/// Reads a JSON object. The library would take an array for the members in their order.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let is_object = text.trim_ascii_start().starts_with('{');
    is_object.then(|| serde_json::from_str(text).ok()).flatten()
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &str = r#"{"type":"connection_init","payload":{"token":"t"}}"#;

    fn subscribe(id: &str) -> String {
        format!(r#"{{"id":"{id}","type":"subscribe","payload":{{"query":"{{cursor}}"}}}}"#)
    }

    fn ready() -> Protocol {
        let mut protocol = Protocol::new(Dialect::Modern, 2);
        assert!(matches!(protocol.receive(INIT), Action::Initialise(_)));
        assert_eq!(protocol.acknowledge(), [r#"{"type":"connection_ack"}"#]);
        protocol
    }

    fn closes(action: Action) -> Option<u16> {
        if let Action::Close(reason) = action { Some(reason.code()) } else { None }
    }

    #[test]
    fn nothing_but_init_and_pings_may_come_first() {
        assert_eq!(closes(Protocol::new(Dialect::Modern, 2).receive(&subscribe("1"))), Some(4401));
        let mut waiting = Protocol::new(Dialect::Modern, 2);
        assert!(matches!(waiting.receive(r#"{"type":"ping"}"#), Action::Send(_)));
        waiting.receive(INIT);
        assert_eq!(closes(waiting.receive(&subscribe("1"))), Some(4401), "init is not ack");
    }

    #[test]
    fn a_second_init_closes() {
        assert_eq!(closes(ready().receive(INIT)), Some(4429));
        let mut waiting = Protocol::new(Dialect::Modern, 2);
        waiting.receive(INIT);
        assert_eq!(closes(waiting.receive(INIT)), Some(4429));
    }

    #[test]
    fn an_id_is_used_once_at_a_time() {
        let mut protocol = ready();
        assert!(matches!(protocol.receive(&subscribe("1")), Action::Start(..)));
        assert!(matches!(protocol.receive(r#"{"id":"1","type":"complete"}"#), Action::Stop(_)));
        assert!(matches!(protocol.receive(r#"{"id":"1","type":"complete"}"#), Action::None));
        assert!(matches!(protocol.receive(&subscribe("1")), Action::Start(..)));
        assert_eq!(closes(protocol.receive(&subscribe("1"))), Some(4409));
        protocol.finish("1");
        assert!(matches!(protocol.receive(&subscribe("1")), Action::Start(..)));
    }

    #[test]
    fn one_operation_too_many_is_refused_and_the_connection_goes_on() {
        let mut protocol = ready();
        protocol.receive(&subscribe("1"));
        protocol.receive(&subscribe("constructor"));
        assert!(matches!(protocol.receive(&subscribe("3")), Action::Refuse(id) if id == "3"));
        protocol.receive(r#"{"id":"1","type":"complete"}"#);
        assert!(matches!(protocol.receive(&subscribe("3")), Action::Start(..)));
    }

    #[test]
    fn what_is_no_message_closes() {
        let long = subscribe(&"x".repeat(300));
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"type":"connection_ack"}"#,
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":1}"#,
            r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"ping","payload":1}"#,
            r#"{"type":"pong","payload":[]}"#,
            r#"["subscribe","1",{"query":"{a}"}]"#,
            r#"{"type":"subscribe","id":"1","payload":["{a}"]}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","extensions":[]}}"#,
            &long,
        ] {
            assert_eq!(closes(ready().receive(text)), Some(4400), "{text}");
        }
        for payload in [r#""t""#, r#"["t"]"#, "1", "true", r#"{"token":1}"#] {
            let init = format!(r#"{{"type":"connection_init","payload":{payload}}}"#);
            assert_eq!(closes(Protocol::new(Dialect::Modern, 2).receive(&init)), Some(4400), "{payload}");
        }
    }

    #[test]
    fn a_ping_is_answered_with_its_payload() {
        let Action::Send(text) = ready().receive(r#"{"type":"ping","payload":{"n": 1}}"#) else {
            panic!("no pong")
        };
        assert_eq!(text, r#"{"type":"pong","payload":{"n": 1}}"#);
        assert!(matches!(ready().receive(r#"{"type":"pong"}"#), Action::Pong(None)));
        let echoed = r#"{"type":"pong","payload":{"n":7,"x":1}}"#;
        assert!(matches!(ready().receive(echoed), Action::Pong(Some(7))));
        let own = r#"{"type":"pong","payload":{"n":"seven"}}"#;
        assert!(matches!(ready().receive(own), Action::Pong(None)));
    }

    #[test]
    fn the_legacy_dialect_says_the_same_in_its_own_words() {
        let start =
            |id: &str| format!(r#"{{"id":"{id}","type":"start","payload":{{"query":"{{cursor}}"}}}}"#);
        let mut early = Protocol::new(Dialect::Legacy, 2);
        assert_eq!(closes(early.receive(&start("1"))), Some(4401));
        let mut protocol = Protocol::new(Dialect::Legacy, 2);
        assert!(matches!(protocol.receive(INIT), Action::Initialise(_)));
        assert_eq!(protocol.acknowledge(), [r#"{"type":"connection_ack"}"#, r#"{"type":"ka"}"#]);
        assert!(matches!(protocol.receive(&start("1")), Action::Start(..)));
        assert!(matches!(protocol.receive(&start("2")), Action::Start(..)));
        assert!(matches!(protocol.receive(&start("3")), Action::Refuse(_)));
        assert!(matches!(protocol.receive(r#"{"id":"1","type":"stop"}"#), Action::Stop(id) if id == "1"));
        assert!(matches!(protocol.receive(r#"{"id":"1","type":"stop"}"#), Action::None));
        assert_eq!(closes(protocol.receive(&start("2"))), Some(4409));
        assert_eq!(closes(protocol.receive(INIT)), Some(4429));
        assert_eq!(closes(protocol.receive(r#"{"type":"connection_terminate"}"#)), Some(1000));
        for foreign in [subscribe("4"), r#"{"type":"ping"}"#.to_owned(), r#"{"type":"ka"}"#.to_owned()] {
            assert_eq!(closes(protocol.receive(&foreign)), Some(4400), "{foreign}");
        }
    }
}
