//! Servers of a test's own, which it kills and starts again: PostgreSQL, RabbitMQ, two api nodes and two workers.
//!
//! Before the api nodes stand balancers, as in any place with two of them. Stock clients need one: graphql-ws comes back
//! after a lost connection, but gives up where the next one is refused.

use nuncio_devstack::testkit::Proxy;
use nuncio_devstack::{Postgres, PostgresOptions, Rabbit, RabbitOptions};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::clients::run;
use crate::node::{Node, serving};
use crate::place::{Place, Tenant};
use crate::program::Program;

/// What happens to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This api node is killed.
    Api(usize),
    /// The worker that serves the project is killed; the other is there to take over.
    Worker,
    RabbitMq,
    PostgreSql,
    /// This api node is asked to stop, and started again when it has.
    Drain(usize),
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Api(0),
        Self::Api(1),
        Self::Worker,
        Self::RabbitMq,
        Self::PostgreSql,
        Self::Drain(0),
        Self::Drain(1),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api(_) => "api",
            Self::Worker => "worker",
            Self::RabbitMq => "rabbitmq",
            Self::PostgreSql => "postgresql",
            Self::Drain(_) => "drain",
        }
    }

    /// Whether connections of clients end with it. While anything else is away, they wait.
    pub(crate) fn cuts_clients(self) -> bool {
        matches!(self, Self::Api(_) | Self::Drain(_))
    }
}

/// The time in which something was away.
pub(crate) struct Outage {
    pub(crate) fault: Fault,
    /// When it was killed, or asked to stop.
    pub(crate) began: Instant,
    /// When it was ready again.
    pub(crate) returned: Instant,
}

/// The servers. Fields are dropped in this order.
pub(crate) struct Stage {
    balancers: [Proxy; 2],
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
        let balancers = [balancer(&apis[0], &apis[1]).await, balancer(&apis[1], &apis[0]).await];
        Self { balancers, apis, workers, tenant, place, rabbit, postgres }
    }

    /// Where clients reach an api node, or while it is away the other.
    pub(crate) fn balancer(&self, node: usize) -> String {
        format!("http://{}", self.balancers[node].address())
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
    pub(crate) async fn suffer(&mut self, fault: Fault) -> Outage {
        let began = Instant::now();
        match fault {
            Fault::Api(node) | Fault::Drain(node) => self.replace_api(fault, node).await,
            Fault::Worker => self.replace_worker().await,
            Fault::RabbitMq => self.rabbit.restart().await.expect("RabbitMQ comes back"),
            Fault::PostgreSql => self.postgres.restart().await.expect("PostgreSQL comes back"),
        }
        Outage { fault, began, returned: Instant::now() }
    }

    /// Another node at the address of one that ends.
    async fn replace_api(&mut self, fault: Fault, node: usize) {
        let mut old = self.apis.remove(node);
        let mut new = self.place.nuncio();
        new.arg("api").env("NUNCIO_LISTEN", old.address());
        if let Fault::Drain(_) = fault {
            old.program.signal(Signal::TERM);
            assert_eq!(old.program.code().await, 0, "a drained node ends well");
        } else {
            old.program.kill().await;
        }
        self.apis.insert(node, Node::start(&format!("nuncio api, after {fault:?}"), new).await);
    }

    async fn replace_worker(&mut self) {
        let serving = serving(&self.workers).await;
        self.workers.remove(serving).program.kill().await;
        self.workers.push(self.place.start("worker").await);
    }
}

async fn balancer(first: &Node, then: &Node) -> Proxy {
    Proxy::balance(&[first.address(), then.address()]).await.expect("a port")
}
