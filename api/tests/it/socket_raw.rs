//! A WebSocket for tests that send frames as no ordinary client would.

use nuncio_devstack::testkit::websocket::{CLOSE, FIN, Frame, PING, RawSocket, TEXT, frame};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::graphql_kit::Node;
use crate::node::SOON;

/// A connection to a node.
pub(crate) struct Raw(pub(crate) RawSocket);

impl Raw {
    /// Shakes hands, offering these subprotocols.
    pub(crate) async fn offer(node: &Node, subprotocols: &str) -> Self {
        let headers = [("sec-websocket-protocol", subprotocols)];
        let headers = if subprotocols.is_empty() { &[][..] } else { &headers[..] };
        Self(RawSocket::open(&node.address, "/graphql", headers).await.expect("the handshake is accepted"))
    }

    /// A connection that has been acknowledged.
    pub(crate) async fn ready(node: &Node) -> Self {
        let mut raw = Self::offer(node, "graphql-transport-ws").await;
        raw.text(&json!({"type": "connection_init", "payload": {"token": node.key}})).await;
        assert_eq!(raw.message().await, json!({"type": "connection_ack"}));
        raw
    }

    /// The subprotocol that the node chose.
    pub(crate) fn subprotocol(&self) -> Option<&str> {
        let mut lines = self.0.head().lines();
        lines.find_map(|line| line.strip_prefix("sec-websocket-protocol: "))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The node may have closed already; what it said about that is still to be read.
        let _ = self.0.send(bytes.as_ref()).await;
    }

    pub(crate) async fn frame(&mut self, first: u8, body: impl AsRef<[u8]>) {
        self.send(frame(first, body.as_ref())).await;
    }

    pub(crate) async fn text(&mut self, message: &Value) {
        self.frame(FIN | TEXT, message.to_string()).await;
    }

    /// The next frame; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(SOON, self.0.next()).await.expect("a frame or the end, in time").expect("no reset")
    }

    /// The next frame, which is a text message in one piece.
    pub(crate) async fn message(&mut self) -> Value {
        let frame = self.next().await.expect("a message");
        assert_eq!(frame.first, FIN | TEXT, "{frame:?}");
        serde_json::from_slice(&frame.body).expect("messages are JSON")
    }

    /// The code and reason of the close frame, which is the next, and behind which the connection ends once it is
    /// answered.
    pub(crate) async fn close(mut self) -> (u16, String) {
        let frame = self.next().await.expect("a close frame");
        let close = frame.close().unwrap_or_else(|| panic!("expected a close frame with a code: {frame:?}"));
        self.frame(FIN | CLOSE, &frame.body).await;
        assert_eq!(self.next().await, None, "nothing comes behind a close frame");
        close
    }

    /// Checks that the connection works: a ping of the WebSocket protocol and one of the subprotocol are answered.
    pub(crate) async fn works(&mut self) {
        self.frame(FIN | PING, "are you there?").await;
        assert_eq!(self.next().await, Some(pong("are you there?")));
        self.text(&json!({"type": "ping"})).await;
        assert_eq!(self.message().await, json!({"type": "pong"}));
    }
}

/// The answer to a ping that carried this.
pub(crate) fn pong(body: impl AsRef<[u8]>) -> Frame {
    Frame { first: FIN | 0xA, body: body.as_ref().to_vec() }
}
