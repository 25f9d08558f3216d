//! What the tests of GraphQL share: a node on a port of its own, and a plain WebSocket client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nuncio_api::{ApiSettings, App, Parts, mint_token, router, serve};
use nuncio_broker::{Wake, WakeBus};
use nuncio_devstack::testkit::{self, Proxy, TestDatabase};
use nuncio_model::rights::RightsText;
use nuncio_model::{Channel, Clock, Data, Draft, Event, NamespaceSettings, ProjectName, Rights, Secret};
use nuncio_store::{
    Directory, Entry, NewApiKey, NewProject, Policy, ProjectRow, SecretKey, SigningKey, Store, StoreOptions,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node with a project `demo`.
pub(crate) struct Node {
    pub(crate) app: Arc<App>,
    pub(crate) bus: WakeBus,
    pub(crate) address: String,
    pub(crate) project: ProjectRow,
    /// A key that may do everything in `demo`.
    pub(crate) key: String,
    pub(crate) drain: CancellationToken,
    /// Stands between the node and its database, where the test asked for it.
    pub(crate) proxy: Option<Proxy>,
    signing: SigningKey,
    _stop: DropGuard,
    _database: TestDatabase,
}

fn options(url: &str) -> StoreOptions {
    let secret_key = Some(SecretKey::derive(&Secret::new("a secret of the tests")));
    StoreOptions { secret_key, ..StoreOptions::new(Secret::new(url)) }
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(ApiSettings::default()).await
    }

    pub(crate) async fn with(settings: ApiSettings) -> Self {
        Self::build(settings, WakeBus::memory(), false).await
    }

    /// A node without a wake bus.
    pub(crate) async fn polling() -> Self {
        Self::build(ApiSettings::default(), WakeBus::polling(), false).await
    }

    /// A node whose way to the database can be cut.
    pub(crate) async fn proxied() -> Self {
        Self::build(ApiSettings::default(), WakeBus::memory(), true).await
    }

    async fn build(settings: ApiSettings, bus: WakeBus, proxied: bool) -> Self {
        let prepare = async |url: String| {
            let store = Store::connect(&options(&url)).await?;
            store.migrate().await?;
            store.close().await;
            Ok::<_, nuncio_store::Error>(())
        };
        let database = testkit::database("nuncio_api_graphql", prepare).await.expect("PostgreSQL starts");
        let proxy = if proxied { Some(proxy_before(&database.url).await) } else { None };
        let url = proxy.as_ref().map_or_else(|| database.url.clone(), |proxy| proxy.rewrite(&database.url));
        let store = Store::connect(&options(&url)).await.expect("the database is there");
        let new = NewProject {
            name: ProjectName::parse("demo").expect("a good name"),
            audience: None,
            allowed_origins: vec!["https://app.example".to_owned()],
            defaults: NamespaceSettings::default(),
        };
        let project = store.create_project(&new).await.expect("the name is free");
        let new = NewApiKey { label: "all".to_owned(), rights: Rights::everything(), expires_at: None };
        let (_, key) = store.create_api_key(project.id, &new).await.expect("a key");
        let (kid, algorithm, secret) = ("k", "HS256", Secret::new("x".repeat(32)));
        store.create_signing_key(project.id, kid, algorithm, &secret).await.expect("a signing key");
        let signing = SigningKey { kid: kid.to_owned(), algorithm: algorithm.to_owned(), secret };
        let directory = Directory::load(store.clone()).await.expect("the settings are there");
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let clock = Clock::system();
        let app = App::new(Parts {
            store,
            directory,
            bus: bus.clone(),
            broker: None,
            clock,
            settings: settings.clone(),
            drain: drain.clone(),
            tasks,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (routes, stopping) = (router(app.clone()), stop.clone());
        tokio::spawn(async move { serve(listener, routes, &settings, stopping).await });
        let key = key.expose().to_owned();
        let (_stop, _database) = (stop.drop_guard(), database);
        Self { app, bus, address, project, key, drain, proxy, signing, _stop, _database }
    }

    /// A token of user `u` that may read these patterns and write nothing.
    pub(crate) fn token(&self, subscribe: &[&str], lifetime: Duration) -> String {
        let subscribe = subscribe.iter().map(|text| (*text).to_owned()).collect();
        let rights = RightsText { subscribe, ..RightsText::default() };
        let now = self.app.clock.now();
        mint_token(&self.project.name, &self.signing, "u", &rights, now, lifetime).expect("it can be signed")
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
        let channel = Channel::parse(channel).expect("a good channel");
        let reached = async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while self.app.feeds.listeners(self.project.id, &channel) != count {
                looks.tick().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("so many listen in time");
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
        let url = format!("ws://{}/graphql", self.address);
        let mut request = url.into_client_request().expect("a good URL");
        let mut set = |name, value: &str| {
            request.headers_mut().insert(name, value.parse().expect("a good header"));
        };
        if !protocol.is_empty() {
            set("sec-websocket-protocol", protocol);
        }
        headers.iter().for_each(|(name, value)| set(name, value));
        Client(connect_async(request).await.expect("the handshake is accepted").0)
    }

    /// A connection that has been acknowledged, with the key that may do everything.
    pub(crate) async fn ready(&self) -> Client {
        let mut client = self.connect().await;
        client.init(&self.key).await;
        client
    }
}

async fn proxy_before(url: &str) -> Proxy {
    let (_, rest) = url.split_once("://").expect("a URL");
    let authority = rest.split('/').next().expect("there is always a first part");
    let target = authority.rsplit('@').next().expect("there is always a last part");
    Proxy::start(target).await.expect("a free port")
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

/// A WebSocket client that does what it is told.
pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
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

    /// The next text that is no ping, as it is.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) if text.as_str() != r#"{"type":"ping"}"# => {
                    return text.to_string();
                }
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a text: {other:?}"),
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("messages are JSON")
    }

    /// The code that the node closes with, whatever comes before it.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
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
