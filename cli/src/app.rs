//! The composition root: a node is put together here and nowhere else.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use nuncio_api::graphql::SocketSettings;
use nuncio_api::{ApiSettings, App, Parts};
use nuncio_broker::{Broker, WakeBus};
use nuncio_model::{Clock, Secret, ids};
use nuncio_runtime::{Config, Health, Ops, Shutdown};
use nuncio_store::{
    Actor, Directory, Error, Limiter, Meter, NodeCard, NodeState, Role as AdminRole, SecretKey, Store,
    StoreOptions,
};
use nuncio_worker::{Serving, Worker};
use tokio::net::TcpListener;

use crate::commands::serve::Role;
use crate::exit::{Failure, chain};

/// How often the database is asked whether it is there, for `/health/ready`.
const HEALTH_EVERY: Duration = Duration::from_secs(2);
/// How long the last words to the database may take, and how long where there is no time left.
const FAREWELL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(250));

/// The sockets of a node, bound before anything else is started.
pub(crate) struct Listeners {
    /// For clients; a worker has none.
    pub(crate) api: Option<TcpListener>,
    /// For machines on the inside.
    pub(crate) ops: TcpListener,
}

/// Where the database is, by the configuration.
pub(crate) fn store_options(config: &Config) -> Result<StoreOptions, Failure> {
    let url = config.database_url.clone().ok_or_else(|| {
        Failure::Config("DATABASE_URL is not set: postgres://user:password@host/database".to_owned())
    })?;
    Ok(StoreOptions {
        url: Secret::new(url),
        append_connections: config.database_connections,
        read_connections: config.read_connections,
        secret_key: config.secret_key.clone().map(|text| SecretKey::derive(&Secret::new(text))),
    })
}

/// Connects to the database, waiting for it with a word for as long as the configuration says.
pub(crate) async fn connect_store(config: &Config) -> Result<Store, Failure> {
    let options = store_options(config)?;
    let connect = async || Store::connect(&options).await;
    let started = Instant::now();
    let store = connect
        .retry(waiting())
        .when(|error| error.is_unavailable() && started.elapsed() < config.connect)
        .notify(|error, _| tracing::warn!(error = chain(error), "waiting for PostgreSQL"))
        .await?;
    Ok(store)
}

async fn wait_for_schema(config: &Config, store: &Store) -> Result<(), Failure> {
    let check = async || match store.is_migrated().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Config(
            "the database's schema is not this program's: run `nuncio migrate`".to_owned(),
        )),
        Err(error) => Err(error.into()),
    };
    let started = Instant::now();
    check
        .retry(waiting())
        .when(|_| started.elapsed() < config.connect)
        .notify(|_, _| tracing::warn!("waiting for the database's schema: run `nuncio migrate`"))
        .await
}

async fn connect_broker(config: &Config) -> Result<Option<Broker>, Failure> {
    let Some(url) = config.amqp_url.clone() else { return Ok(None) };
    let broker = Broker::new(Secret::new(url), "nuncio");
    let connect = async || broker.connect("start").await;
    let started = Instant::now();
    let link = connect
        .retry(waiting())
        .when(|error| !error.is_final() && started.elapsed() < config.connect)
        .notify(|error, _| tracing::warn!(error = chain(error), "waiting for RabbitMQ"))
        .await
        .map_err(|error| Failure::Unreachable(format!("RabbitMQ cannot be used: {}", chain(&error))))?;
    link.close().await;
    Ok(Some(broker))
}

/// Tries again more and more rarely, without end: callers look at the clock.
fn waiting() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times()
        .with_jitter()
}

/// A node that runs.
pub(crate) struct Running {
    store: Store,
    meter: Meter,
    node: String,
}

impl Running {
    /// Writes what was counted to the end, and says that the node is gone. Call it after everything else has ended, or
    /// was cut since the time to drain is over.
    pub(crate) async fn finish(self, config: &Config, cut: bool) {
        let limit = if cut { FAREWELL.1 } else { FAREWELL.0.min(config.drain / 4) };
        let last_words = async {
            self.meter.finish(&self.store).await?;
            self.store.retire_node(&self.node).await
        };
        match tokio::time::timeout(limit, last_words).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "others learn late of this node's end"),
            Err(_) => tracing::warn!("others learn late of this node's end: PostgreSQL does not answer"),
        }
    }
}

/// Starts a node of this role: everything it runs belongs to `shutdown`.
pub(crate) async fn start(
    config: &Config,
    role: Role,
    listeners: Listeners,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    shutdown: &Shutdown,
) -> Result<Running, Failure> {
    let store = connect_store(config).await?;
    wait_for_schema(config, &store).await?;
    ensure_admin_key(config, &store).await?;
    let broker = connect_broker(config).await?;
    let directory = Directory::load(store.clone()).await?;
    let bus = match &config.amqp_url {
        Some(url) => WakeBus::amqp(Secret::new(url.clone()), shutdown.stop.clone()),
        None => WakeBus::polling(),
    };
    let health = Health::default();
    let ops = Ops { health: health.clone(), metrics };
    shutdown.spawn_to_the_end("ops", ops.serve(listeners.ops, shutdown.stop.clone()));
    // One for the whole process: what its parts let through counts together.
    let limiter = Limiter::default();
    let share = limiter.clone().keep(store.clone(), shutdown.stop.clone());
    shutdown.spawn_to_the_end("limits", run_steadily(share));
    // To the end: what is open while the node drains ends with its credentials, and is not paused.
    shutdown.spawn_to_the_end("settings", run_steadily(directory.clone().run(shutdown.stop.clone())));
    shutdown.spawn("health", run_steadily(watch_health(store.clone(), health, shutdown.clone())));
    let card = node_card(role, listeners.api.as_ref());
    let (node, serving) = (card.id.clone(), Serving::default());
    let meter = Meter::new(node.clone());
    // What is counted while the node drains is written at its end.
    shutdown.spawn("usage", run_steadily(meter.clone().run(store.clone(), shutdown.drain.clone())));
    let mut app = None;
    if let Some(listener) = listeners.api {
        let settings = api_settings(config);
        let api = App::new(Parts {
            node: node.clone(),
            meter: meter.clone(),
            store: store.clone(),
            directory: directory.clone(),
            bus: bus.clone(),
            broker: broker.clone(),
            limiter: limiter.clone(),
            clock: Clock::system(),
            settings: settings.clone(),
            drain: shutdown.drain.clone(),
            tasks: shutdown.tasks.clone(),
        });
        let (router, drain) = (nuncio_api::router(api.clone()), shutdown.drain.clone());
        app = Some(api);
        let serve = async move { nuncio_api::serve(listener, router, &settings, drain).await };
        shutdown.spawn("api", run_steadily(serve));
    }
    let served = serving.clone();
    let state = move || NodeState {
        connections: app.as_ref().map_or(0, |app| app.open_connections()),
        projects: served.projects(),
        paused: app.as_ref().is_some_and(|app| app.is_paused()),
    };
    // While it drains, what is in hand is still this node's.
    let beat = card.beat(store.clone(), state, shutdown.stop.clone());
    shutdown.spawn_to_the_end("heartbeat", run_steadily(beat));
    if role.works() {
        let (node, drain, audit_days) = (node.clone(), config.drain, config.audit_days);
        let settings = nuncio_worker::Settings { node, drain, audit_days };
        let (store, meter) = (store.clone(), meter.clone());
        let worker = Worker { store, broker, bus, directory, meter, limiter, serving, settings };
        shutdown.spawn("worker", worker.run(shutdown.drain.clone()));
    }
    Ok(Running { store, meter, node })
}

/// What this process calls itself, and where it is.
fn node_card(role: Role, listener: Option<&TcpListener>) -> NodeCard {
    // Where the system does not tell a name, none is better than a wrong one.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let listen = listener.and_then(|listener| listener.local_addr().ok()).map(|address| address.to_string());
    let id = format!("{}-{}", role.as_str(), ids::random_text(10));
    NodeCard { id, role: role.as_str(), version: env!("CARGO_PKG_VERSION"), host, listen }
}

/// Makes the admin key of the configuration where it is not there. One that was revoked stays so: that is told, and keeps
/// no node from serving.
async fn ensure_admin_key(config: &Config, store: &Store) -> Result<(), Failure> {
    let Some(key) = &config.admin_key else { return Ok(()) };
    let store = store.acting_as(Actor::command("NUNCIO_ADMIN_KEY"));
    match store.ensure_admin_key(&Secret::new(key.clone()), "NUNCIO_ADMIN_KEY", AdminRole::Owner).await {
        Err(error @ Error::Refused(_)) => tracing::warn!("NUNCIO_ADMIN_KEY opens nothing: {error}"),
        Err(error @ Error::Unreadable(_)) => {
            return Err(Failure::Config(format!("NUNCIO_ADMIN_KEY: {error}")));
        }
        ensured => ensured?,
    }
    Ok(())
}

fn api_settings(config: &Config) -> ApiSettings {
    let sockets = SocketSettings { legacy: config.legacy_websocket, ..SocketSettings::default() };
    ApiSettings {
        sockets,
        max_body_bytes: config.max_body_bytes,
        stalled: config.stalled,
        request: config.request,
        idle: config.idle,
        connections: config.max_connections,
        connections_per_address: config.max_connections_per_address,
        allow_private_addresses: config.allow_private_addresses,
        address_requests_per_second: config.address_requests_per_second,
        address_burst: config.address_burst,
        trusted_proxies: config.trusted_proxies.clone(),
        graphiql: config.graphiql,
        introspection: config.introspection,
        graphql_batch: config.graphql_batch,
        ..ApiSettings::default()
    }
}

/// A task that cannot fail, in the form that tasks have.
async fn run_steadily(task: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    task.await;
    Ok(())
}

async fn watch_health(store: Store, health: Health, shutdown: Shutdown) {
    loop {
        let answer = tokio::time::timeout(HEALTH_EVERY, store.ping()).await;
        let state = match answer {
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err(format!("PostgreSQL did not answer in {} s", HEALTH_EVERY.as_secs())),
        };
        health.note("database", state);
        if shutdown.drain.run_until_cancelled(tokio::time::sleep(HEALTH_EVERY)).await.is_none() {
            return health.note("drain", Err("this node is draining".to_owned()));
        }
    }
}
