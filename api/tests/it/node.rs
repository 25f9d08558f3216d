//! A whole api node on a free port, with a database of its own.

use std::sync::Arc;
use std::time::Duration;

use nuncio_api::{ApiSettings, App, Parts, mint_token};
use nuncio_broker::{Broker, WakeBus};
use nuncio_devstack::Postgres;
use nuncio_devstack::testkit::{self, Proxy, TestDatabase};
use nuncio_model::rights::RightsText;
use nuncio_model::{Channel, Clock, NamespaceSettings, ProjectId, ProjectName, Rights, Secret, ids};
use nuncio_store::{
    Directory, Limiter, Meter, NewApiKey, NewProject, NodeCard, NodeState, Project, Role, SecretKey, Store,
    StoreOptions,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The name of the template database; change it with what `migrate` does in tests.
const TEMPLATE: &str = "nuncio_api_tests";
/// The id of each project's signing key.
pub(crate) const KID: &str = "main";
/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The origin whose pages may call.
pub(crate) const ORIGIN: &str = "https://app.example";

/// Where a node is reached.
pub(crate) struct Site {
    pub(crate) address: String,
    http: reqwest::Client,
}

impl Site {
    pub(crate) fn at(address: String) -> Self {
        Self { address, http: reqwest::Client::new() }
    }

    pub(crate) fn request(&self, method: Method, path: &str, credentials: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        if credentials.is_empty() { request } else { request.bearer_auth(credentials) }
    }
}

/// A node that serves until it is dropped.
pub(crate) struct Node {
    pub(crate) app: Arc<App>,
    site: Site,
    /// An admin key with the role owner.
    pub(crate) admin: String,
    pub(crate) database: TestDatabase,
    pub(crate) bus: WakeBus,
    /// Stands between the node and its database, where the test asked for it.
    pub(crate) proxy: Option<Proxy>,
    /// The database's server, where it is the test's own.
    _server: Option<Postgres>,
}

/// Another node over the same database; it serves until it is dropped.
pub(crate) struct Peer {
    pub(crate) app: Arc<App>,
    pub(crate) site: Site,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.app.drain.cancel();
    }
}

/// How a node differs from an ordinary one.
pub(crate) struct Setup {
    pub(crate) settings: ApiSettings,
    pub(crate) bus: WakeBus,
    pub(crate) broker: Option<Broker>,
    pub(crate) clock: Clock,
    pub(crate) proxied: bool,
    /// The database's server; none for the one that all tests share.
    pub(crate) server: Option<Postgres>,
}

impl Default for Setup {
    /// The only node, with a clock that stands still.
    fn default() -> Self {
        let (settings, bus) = (ApiSettings::default(), WakeBus::memory());
        let clock = Clock::fixed(Clock::system().now());
        Self { settings, bus, broker: None, clock, proxied: false, server: None }
    }
}

async fn connect(url: String) -> Store {
    let secret_key = Some(SecretKey::derive(&Secret::new("0123456789abcdef0123456789abcdef")));
    let options = StoreOptions { secret_key, ..StoreOptions::new(Secret::new(url)) };
    Store::connect(&options).await.expect("the database is there")
}

async fn launch(
    store: Store,
    broker: Option<Broker>,
    (bus, clock, settings): (WakeBus, Clock, ApiSettings),
) -> (Arc<App>, Site) {
    let directory = Directory::load(store.clone()).await.expect("the settings");
    let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
    let settings_of_server = settings.clone();
    let limiter = Limiter::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let node = format!("api-{}", ids::random_text(10));
    let meter = Meter::new(node.clone());
    let (id, host, listen) = (node.clone(), "test".to_owned(), Some(address.clone()));
    let card = NodeCard { id, role: "api", version: "0.1.0", host, listen };
    let parts = Parts { node, meter, store, directory, bus, broker, limiter, clock, settings, drain, tasks };
    let app = App::new(parts);
    let (beating, store) = (app.clone(), app.store.clone());
    let state = move || NodeState { connections: beating.open_connections(), ..NodeState::default() };
    // Others ask those alone that have been heard of.
    store.heartbeat_node(&card, &state()).await.expect("heard of");
    tokio::spawn(card.beat(store, state, app.drain.clone()));
    let (router, stop) = (nuncio_api::router(app.clone()), app.drain.clone());
    tokio::spawn(async move { nuncio_api::serve(listener, router, &settings_of_server, stop).await });
    (app, Site::at(address))
}

async fn proxy_before(url: &str) -> Proxy {
    let (_, rest) = url.split_once("://").expect("a URL");
    let authority = rest.split('/').next().expect("there is always a first part");
    let target = authority.rsplit('@').next().expect("there is always a last part");
    Proxy::start(target).await.expect("a free port")
}

/// A project with a key that may do everything.
pub(crate) struct Tenant {
    pub(crate) name: ProjectName,
    pub(crate) key: String,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body of text") }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that this is a problem with the code, in the form that all have.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let request_id = self.header("x-request-id").to_owned();
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["requestId"], request_id, "{problem}");
        problem
    }
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::start_with(ApiSettings::default()).await
    }

    pub(crate) async fn start_with(settings: ApiSettings) -> Self {
        Self::build(Setup { settings, ..Setup::default() }).await
    }

    pub(crate) async fn build(setup: Setup) -> Self {
        let Setup { settings, bus, broker, clock, proxied, server } = setup;
        let migrate = async |url: String| {
            let store = Store::connect(&StoreOptions::new(Secret::new(url))).await?;
            store.migrate().await?;
            store.close().await;
            Ok::<(), nuncio_store::Error>(())
        };
        let database = match &server {
            Some(server) => testkit::database_in(server, TEMPLATE, migrate).await,
            None => testkit::database(TEMPLATE, migrate).await,
        };
        let database = database.expect("a database");
        let proxy = if proxied { Some(proxy_before(&database.url).await) } else { None };
        let url = proxy.as_ref().map_or_else(|| database.url.clone(), |proxy| proxy.rewrite(&database.url));
        let store = connect(url).await;
        let admin = store.create_admin_key("tests", Role::Owner).await.expect("a key").expose().to_owned();
        let (app, site) = launch(store, broker, (bus.clone(), clock, settings)).await;
        Self { app, bus, site, admin, database, proxy, _server: server }
    }

    /// A new node over the same database, which hears of the same wakes.
    pub(crate) async fn beside(&self) -> Peer {
        let (clock, settings) = (self.app.clock.clone(), self.app.settings.clone());
        let store = connect(self.database.url.clone()).await;
        let (app, site) = launch(store, None, (self.bus.clone(), clock, settings)).await;
        Peer { app, site }
    }

    /// A project whose key may do everything.
    pub(crate) async fn tenant(&self, name: &str) -> Tenant {
        let name = ProjectName::parse(name).expect("a good name");
        let (audience, allowed_origins, defaults) =
            (None, vec![ORIGIN.to_owned()], NamespaceSettings::default());
        let new = NewProject {
            name: name.clone(),
            audience,
            issuer: None,
            jwks_url: None,
            allowed_origins,
            defaults,
        };
        let project = self.app.store.create_project(&new).await.expect("a new project").id;
        let secret = Secret::new(format!("{name}-0123456789abcdef0123456789abcdef"));
        self.app.store.create_signing_key(project, KID, "HS256", &secret).await.expect("a new signing key");
        self.refresh().await;
        let key = self.key(&name, Rights::everything()).await;
        Tenant { name, key }
    }

    pub(crate) async fn refresh(&self) {
        self.app.directory.refresh().await.expect("the settings");
    }

    pub(crate) fn project(&self, name: &ProjectName) -> Arc<Project> {
        self.app.directory.snapshot().project(name).expect("the project").clone()
    }

    pub(crate) async fn key(&self, project: &ProjectName, rights: RightsText) -> String {
        let new = NewApiKey { label: "test".to_owned(), rights, ..NewApiKey::default() };
        let (_, secret) =
            self.app.store.create_api_key(self.project(project).id, &new).await.expect("a new key");
        self.refresh().await;
        secret.expose().to_owned()
    }

    /// A token of the project for an hour.
    pub(crate) fn token(&self, project: &ProjectName, rights: &RightsText) -> String {
        let (project, now) = (self.project(project), self.app.clock.now());
        let key = project.signing_keys.first().expect("a signing key");
        mint_token(&project.name, key, "ada", rights, now, Duration::from_secs(3_600)).expect("a token")
    }

    /// Waits until so many listen to the channel.
    pub(crate) async fn until_listeners(&self, project: ProjectId, channel: &str, count: usize) {
        let channel = Channel::parse(channel).expect("a good channel");
        let reached = async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while self.app.feeds.listeners(project, &channel) != count {
                looks.tick().await;
            }
        };
        timeout(SOON, reached).await.expect("so many listen in time");
    }

    pub(crate) async fn get(&self, path: &str, credentials: &str) -> Answer {
        Answer::of(self.request(Method::GET, path, credentials).send().await.expect("an answer")).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, credentials: &str, body: &Value) -> Answer {
        Answer::of(self.request(method, path, credentials).json(body).send().await.expect("an answer")).await
    }

    pub(crate) async fn post(&self, path: &str, credentials: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, credentials, body).await
    }

    /// Publishes so many numbered events and gives their cursors.
    pub(crate) async fn publish(
        &self,
        tenant: &Tenant,
        channel: &str,
        numbers: std::ops::Range<u32>,
    ) -> Vec<String> {
        let events: Vec<_> = numbers.map(|n| serde_json::json!({ "data": n })).collect();
        let path = format!("/v1/channels/{channel}/events");
        let answer = self.post(&path, &tenant.key, &events.into()).await.expect(201);
        let events = answer["events"].as_array().expect("a list").clone();
        events.iter().map(|event| event["cursor"].as_str().expect("a cursor").to_owned()).collect()
    }
}

impl std::ops::Deref for Node {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.app.drain.cancel();
    }
}
