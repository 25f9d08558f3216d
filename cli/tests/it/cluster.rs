//! Several processes: what is published at one node arrives live at the others, with a broker and without.

use crate::clients::{Subscriber, member, received, run};
use crate::event::assert_complete;
use crate::node::{Node, serving};
use crate::place::{Place, Tenant};
use crate::program::{Program, eventually};

/// How many events are published at each node, in requests of their own.
const COUNT: u64 = 50;

/// Starts both kinds of subscribers at a node, joined to what is live: they have seen the one event of the past.
async fn join(node: &Node, tenant: &Tenant, start: &str) -> Vec<Program> {
    let kinds = [Subscriber::GraphqlWs, Subscriber::EventSource];
    let mut joined = kinds.map(|kind| kind.start(&node.api, tenant, "orders.#", Some(start), 0));
    for subscriber in &mut joined {
        subscriber.out.find("the event of the past", member("event")).await;
    }
    joined.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_at_one_node_arrives_at_all() {
    let place = Place::new().await;
    let (first, second) = tokio::join!(place.start("api"), place.start("api"));
    let workers = tokio::join!(place.start("worker"), place.start("worker"));
    let mut workers = vec![workers.0, workers.1];
    let mut alone = place.nuncio();
    alone.arg("api").env_remove("AMQP_URL");
    let alone = Node::start("nuncio api, without a broker", alone).await;
    let tenant = place.make_project(&first, "shop").await;
    let nodes = [&first, &second, &alone];
    for node in nodes {
        eventually("the project to be known", async || {
            let request = node.api.request(reqwest::Method::GET, "/v1/channels/orders.eu/events", &tenant);
            request.send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }
    let start = first.api.cursor(&tenant).await;
    first.api.publish(&tenant, "orders.past", 1..=1).await;
    let mut subscribers = Vec::new();
    for node in nodes {
        subscribers.extend(join(node, &tenant, &start).await);
    }

    let channels = ["orders.first", "orders.second", "orders.alone"];
    for (node, channel) in nodes.into_iter().zip(channels) {
        for n in 1..=COUNT {
            node.api.publish(&tenant, channel, n..=n).await;
        }
    }
    run("publish_pika.py", &place.publisher(&tenant, "orders.pika", COUNT)).succeed().await;
    eventually("the first messages to be stored", async || {
        second.api.history(&tenant, "orders.pika", Some(&start)).await.len() as u64 >= COUNT
    })
    .await;
    // A worker that dies is replaced by the other, and the queue is not left alone.
    workers.remove(serving(&workers).await).program.kill().await;
    run("publish_pika.py", &place.publisher(&tenant, "orders.late", COUNT)).succeed().await;

    let total = usize::try_from(COUNT * 5 + 1).expect("a small number");
    let log = async || first.api.history(&tenant, "orders.#", Some(&start)).await;
    eventually("all events to be stored", async || log().await.len() >= total).await;
    let log = log().await;
    for channel in channels.into_iter().chain(["orders.pika", "orders.late"]) {
        assert_complete(&log, channel, COUNT);
    }
    for subscriber in &subscribers {
        eventually("all events to arrive", async || received(subscriber).len() >= total).await;
        crate::event::assert_same("a subscriber", &received(subscriber), &log);
    }
}
