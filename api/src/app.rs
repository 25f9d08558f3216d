//! The composition root of an api node: everything is built here once and passed on.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nuncio_broker::{Broker, WakeBus};
use nuncio_model::{Clock, Identity};
use nuncio_store::{Directory, Limiter, Meter, Project, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Jwks, Over, Usage};
use crate::clockwork::Clockwork;
use crate::connections::{Connections, Errands};
use crate::error::ApiError;
use crate::feed::Feeds;
use crate::filter::Filters;
use crate::graphql::SocketSettings;
use crate::limits::Limits;
use crate::publish::Publisher;
use crate::resume::Resumes;

/// Limits and times of an api node.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// The most bytes a request's body may have.
    pub max_body_bytes: usize,
    /// How often a quiet stream says that it is still there.
    pub keep_alive: Duration,
    /// How long a stream that takes nothing at all is kept.
    pub stalled: Duration,
    /// How long a client should wait before it opens a broken stream again.
    pub reconnect: Duration,
    /// Whether browsers are shown GraphiQL.
    pub graphiql: bool,
    /// Whether the GraphQL schema may be asked for.
    pub introspection: bool,
    /// The most GraphQL operations in one HTTP request; with 0 there are no batches.
    pub graphql_batch: usize,
    /// Limits and times of WebSockets.
    pub sockets: SocketSettings,
    /// How long a request's head may take, and how far its body may fall behind.
    pub request: Duration,
    /// How long a connection is kept between two requests.
    pub idle: Duration,
    /// The most connections of one address.
    pub connections_per_address: usize,
    /// The most connections in all.
    pub connections: usize,
    /// Whether addresses that administrators name, such as those of published keys, may lie in this network; for
    /// development.
    pub allow_private_addresses: bool,
    /// How many requests of one address are taken in a second; with 0, any number.
    pub address_requests_per_second: u32,
    /// How many of them at once.
    pub address_burst: u32,
    /// The proxies that are believed whom they were connected by.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 24 << 20,
            keep_alive: Duration::from_secs(15),
            stalled: Duration::from_secs(60),
            reconnect: Duration::from_secs(2),
            graphiql: true,
            introspection: true,
            graphql_batch: 0,
            sockets: SocketSettings::default(),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            connections_per_address: 20_000,
            connections: 100_000,
            allow_private_addresses: false,
            address_requests_per_second: 2_000,
            address_burst: 20_000,
            trusted_proxies: Vec::new(),
        }
    }
}

/// What an api node is built from.
pub struct Parts {
    /// The name of this node, unlike that of any other.
    pub node: String,
    /// Counts what projects use; somebody else has it written.
    pub meter: Meter,
    /// The log and the settings.
    pub store: Store,
    /// The settings as this node knows them.
    pub directory: Directory,
    /// How nodes tell each other of new events.
    pub bus: WakeBus,
    /// Where dead letters are published again; none where there is no broker.
    pub broker: Option<Broker>,
    /// What rate limits are counted by; somebody else shares it with the other nodes.
    pub limiter: Limiter,
    /// The time.
    pub clock: Clock,
    /// Limits and times.
    pub settings: ApiSettings,
    /// Cancelled when this node is to stop: streams then say go-away.
    pub drain: CancellationToken,
    /// Every task that this node starts.
    pub tasks: TaskTracker,
}

/// An api node: what its handlers share.
pub struct App {
    /// The log and the settings.
    pub store: Store,
    /// The settings as this node knows them: no request waits for the database to learn who is asking.
    pub directory: Directory,
    /// The way into the log.
    pub publisher: Publisher,
    /// The way out of the log.
    pub feeds: Feeds,
    /// The ids under which clients come back.
    pub resumes: Resumes,
    /// Filters that were compiled before.
    pub filters: Filters,
    /// Where dead letters are published again.
    pub broker: Option<Broker>,
    /// The keys that projects publish.
    pub jwks: Jwks,
    /// How often what may be done.
    pub limits: Limits,
    /// Which keys are in use.
    pub usage: Usage,
    /// What projects use.
    pub meter: Meter,
    /// What stays open here.
    pub(crate) connections: Connections,
    /// What nodes ask each other.
    pub(crate) errands: Errands,
    /// The time.
    pub clock: Clock,
    /// Limits and times.
    pub settings: ApiSettings,
    /// What rings open connections when it is time.
    pub clockwork: Clockwork,
    /// Cancelled when this node is to stop.
    pub drain: CancellationToken,
    /// Every task that this node starts.
    pub tasks: TaskTracker,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { node, meter, store, directory, bus, broker, limiter, clock, settings, drain, tasks } =
            parts;
        let publisher = Publisher::new(store.clone(), bus.clone(), meter.clone(), tasks.clone());
        let feeds = Feeds::new(store.clone(), bus, tasks.clone(), drain.clone());
        let stale = directory.freshness().changes();
        let clockwork = Clockwork::start(&tasks, directory.changes(), stale, drain.clone());
        let (usage, resumes) = (Usage::default(), Resumes::new(store.clone()));
        tasks.spawn(resumes.clone().keep(drain.clone()));
        let private = settings.allow_private_addresses;
        let jwks = Jwks::new(private, directory.clone(), clock.clone(), tasks.clone());
        tasks.spawn(jwks.clone().keep(drain.clone()));
        let connections = Connections::new(node, clock.clone(), meter.clone());
        let errands = Errands::new(store.clone(), connections.clone(), feeds.clone());
        tasks.spawn(errands.clone().keep(drain.clone()));
        let app = Arc::new(Self {
            store,
            directory,
            publisher,
            feeds,
            resumes,
            filters: Filters::default(),
            broker,
            jwks,
            limits: Limits::new(limiter),
            usage,
            meter,
            connections,
            errands,
            clock,
            settings,
            clockwork,
            drain,
            tasks,
        });
        let keeper = app.clone();
        app.tasks.spawn(async move { keeper.usage.keep(&keeper.store, keeper.drain.clone()).await });
        app
    }

    /// How many connections stay open here.
    pub fn open_connections(&self) -> usize {
        self.connections.count()
    }

    /// The project of whoever is asking.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` where the project has been removed since, `UNAVAILABLE` where it is closed.
    pub fn project(&self, identity: &Identity) -> Result<Arc<Project>, ApiError> {
        let snapshot = self.directory.snapshot();
        if snapshot.closed(identity.project).is_some() {
            return Err(Over::ProjectClosed.into());
        }
        let project = snapshot.project_by_id(identity.project).cloned();
        project.ok_or_else(|| Over::ProjectDeleted.into())
    }

    /// Learns what is in force where that was not confirmed for too long: on a node that was stopped for a while, say, with
    /// requests waiting in its sockets that were let in by what was in force before.
    pub async fn catch_up(&self) {
        if self.is_paused() {
            // Where it cannot be learned, nothing can be read from the database or written to it either.
            let _ = self.directory.refresh().await;
        }
    }

    /// Whether nothing live is delivered: this node cannot tell who may still have it.
    pub fn is_paused(&self) -> bool {
        self.directory.freshness().is_stale()
    }
}
