//! Servers of a test's own, which it kills and starts again: PostgreSQL, RabbitMQ, two api nodes and two workers.

use nuncio_devstack::{Postgres, PostgresOptions, Rabbit, RabbitOptions};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::clients::run;
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::Program;

/// What happens to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One api node after the other is killed.
    Api,
    /// The worker that serves the project is killed; the other is there to take over.
    Worker,
    RabbitMq,
    PostgreSql,
    /// One api node after the other is asked to stop, and started again when it has.
    Drain,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::Api, Self::Worker, Self::RabbitMq, Self::PostgreSql, Self::Drain];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::RabbitMq => "rabbitmq",
            Self::PostgreSql => "postgresql",
            Self::Drain => "drain",
        }
    }
}

/// The time in which something was away.
pub(crate) struct Outage {
    pub(crate) fault: Fault,
    /// Which api node it was, where it was one: the clients of the other did not notice.
    pub(crate) node: Option<usize>,
    /// When it was killed, or asked to stop.
    pub(crate) began: Instant,
    /// When it was ready again.
    pub(crate) returned: Instant,
}

/// The servers. Fields are dropped in this order.
pub(crate) struct Stage {
    apis: Vec<Node>,
    workers: Vec<Node>,
    pub(crate) tenant: Tenant,
    place: Place,
    rabbit: Rabbit,
    postgres: Postgres,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let servers = tokio::try_join!(
            Postgres::start(PostgresOptions::scratch()),
            Rabbit::start(RabbitOptions::scratch())
        );
        let (postgres, rabbit) = servers.expect("servers");
        let place = Place::on(&postgres, &rabbit).await;
        let (api, other_api, worker, other_worker) = tokio::join!(
            place.start("api"),
            place.start("api"),
            place.start("worker"),
            place.start("worker")
        );
        let tenant = place.make_project(&api, "shop").await;
        let (apis, workers) = (vec![api, other_api], vec![worker, other_worker]);
        place.let_pages_in(&apis, &tenant).await;
        Self { apis, workers, tenant, place, rabbit, postgres }
    }

    pub(crate) fn api(&self, node: usize) -> &Node {
        &self.apis[node]
    }

    /// Publishes these numbers at a steady pace, whatever happens meanwhile.
    pub(crate) fn publish(&self, first: u64, count: u64, per_second: u64) -> Program {
        let mut options = self.place.publisher(&self.tenant, "load.steady", count);
        options["first"] = first.into();
        options["perSecond"] = per_second.into();
        run("publish_steadily.mjs", &options)
    }

    /// Lets this happen, and waits until all is there again.
    pub(crate) async fn suffer(&mut self, fault: Fault) -> Vec<Outage> {
        match fault {
            Fault::Api | Fault::Drain => {
                vec![self.replace_api(fault, 0).await, self.replace_api(fault, 1).await]
            }
            Fault::Worker => vec![self.kill_worker().await],
            Fault::RabbitMq => {
                let began = Instant::now();
                self.rabbit.restart().await.expect("RabbitMQ comes back");
                vec![Outage { fault, node: None, began, returned: Instant::now() }]
            }
            Fault::PostgreSql => {
                let began = Instant::now();
                self.postgres.restart().await.expect("PostgreSQL comes back");
                vec![Outage { fault, node: None, began, returned: Instant::now() }]
            }
        }
    }

    /// Another node at the address of one that ends.
    async fn replace_api(&mut self, fault: Fault, node: usize) -> Outage {
        let mut old = self.apis.remove(node);
        let mut new = self.place.nuncio();
        new.arg("api").env("NUNCIO_LISTEN", old.api.url.trim_start_matches("http://"));
        let began = Instant::now();
        if fault == Fault::Drain {
            old.program.signal(Signal::TERM);
            assert_eq!(old.program.code().await, 0, "a drained node ends well");
        } else {
            old.program.kill().await;
        }
        let name = format!("nuncio api, number {node}, after {}", fault.name());
        self.apis.insert(node, Node::start(&name, new).await);
        Outage { fault, node: Some(node), began, returned: Instant::now() }
    }

    async fn kill_worker(&mut self) -> Outage {
        let mut ingested = Vec::new();
        for worker in &self.workers {
            ingested.push(worker.metric("nuncio_ingested_total").await > 0.0);
        }
        let serving = ingested.iter().position(|any| *any).expect("a worker that has taken events");
        let dead = self.workers.remove(serving);
        let began = Instant::now();
        dead.program.kill().await;
        self.workers.push(self.place.start("worker").await);
        Outage { fault: Fault::Worker, node: None, began, returned: Instant::now() }
    }
}
