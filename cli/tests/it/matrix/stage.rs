//! Servers of a test's own, which it kills and starts again: PostgreSQL, RabbitMQ, two api nodes and two workers.

use nuncio_devstack::{Postgres, PostgresOptions, Rabbit, RabbitOptions};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::clients::run;
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::{Program, eventually};

/// The signing key of the project, for clients that have a token instead of a key.
pub(crate) const SIGNING_KEY: (&str, &str) = ("app", "a signing key for tests, of more than 32 bytes");

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One api node after the other.
    Api,
    /// The worker that serves the project; the other is there to take over.
    Worker,
    RabbitMq,
    PostgreSql,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::RabbitMq, Self::PostgreSql];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::RabbitMq => "rabbitmq",
            Self::PostgreSql => "postgresql",
        }
    }
}

/// The time in which something was away.
pub(crate) struct Outage {
    pub(crate) fault: Fault,
    /// Which api node it was, where it was one: the clients of the other did not notice.
    pub(crate) node: Option<usize>,
    pub(crate) killed: Instant,
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
        let stage = Self { apis, workers, tenant, place, rabbit, postgres };
        stage.open_to_pages().await;
        stage
    }

    /// Lets pages and their tokens in.
    async fn open_to_pages(&self) {
        let (kid, secret) = SIGNING_KEY;
        let key = json!({ "kid": kid, "algorithm": "HS256", "secret": secret });
        let api = &self.api(0).api;
        api.admin(Method::POST, "/projects/shop/signing-keys", &key).await;
        api.admin(Method::PATCH, "/projects/shop", &json!({ "allowedOrigins": ["*"] })).await;
        for node in &self.apis {
            eventually("the project to be known", async || {
                let path = "/v1/channels/load.steady/events";
                let answer = node.api.request(Method::GET, path, &self.tenant).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
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

    /// Kills what is named with -9, and starts it again.
    pub(crate) async fn suffer(&mut self, fault: Fault) -> Vec<Outage> {
        match fault {
            Fault::Api => vec![self.kill_api(0).await, self.kill_api(1).await],
            Fault::Worker => vec![self.kill_worker().await],
            Fault::RabbitMq => {
                let killed = Instant::now();
                self.rabbit.restart().await.expect("RabbitMQ comes back");
                vec![Outage { fault, node: None, killed, returned: Instant::now() }]
            }
            Fault::PostgreSql => {
                let killed = Instant::now();
                self.postgres.restart().await.expect("PostgreSQL comes back");
                vec![Outage { fault, node: None, killed, returned: Instant::now() }]
            }
        }
    }

    async fn kill_api(&mut self, node: usize) -> Outage {
        let dead = self.apis.remove(node);
        let mut again = self.place.nuncio();
        again.arg("api").env("NUNCIO_LISTEN", dead.api.url.trim_start_matches("http://"));
        let killed = Instant::now();
        dead.program.kill().await;
        let name = format!("nuncio api, number {node}, after its kill");
        self.apis.insert(node, Node::start(&name, again).await);
        Outage { fault: Fault::Api, node: Some(node), killed, returned: Instant::now() }
    }

    async fn kill_worker(&mut self) -> Outage {
        let mut ingested = Vec::new();
        for worker in &self.workers {
            ingested.push(worker.metric("nuncio_ingested_total").await > 0.0);
        }
        let serving = ingested.iter().position(|any| *any).expect("a worker that has taken events");
        let dead = self.workers.remove(serving);
        let killed = Instant::now();
        dead.program.kill().await;
        self.workers.push(self.place.start("worker").await);
        Outage { fault: Fault::Worker, node: None, killed, returned: Instant::now() }
    }
}
