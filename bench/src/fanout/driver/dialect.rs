//! How a subscriber talks to each kind of server: what it sends to subscribe, and what it answers.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The path of the WebSocket or the stream, and what is spoken there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Dialect {
    /// `graphql-transport-ws`.
    Graphql {
        path: String,
        token: Option<String>,
        /// Subscriber number n takes the n-th of these, and begins again after the last.
        queries: Vec<String>,
    },
    /// Server-sent events.
    Sse { path: String, token: String },
    /// A WebSocket on which events come at once.
    Bare { path: String },
    /// Socket.IO (Engine.IO 4) over a WebSocket from the start.
    SocketIo,
    /// centrifuge's JSON protocol of its version 0.15.
    Centrifuge,
}

/// A step of the way to a subscription.
pub(super) enum Step {
    Send(String),
    /// Waits for a text that holds this.
    Await(&'static str),
}

impl Dialect {
    /// The request that opens the connection.
    pub(super) fn request(&self, host: &str) -> String {
        let upgrade = |path: &str, more: &str| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
            )
        };
        match self {
            Self::Graphql { path, .. } => upgrade(path, "Sec-WebSocket-Protocol: graphql-transport-ws\r\n"),
            Self::Bare { path } => upgrade(path, ""),
            Self::SocketIo => upgrade("/socket.io/?EIO=4&transport=websocket", ""),
            Self::Centrifuge => upgrade("/connection/websocket", ""),
            Self::Sse { path, token } => format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
            ),
        }
    }

    /// How the answer to the request begins.
    pub(super) fn status(&self) -> &'static str {
        if matches!(self, Self::Sse { .. }) { "HTTP/1.1 200" } else { "HTTP/1.1 101" }
    }

    pub(super) fn is_websocket(&self) -> bool {
        !matches!(self, Self::Sse { .. })
    }

    /// What subscribes, for this subscriber, going on after a cursor where there is one.
    pub(super) fn opening(&self, member: usize, after: Option<&str>) -> Vec<Step> {
        match self {
            Self::Graphql { token, queries, .. } => {
                let payload = token.as_ref().map(|token| json!({"token": token}));
                let init = json!({"type": "connection_init", "payload": payload});
                let mut payload = json!({"query": queries[member % queries.len()]});
                if let Some(after) = after {
                    payload["variables"] = json!({"after": after});
                }
                let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload});
                let steps = [init.to_string(), subscribe.to_string()].map(Step::Send);
                let [init, subscribe] = steps;
                vec![init, Step::Await("connection_ack"), subscribe]
            }
            Self::Sse { .. } | Self::Bare { .. } => Vec::new(),
            Self::SocketIo => vec![Step::Await("\"sid\""), Step::Send("40".to_owned()), Step::Await("40{")],
            Self::Centrifuge => vec![
                Step::Send(r#"{"id":1,"method":0,"params":{}}"#.to_owned()),
                Step::Await("\"id\":1"),
                Step::Send(r#"{"id":2,"method":1,"params":{"channel":"bench"}}"#.to_owned()),
                Step::Await("\"id\":2"),
            ],
        }
    }

    /// The answer to a text that is no event, where it wants one; a text that ends the subscription is an error.
    pub(super) fn answer(&self, text: &[u8]) -> Result<Option<&'static [u8]>, String> {
        let starts = |begin: &str| text.starts_with(begin.as_bytes());
        match self {
            Self::Graphql { .. } if starts("{\"type\":\"ping\"") => Ok(Some(b"{\"type\":\"pong\"}")),
            Self::Graphql { .. } if starts("{\"type\":\"pong\"") => Ok(None),
            Self::SocketIo if text == b"2" => Ok(Some(b"3")),
            Self::SocketIo | Self::Centrifuge => Ok(None),
            _ => Err(format!("neither event nor ping: {}", String::from_utf8_lossy(text))),
        }
    }
}
