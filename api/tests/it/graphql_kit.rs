//! What the tests of GraphQL share: a node with one project, and a plain WebSocket client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nuncio_api::{ApiSettings, mint_token};
use nuncio_broker::{Wake, WakeBus};
use nuncio_devstack::testkit::Proxy;
use nuncio_model::rights::RightsText;
use nuncio_model::{Channel, Clock, Data, Draft, Event, NamespaceSettings};
use nuncio_store::{Entry, Policy, Project};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::node::{self, SOON, Setup, Tenant};

/// A node with a project `demo`, and a clock that runs.
pub(crate) struct Node {
    node: node::Node,
    pub(crate) project: Arc<Project>,
    /// A key that may do everything in `demo`.
    pub(crate) key: String,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::build(Setup::default()).await
    }

    pub(crate) async fn with(settings: ApiSettings) -> Self {
        Self::build(Setup { settings, ..Setup::default() }).await
    }

    /// A node that has to find by polling what others commit.
    pub(crate) async fn polling() -> Self {
        Self::build(Setup { bus: WakeBus::polling(), ..Setup::default() }).await
    }

    /// A node, and the way to its database, which can be cut.
    pub(crate) async fn proxied() -> (Self, Proxy) {
        let mut node = Self::build(Setup { proxied: true, ..Setup::default() }).await;
        let proxy = node.node.proxy.take().expect("it was asked for");
        (node, proxy)
    }

    pub(crate) async fn build(setup: Setup) -> Self {
        let node = node::Node::build(Setup { clock: Clock::system(), ..setup }).await;
        let Tenant { name, key } = node.tenant("demo").await;
        let project = node.project(&name);
        Self { node, project, key }
    }

    /// A token of user `u` that may read these patterns and write nothing.
    pub(crate) fn token(&self, subscribe: &[&str], lifetime: Duration) -> String {
        self.token_of("u", subscribe, lifetime)
    }

    pub(crate) fn token_of(&self, user: &str, subscribe: &[&str], lifetime: Duration) -> String {
        let subscribe = subscribe.iter().map(|text| (*text).to_owned()).collect();
        let rights = RightsText { subscribe, ..RightsText::default() };
        let (key, now) = (&self.project.signing_keys[0], self.app.clock.now());
        mint_token(&self.project.name, key, user, &rights, now, lifetime).expect("it can be signed")
    }

    /// Commits events of one channel without telling anybody.
    pub(crate) async fn append(&self, channel: &str, data: &[String]) -> Vec<Arc<Event>> {
        let policy = Policy::of(&NamespaceSettings::default());
        let entry = |data: &String| Entry { draft: draft(channel, data), policy, batch: 0 };
        let entries = data.iter().map(entry).collect();
        self.app.store.append(self.project.id, entries).await.expect("the log takes it").events
    }

    /// Commits events and wakes the node.
    pub(crate) async fn publish(&self, channel: &str, data: &[String]) -> Vec<Arc<Event>> {
        let events = self.append(channel, data).await;
        self.bus.send(Wake::of(events.clone()).expect("there are events"));
        events
    }

    /// Waits until so many listen to the channel.
    pub(crate) async fn until_listeners(&self, channel: &str, count: usize) {
        self.node.until_listeners(self.project.id, channel, count).await;
    }

    /// Waits until so many listen to the channel of another project.
    pub(crate) async fn until_listeners_in(&self, tenant: &Tenant, channel: &str, count: usize) {
        self.node.until_listeners(self.node.project(&tenant.name).id, channel, count).await;
    }

    /// Publishes numbers to another project, and gives their cursors.
    pub(crate) async fn publish_to(
        &self,
        tenant: &Tenant,
        channel: &str,
        numbers: std::ops::Range<u32>,
    ) -> Vec<String> {
        self.node.publish(tenant, channel, numbers).await
    }

    /// Executes by POST with the key that may do everything.
    pub(crate) async fn execute(&self, query: &str) -> Value {
        let body = json!({ "query": query }).to_string();
        let answer = self.post(body, "application/json").await;
        answer.json().await.expect("the answer is JSON")
    }

    pub(crate) async fn post(&self, body: String, content_type: &str) -> reqwest::Response {
        let request = reqwest::Client::new().post(self.url()).bearer_auth(&self.key);
        request.header("content-type", content_type).body(body).send().await.expect("the node answers")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with("graphql-transport-ws", &[]).await
    }

    pub(crate) async fn connect_with(&self, protocol: &str, headers: &[(&'static str, &str)]) -> Client {
        Client::connect(&self.address, protocol, headers).await
    }

    /// A connection that has been acknowledged, with the key that may do everything.
    pub(crate) async fn ready(&self) -> Client {
        Client::ready(&self.address, &self.key).await
    }
}

fn draft(channel: &str, data: &str) -> Draft {
    Draft {
        channel: Channel::parse(channel).expect("a good channel"),
        id: nuncio_model::ids::unique_id(),
        source: "/test".to_owned(),
        r#type: "message".to_owned(),
        subject: None,
        time: None,
        content_type: None,
        data: Data::Json(Bytes::from(data.to_owned())),
        extensions: Default::default(),
    }
}

impl std::ops::Deref for Node {
    type Target = node::Node;

    fn deref(&self) -> &node::Node {
        &self.node
    }
}

/// A WebSocket client that does what it is told.
pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// A connection to the node at this address.
    pub(crate) async fn connect(address: &str, protocol: &str, headers: &[(&'static str, &str)]) -> Self {
        let url = format!("ws://{address}/graphql");
        let mut request = url.into_client_request().expect("a good URL");
        let mut set = |name, value: &str| {
            request.headers_mut().insert(name, value.parse().expect("a good header"));
        };
        if !protocol.is_empty() {
            set("sec-websocket-protocol", protocol);
        }
        headers.iter().for_each(|(name, value)| set(name, value));
        Self(connect_async(request).await.expect("the handshake is accepted").0)
    }

    /// A connection to the node at this address, acknowledged.
    pub(crate) async fn ready(address: &str, token: &str) -> Self {
        let mut client = Self::connect(address, "graphql-transport-ws", &[]).await;
        client.init(token).await;
        client
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        // The node may have closed already; what it said about that is still to be read.
        let _ = self.0.send(Message::text(text.into())).await;
    }

    pub(crate) async fn init(&mut self, token: &str) {
        self.send(json!({"type": "connection_init", "payload": {"token": token}}).to_string()).await;
        assert_eq!(self.message().await, json!({"type": "connection_ack"}));
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"id": id, "type": "subscribe", "payload": {"query": query}}).to_string()).await;
    }

    /// Starts an operation with all that a payload may hold.
    pub(crate) async fn start(&mut self, id: &str, payload: &Value) {
        self.send(json!({"id": id, "type": "subscribe", "payload": payload}).to_string()).await;
    }

    pub(crate) async fn complete(&mut self, id: &str) {
        self.send(json!({"id": id, "type": "complete"}).to_string()).await;
    }

    /// The next event, and the operation it is of.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        let mut message = self.message().await;
        assert_eq!(message["type"], json!("next"), "{message}");
        let id = message["id"].as_str().expect("an id").to_owned();
        (id, message["payload"]["data"].take())
    }

    /// Waits until the node has dealt with all that was sent; what comes before that is thrown away.
    pub(crate) async fn settle(&mut self) {
        self.send(r#"{"type":"ping"}"#).await;
        while self.message().await != json!({"type": "pong"}) {}
    }

    /// The next text that is no ping, as it is.
    pub(crate) async fn text(&mut self) -> String {
        // Pings go on however long what is waited for does not come.
        let end = Instant::now() + SOON;
        loop {
            let text = timeout_at(end, self.any_text()).await.expect("a message in time");
            if !text.starts_with(r#"{"type":"ping""#) {
                return text;
            }
        }
    }

    /// The next text, as it is.
    pub(crate) async fn any_text(&mut self) -> String {
        let end = Instant::now() + SOON;
        loop {
            match timeout_at(end, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a text: {other:?}"),
            }
        }
    }

    /// Waits for a ping that carries a number, and answers it.
    pub(crate) async fn answer_ping(&mut self) {
        let end = Instant::now() + SOON;
        loop {
            let text = timeout_at(end, self.any_text()).await.expect("a ping in time");
            if text.starts_with(r#"{"type":"ping","payload""#) {
                return self.send(text.replace("ping", "pong")).await;
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("messages are JSON")
    }

    /// The code that the node closes with, whatever comes before it.
    pub(crate) async fn close_code(&mut self) -> u16 {
        self.close().await.0
    }

    /// The next text that is no ping, or the reason that the node closes with.
    pub(crate) async fn text_or_close(&mut self) -> String {
        loop {
            match timeout(SOON, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
                Some(Ok(Message::Text(text))) if !text.starts_with(r#"{"type":"ping""#) => {
                    return text.to_string();
                }
                Some(Ok(_)) => {}
                other => panic!("expected a text or a close: {other:?}"),
            }
        }
    }

    /// The code and the reason that the node closes with, whatever comes before that.
    pub(crate) async fn close(&mut self) -> (u16, String) {
        loop {
            match timeout(SOON, self.0.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("expected a close frame: {other:?}"),
            }
        }
    }

    /// Everything after the code of an `error` of this operation.
    pub(crate) async fn error_code(&mut self, id: &str) -> Value {
        let message = self.message().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(id)), "{message}");
        message["payload"][0]["extensions"]["code"].clone()
    }
}
