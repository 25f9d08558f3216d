//! A WebSocket of somebody who means no good, in either subprotocol.

use nuncio_devstack::testkit::websocket::{FIN, Frame, RawSocket, TEXT, frame};
use serde_json::{Value, json};

use super::Arena;
use super::leaks::Leaks;
use crate::program::within;

/// How a subprotocol calls what a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pub(crate) subprotocol: &'static str,
    start: &'static str,
    stop: &'static str,
    /// The type of a message with a result.
    pub(crate) result: &'static str,
    /// What is said to whoever is let in.
    welcome: &'static [&'static str],
}

/// Both subprotocols.
pub(crate) const BOTH: [Words; 2] = [
    Words {
        subprotocol: "graphql-transport-ws",
        start: "subscribe",
        stop: "complete",
        result: "next",
        welcome: &["connection_ack"],
    },
    Words {
        subprotocol: "graphql-ws",
        start: "start",
        stop: "stop",
        result: "data",
        welcome: &["connection_ack", "ka"],
    },
];

impl Words {
    /// An operation's beginning.
    pub(crate) fn start(&self, id: &str, query: &str) -> String {
        json!({"id": id, "type": self.start, "payload": {"query": query}}).to_string()
    }

    /// What ends an operation.
    pub(crate) fn stop(&self, id: &str) -> String {
        json!({"id": id, "type": self.stop}).to_string()
    }
}

/// A connection that has shaken hands.
pub(crate) struct Socket {
    pub(crate) raw: RawSocket,
    pub(crate) words: Words,
    leaks: Leaks,
}

impl Arena {
    /// Shakes hands, with more headers.
    pub(crate) async fn shake(&self, words: Words, headers: &[(&str, &str)]) -> Socket {
        let mut all = vec![("sec-websocket-protocol", words.subprotocol)];
        all.extend_from_slice(headers);
        let opened = within("a handshake", RawSocket::open(self.address(), "/graphql", &all)).await;
        Socket { raw: opened.expect("the handshake is accepted"), words, leaks: self.leaks.clone() }
    }

    /// A connection that has been let in.
    pub(crate) async fn let_in(&self, words: Words) -> Socket {
        let mut socket = self.shake(words, &[]).await;
        socket.text(&self.init()).await;
        socket.welcomed().await;
        socket
    }

    /// `connection_init` with the abused project's key.
    pub(crate) fn init(&self) -> String {
        json!({"type": "connection_init", "payload": {"token": self.tenant.key}}).to_string()
    }
}

impl Socket {
    /// Sends bytes as they are, or as many as are taken: whoever is refused may be cut off in the middle.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _may_be_cut_off = within("bytes to be taken", self.raw.send(bytes)).await;
    }

    /// Sends a message in one frame.
    pub(crate) async fn text(&mut self, text: &str) {
        self.send(&frame(FIN | TEXT, text.as_bytes())).await;
    }

    /// The next frame; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let frame = within("a frame or the end", self.raw.next()).await.ok().flatten();
        if let Some(frame) = &frame {
            self.leaks.assert_clean(&String::from_utf8_lossy(&frame.body));
        }
        frame
    }

    /// The next message that is no sign of life.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let frame = self.next().await.expect("a message");
            assert_eq!(frame.first, FIN | TEXT, "{frame:?}");
            let message: Value = serde_json::from_slice(&frame.body).expect("messages are JSON");
            if message["type"] != "ping" && message["type"] != "ka" {
                return message;
            }
        }
    }

    async fn welcomed(&mut self) {
        for kind in self.words.welcome {
            let frame = self.next().await.expect("a message");
            assert_eq!(frame.body, json!({ "type": kind }).to_string().as_bytes());
        }
    }

    /// The code that the connection is closed with, whatever comes before it.
    pub(crate) async fn closed(&mut self) -> u16 {
        // A live connection is never silent for long, so that each frame coming in time says nothing.
        let until_closed = async {
            loop {
                let frame = self.next().await.expect("a close frame");
                if let Some((code, _)) = frame.close() {
                    return code;
                }
            }
        };
        within("a close frame", until_closed).await
    }

    /// Sends the same again and again, reading nothing, until the connection is broken; how many bytes were taken.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        let until_broken = async {
            while self.raw.send(bytes).await.is_ok() {
                taken += bytes.len();
            }
        };
        within("the end of a connection that takes nothing", until_broken).await;
        taken
    }

    /// Checks that an operation is executed.
    pub(crate) async fn works(&mut self) {
        let start = self.words.start("works", "{ __typename }");
        self.text(&start).await;
        let result = self.message().await;
        assert_eq!(result["payload"], json!({"data": {"__typename": "Query"}}), "{result}");
        assert_eq!(self.message().await["type"], json!("complete"));
    }
}
