//! Servers that hang or die while clients listen: what is open waits and goes on, and nothing is missing.

use std::time::Duration;

use nuncio_devstack::{Postgres, PostgresOptions, Rabbit, RabbitOptions};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::api::Api;
use crate::clients::{Subscriber, received, run};
use crate::event::{Event, assert_complete, assert_same};
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::{Program, eventually, within};

/// How many events are published meanwhile, and how many a second.
const COUNT: u64 = 1_500;
const PER_SECOND: u64 = 60;
/// How long a server hangs: longer than the time-outs between the two servers and us.
const HANGS: Duration = Duration::from_secs(12);

/// A node on servers of its own. Fields are dropped in this order.
struct Scene {
    node: Node,
    tenant: Tenant,
    place: Place,
    rabbit: Rabbit,
    postgres: Postgres,
}

impl Scene {
    async fn set() -> Self {
        let servers = tokio::try_join!(
            Postgres::start(PostgresOptions::scratch()),
            Rabbit::start(RabbitOptions::scratch())
        );
        let (postgres, rabbit) = servers.expect("servers");
        let place = Place::on(&postgres, &rabbit).await;
        let node = place.start("all").await;
        let tenant = place.make_project(&node, "shop").await;
        Self { node, tenant, place, rabbit, postgres }
    }

    /// Publishes at a steady pace to listeners of each kind while something happens, and compares what all of them got.
    async fn nothing_is_missing_through(mut self, fault: impl AsyncFnOnce(&mut Self)) {
        let api = Api::new(self.node.api.url.clone(), "");
        let start = api.cursor(&self.tenant).await;
        let total = usize::try_from(COUNT).expect("a small number");
        let subscribe = |kind: Subscriber| kind.start(&api, &self.tenant, "load.#", Some(&start), total);
        let listeners = [Subscriber::GraphqlWs, Subscriber::EventSource].map(subscribe);
        let poller = poll(&api, &self.tenant, &start);
        let mut options = self.place.publisher(&self.tenant, "load.steady", COUNT);
        options["perSecond"] = PER_SECOND.into();
        let publisher = run("publish_steadily.mjs", &options);
        eventually("some events to arrive", async || received(&listeners[0]).len() > 100).await;
        fault(&mut self).await;
        publisher.succeed().await;
        let polled = within("the poller to have all", poller).await.expect("no panic");
        let mut seen = Vec::new();
        for listener in listeners {
            let listener = listener.succeed().await;
            assert_never_ended(&listener);
            seen.push(received(&listener));
        }
        let log = api.history(&self.tenant, "load.#", Some(&start)).await;
        assert_complete(&log, "load.steady", COUNT);
        assert_same("graphql-ws", &seen[0], &log);
        assert_same("EventSource", &seen[1], &log);
        assert_same("long poll", &polled, &log);
    }
}

/// A listener waits; it is not sent away and does not have to come back.
fn assert_never_ended(listener: &Program) {
    let ended = |line: &String| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["closed"].as_u64().is_some_and(|code| code != 1000) || line.get("goaway").is_some()
    };
    assert_eq!(listener.out.all().iter().find(|line| ended(line)), None);
}

/// Polls until all events are there. A poll that is under way waits; one that is begun while PostgreSQL is away may be
/// told to come back.
fn poll(api: &Api, tenant: &Tenant, start: &str) -> JoinHandle<Vec<Event>> {
    let (api, mut after) = (Api::new(api.url.clone(), ""), start.to_owned());
    let tenant = Tenant { name: tenant.name.clone(), key: tenant.key.clone() };
    tokio::spawn(async move {
        let mut events = Vec::new();
        while (events.len() as u64) < COUNT {
            let request = api.request(Method::GET, "/v1/channels/load.%23/events", &tenant);
            let query = [("after", after.as_str()), ("wait", "30"), ("first", "1000")];
            let answer = request.query(&query).send().await.expect("an answer");
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                let wait = answer.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
                sleep(Duration::from_secs(wait)).await;
                continue;
            }
            assert_eq!(answer.status(), StatusCode::OK);
            let page: Value = answer.json().await.expect("JSON");
            events.extend(page["events"].as_array().expect("a list").iter().map(Event::read));
            after = page["cursor"].as_str().expect("a cursor").to_owned();
        }
        events
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_hangs_and_then_dies() {
    let scene = Scene::set().await;
    scene
        .nothing_is_missing_through(async |scene| {
            scene.postgres.freeze();
            sleep(HANGS).await;
            scene.postgres.thaw();
            let before = stored(scene).await;
            eventually("events to be stored again", async || stored(scene).await > before + 50).await;
            scene.postgres.kill().await.expect("a dead server");
            told(scene, "database").await;
            scene.postgres.restart().await.expect("a live server");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_hangs_and_then_dies() {
    let scene = Scene::set().await;
    scene
        .nothing_is_missing_through(async |scene| {
            scene.rabbit.freeze();
            sleep(HANGS).await;
            // What does not go through RabbitMQ goes on.
            scene.node.api.publish(&scene.tenant, "other.channel", 1..=1).await;
            scene.rabbit.thaw();
            let before = stored(scene).await;
            eventually("events to be stored again", async || stored(scene).await > before + 50).await;
            scene.rabbit.kill().await.expect("a dead server");
            scene.node.api.publish(&scene.tenant, "other.channel", 2..=2).await;
            scene.rabbit.restart().await.expect("a live server");
        })
        .await;
}

async fn stored(scene: &Scene) -> u64 {
    let count = scene.place.database.run("select count(*) from events").await.expect("an answer");
    count.parse().expect("a number")
}

/// Waits until the node says of itself that it is not ready, because of this.
async fn told(scene: &Scene, why: &str) {
    let url = format!("http://{}/health/ready", scene.node.ops);
    eventually("the node not to be ready", async || {
        let answer = reqwest::get(&url).await.expect("an answer");
        let refused = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        refused && answer.text().await.is_ok_and(|text| text.contains(why))
    })
    .await;
}

/// Both servers are down when the node is started, and come up one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_away_at_the_start_are_waited_for() {
    let Scene { node, place, mut rabbit, mut postgres, .. } = Scene::set().await;
    node.program.kill().await;
    tokio::try_join!(postgres.kill(), rabbit.kill()).expect("dead servers");
    let mut command = place.nuncio();
    command.arg("all").env("NUNCIO_CONNECT_SECONDS", "120");
    let mut program = Program::start("nuncio all", command);
    let waiting = |server: &'static str| {
        move |line: &str| line.contains(&format!("waiting for {server}")).then_some(())
    };
    program.err.find("a word of waiting", waiting("PostgreSQL")).await;
    postgres.restart().await.expect("a live server");
    program.err.find("a word of waiting", waiting("RabbitMQ")).await;
    rabbit.restart().await.expect("a live server");
    program.err.find("the node to be ready", |line| line.contains("\"ready\"").then_some(())).await;
}

/// A server that takes connections and then says nothing is as far away as one that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_hang_at_the_start_are_given_up() {
    let Scene { node, place, mut rabbit, mut postgres, .. } = Scene::set().await;
    node.program.kill().await;
    for server in ["PostgreSQL", "RabbitMQ"] {
        if server == "PostgreSQL" {
            postgres.freeze()
        } else {
            rabbit.freeze()
        }
        let mut command = place.nuncio();
        command.arg("all").env("NUNCIO_CONNECT_SECONDS", "2");
        let mut program = Program::start("nuncio all", command);
        let code = tokio::time::timeout(Duration::from_secs(30), program.code()).await;
        assert_eq!(code.unwrap_or_else(|_| panic!("it waits for {server} without end")), 3);
        assert!(program.err.text().contains(server), "{}", program.err.text());
        postgres.thaw();
        rabbit.thaw();
    }
}
