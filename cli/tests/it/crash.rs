//! kill -9 of the whole process while publishing with confirms: what was confirmed is stored, once, in order.

use std::net::SocketAddr;

use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;

use crate::api::{Api, json_of};
use crate::clients::{Subscriber, member, received, run};
use crate::dev_kit::{Dev, Folder};
use crate::event::{assert_complete, assert_same};
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::{Program, eventually};

/// How many messages are published through RabbitMQ.
const COUNT: u64 = 6_000;
/// The process is killed whenever so many more of them are stored.
const KILLED_EVERY: u64 = 1_500;
/// How many events are published by HTTP, one request each.
const REQUESTS: u64 = 200;

/// Publishes events by HTTP one after the other, each until it is confirmed, however often the server dies. It goes on
/// with the same id, as whoever does not know the outcome must.
async fn publish_by_http(url: &str, tenant: &Tenant, channel: &str) {
    let http = Client::new();
    let url = format!("{url}/v1/channels/{channel}/events");
    for n in 1..=REQUESTS {
        let event = json!({ "id": format!("http-{n}"), "data": { "n": n } });
        eventually("an event to be confirmed", async || {
            let answer = http.post(&url).bearer_auth(&tenant.key).json(&event).send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::CREATED)
        })
        .await;
    }
}

/// Kills the node and starts another at its address, three times, whenever more events are stored.
async fn kill_three_times(place: &Place, mut node: Node, tenant: &Tenant) -> Node {
    for kill in 1..=3 {
        wait_until_stored(&node.api, tenant, "load.amqplib", kill * KILLED_EVERY).await;
        let address = node.api.url.clone();
        node.program.kill().await;
        let mut again = place.nuncio();
        again.arg("all").env("NUNCIO_LISTEN", address.trim_start_matches("http://"));
        node = Node::start(&format!("nuncio all, after kill {kill}"), again).await;
    }
    node
}

async fn wait_until_stored(api: &Api, tenant: &Tenant, channel: &str, count: u64) {
    let path = format!("/v1/channels/{channel}/events?last=1");
    eventually("more events to be stored", async || {
        let page = json_of(api.request(Method::GET, &path, tenant)).await;
        let sequence = page["events"][0]["sequence"].as_str().and_then(|text| text.parse().ok());
        sequence.is_some_and(|sequence: u64| sequence >= count)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_when_the_process_is_killed_three_times() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    let start = node.api.cursor(&tenant).await;
    let total = usize::try_from(COUNT + REQUESTS).expect("a small number");
    let subscribe = |kind: Subscriber| kind.start(&node.api, &tenant, "load.#", Some(&start), total);
    let (socket, stream) = (subscribe(Subscriber::GraphqlWs), subscribe(Subscriber::EventSource));
    let publisher = run("publish_amqplib.mjs", &place.publisher(&tenant, "load.amqplib", COUNT));
    let url = node.api.url.clone();
    let requests = publish_by_http(&url, &tenant, "load.http");
    let (node, ()) = tokio::join!(kill_three_times(&place, node, &tenant), requests);

    let confirmed = publisher.succeed().await.out.all();
    assert_eq!(confirmed.len() as u64, COUNT);
    let (socket, stream) = (socket.succeed().await, stream.succeed().await);
    let log = node.api.history(&tenant, "load.#", Some(&start)).await;
    assert_complete(&log, "load.amqplib", COUNT);
    assert_complete(&log, "load.http", REQUESTS);
    assert_eq!(log.len(), total);
    assert_same("graphql-ws", &received(&socket), &log);
    assert_same("EventSource", &received(&stream), &log);
}

/// The numbers that RabbitMQ has confirmed, which must be all up to the last of them.
fn confirmed(publisher: &Program) -> u64 {
    let lines = publisher.out.all();
    let mut numbers: Vec<u64> = lines.iter().filter_map(|line| member("confirmed")(line)?.as_u64()).collect();
    numbers.sort_unstable();
    let count = numbers.len() as u64;
    assert!(numbers.into_iter().eq(1..=count), "confirms with a hole");
    count
}

async fn is_open(url: &str) -> bool {
    let url = reqwest::Url::parse(url).expect("a URL");
    let address: SocketAddr = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"))
        .parse()
        .expect("an address");
    TcpStream::connect(address).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_takes_its_servers_with_it_and_keeps_what_was_confirmed() {
    let folder = Folder::new();
    let dev = Dev::start_json(&folder).await;
    let mut options = json!({
        "amqp": dev.text("amqp"), "exchange": "nuncio.demo", "channel": "load.amqplib", "first": 1, "count": COUNT,
    });
    let mut publisher = run("publish_amqplib.mjs", &options);
    publisher.out.count("some confirms", 1_000).await;
    let servers = [dev.text("amqp"), dev.text("database")];
    dev.program.kill().await;
    for server in &servers {
        eventually("a server to end with dev", async || !is_open(server).await).await;
    }
    publisher.ended().await;

    let sent = confirmed(&publisher);
    let dev = Dev::start_json(&folder).await;
    let (api, tenant) = (dev.api(), dev.tenant());
    eventually("what was confirmed to be stored", async || {
        api.history(&tenant, "load.*", None).await.len() as u64 >= sent
    })
    .await;
    // Whoever has no confirm publishes again, and what had arrived all the same is not doubled.
    options["amqp"] = dev.text("amqp").into();
    options["first"] = (sent + 1).into();
    options["count"] = (COUNT - sent).into();
    run("publish_amqplib.mjs", &options).succeed().await;
    eventually("all to be stored", async || api.history(&tenant, "load.*", None).await.len() as u64 >= COUNT)
        .await;
    assert_complete(&api.history(&tenant, "load.*", None).await, "load.amqplib", COUNT);
    dev.stop().await;
}
