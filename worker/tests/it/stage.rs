//! What every test here needs: a database, a virtual host, a project, workers, and a publisher with confirms.

use std::collections::VecDeque;
use std::time::Duration;

use nuncio_broker::{Broker, Confirm, Link, Names, Properties, Publisher, WakeBus};
use nuncio_model::{NamespaceSettings, Pattern, ProjectId, ProjectName, Secret};
use nuncio_store::{
    DeadLetter, DeadLetterFilter, DeadLetterOrder, Directory, Limiter, Meter, NewProject, NodeCard, NodeState, Store,
    StoreOptions,
};
use nuncio_worker::{Died, Serving, Settings, Worker};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TEMPLATE: &str = "nuncio_migrated";

/// Brings an empty database up to date, as the template of all tests.
pub(crate) async fn prepare(url: String) -> Result<(), nuncio_store::Error> {
    let store = Store::connect(&StoreOptions::new(Secret::new(url))).await?;
    store.migrate().await?;
    store.close().await;
    Ok(())
}

/// Waits until something holds, for at most a minute.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !holds().await {
            look.tick().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "in vain: {what}");
}

/// A project named `demo` on servers that the test holds.
pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) directory: Directory,
    pub(crate) broker: Broker,
    pub(crate) project: ProjectId,
    pub(crate) names: Names,
    /// What all workers here count.
    pub(crate) meter: Meter,
    stop: CancellationToken,
}

impl Stage {
    pub(crate) async fn set(database: &str, amqp: &str) -> Self {
        let store = Store::connect(&StoreOptions::new(Secret::new(database))).await.expect("a database");
        let directory = Directory::load(store.clone()).await.expect("settings");
        let broker = Broker::new(Secret::new(amqp), "test");
        let stop = CancellationToken::new();
        tokio::spawn(directory.clone().run(stop.clone()));
        let project = make_project(&store, "demo").await;
        directory.refresh().await.expect("settings");
        let names = Names::of(&ProjectName::parse("demo").expect("a good name"));
        Self { store, directory, broker, project, names, meter: Meter::new("workers"), stop }
    }

    /// Makes the exchange and the queues, as any worker would.
    pub(crate) async fn declared(&self) -> Link {
        let link = self.broker.connect("test").await.expect("a broker");
        link.declare_project(&ProjectName::parse("demo").expect("a good name")).await.expect("a topology");
        link
    }

    pub(crate) fn worker(&self, node: &str) -> Running {
        let worker = Worker {
            store: self.store.clone(),
            broker: Some(self.broker.clone()),
            bus: WakeBus::memory(),
            directory: self.directory.clone(),
            meter: self.meter.clone(),
            limiter: Limiter::default(),
            serving: Serving::default(),
            settings: Settings { node: node.to_owned(), drain: Duration::from_secs(10), audit_days: 0 },
        };
        let stop = CancellationToken::new();
        let (id, role, version) = (node.to_owned(), "worker", "test");
        let card = NodeCard { id, role, version, host: String::new(), listen: None };
        tokio::spawn(card.beat(self.store.clone(), NodeState::default, stop.clone()));
        Running { task: tokio::spawn(worker.run(stop.clone())), stop }
    }

    /// The numbers in the data of all stored events, in the log's order.
    pub(crate) async fn stored(&self) -> Vec<u64> {
        let (mut after, mut numbers) = (0, Vec::new());
        let all = [Pattern::parse("#").expect("a good pattern")];
        loop {
            let Ok(page) = self.store.page(self.project, &all, after, 1_000).await else { return numbers };
            numbers.extend(page.events.iter().map(|event| {
                let text = std::str::from_utf8(event.draft.data.bytes()).expect("a number");
                text.parse::<u64>().expect("a number")
            }));
            after = page.through;
            if !page.has_more {
                return numbers;
            }
        }
    }

    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut whole = Vec::new();
        let (order, all) = (DeadLetterOrder::OldestFirst(0), DeadLetterFilter::default());
        let letters = self.store.list_dead_letters(self.project, order, 1_000, &all).await;
        for letter in letters.unwrap_or_default() {
            whole.extend(self.store.dead_letter(self.project, letter.id).await);
        }
        whole
    }

    /// Waits until exactly these numbers are stored, in this order.
    pub(crate) async fn eventually_stored(&self, expected: &[u64]) {
        eventually("all events to be stored", async || self.stored().await.len() >= expected.len()).await;
        assert_eq!(self.stored().await, expected);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn make_project(store: &Store, name: &str) -> ProjectId {
    let name = ProjectName::parse(name).expect("a good name");
    let defaults = NamespaceSettings::default();
    let new = NewProject {
        name,
        audience: None,
        issuer: None,
        jwks_url: None,
        allowed_origins: Vec::new(),
        defaults,
    };
    store.create_project(&new).await.expect("a project").id
}

/// A worker at work.
pub(crate) struct Running {
    task: JoinHandle<Result<(), Died>>,
    stop: CancellationToken,
}

impl Running {
    /// Ends it as a kill does: nothing more is settled.
    pub(crate) async fn kill(self) {
        self.task.abort();
        // Its heartbeat ends with it.
        self.stop.cancel();
        assert!(self.task.await.expect_err("it was aborted").is_cancelled());
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("no task died");
    }
}

/// Publishes numbers with confirms, and publishes again what was not confirmed, in the same order.
pub(crate) async fn publish_until_confirmed(
    broker: &Broker,
    names: &Names,
    numbers: impl Iterator<Item = u64>,
) {
    let mut left: VecDeque<u64> = numbers.collect();
    let started = tokio::time::Instant::now();
    while !left.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "in vain: all messages to be confirmed");
        if publish_some(broker, names, &mut left).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

async fn publish_some(
    broker: &Broker,
    names: &Names,
    left: &mut VecDeque<u64>,
) -> Result<(), nuncio_broker::Error> {
    let link = broker.connect("publisher").await?;
    let publisher = link.publisher().await?;
    while !left.is_empty() {
        let mut under_way = Vec::new();
        for number in left.iter().take(50) {
            under_way.push(send(&publisher, names, *number).await?);
        }
        for confirm in under_way {
            confirm.wait().await?;
            left.pop_front();
        }
    }
    link.close().await;
    Ok(())
}

pub(crate) async fn send(
    publisher: &Publisher,
    names: &Names,
    number: u64,
) -> Result<Confirm, nuncio_broker::Error> {
    let properties = Properties::default().with_message_id(&format!("id-{number}"))?;
    publisher.send(&names.exchange, "orders.eu", properties, number.to_string().as_bytes()).await
}
