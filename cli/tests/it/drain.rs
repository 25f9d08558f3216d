//! SIGTERM: subscribers are told to come back, what is under way is finished, and the process ends well and in time.

use std::time::Duration;

use nuncio_devstack::Psql;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::clients::{Subscriber, member, run};
use crate::node::Node;
use crate::place::Place;
use crate::program::{Program, eventually, within};

/// `NUNCIO_DRAIN_SECONDS` of the node.
const DRAIN: Duration = Duration::from_secs(15);
/// How many subscribers of each kind are told to go.
const CROWD: usize = 8;
/// How many messages are published while one node leaves and another is there.
const COUNT: u64 = 8_000;

async fn start(place: &Place) -> Node {
    let mut command = place.nuncio();
    command.arg("all").env("NUNCIO_DRAIN_SECONDS", DRAIN.as_secs().to_string());
    Node::start("nuncio all", command).await
}

/// Waits for a line with this member.
async fn said(subscriber: &mut Program, name: &str) -> Value {
    subscriber.out.find(name, member(name)).await
}

/// Waits for the end and checks that it was good, and nothing was cut short.
async fn ends_well(node: &mut Node) {
    let code = tokio::time::timeout(DRAIN, node.program.code()).await;
    assert_eq!(code.expect("it ends within NUNCIO_DRAIN_SECONDS"), 0);
    assert!(!node.program.err.text().contains("not everything was finished"), "it was cut short");
}

/// All at once they would come back to the other nodes all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_subscribers_are_told_to_go_one_after_the_other_and_the_end_is_good() {
    let place = Place::new().await;
    let mut node = start(&place).await;
    let tenant = place.make_project(&node, "shop").await;
    let begin = node.api.cursor(&tenant).await;
    let subscribe = |kind: Subscriber| kind.start(&node.api, &tenant, "orders.#", Some(&begin), 0);
    let mut sockets: Vec<_> = (0..CROWD).map(|_| subscribe(Subscriber::GraphqlWs)).collect();
    let mut streams: Vec<_> = (0..CROWD).map(|_| subscribe(Subscriber::EventSource)).collect();
    for stream in &mut streams {
        said(stream, "ready").await;
    }
    node.api.publish(&tenant, "orders.eu", 1..=1).await;
    for subscriber in sockets.iter_mut().chain(&mut streams) {
        said(subscriber, "event").await;
    }

    node.program.signal(Signal::TERM);
    ends_well(&mut node).await;
    let mut told = Vec::new();
    for socket in &mut sockets {
        assert_eq!(said(socket, "closed").await, 1001);
        let lines = socket.out.after("how it was closed", 0).await;
        let closed = lines.iter().find(|(_, line)| member("closed")(line).is_some());
        told.push(closed.expect("it has said so").0);
    }
    let spread = told.iter().max().expect("some").duration_since(*told.iter().min().expect("some"));
    assert!(spread > Duration::from_secs(1), "all were told within {spread:?}");
    // An EventSource is told by itself how long to wait.
    for stream in &mut streams {
        assert_eq!(said(stream, "goaway").await["reason"], "DRAINING");
    }
}

/// Whoever asked before is answered; whoever comes after finds nobody at the door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_are_answered_and_no_more_are_taken() {
    let place = Place::new().await;
    let mut node = start(&place).await;
    let tenant = place.make_project(&node, "shop").await;
    let cursor = node.api.cursor(&tenant).await;
    let path = "/v1/channels/orders.eu/events";
    let poll =
        node.api.request(Method::GET, path, &tenant).query(&[("after", cursor.as_str()), ("wait", "60")]);
    let poll = tokio::spawn(poll.send());
    let publish =
        node.api.request(Method::POST, path, &tenant).json(&json!({ "id": "held", "data": { "n": 1 } }));
    let holding = hold_the_log(&place).await;
    let publish = tokio::spawn(publish.send());
    eventually("the publication to wait", async || waits(&place, "Lock").await).await;

    node.program.signal(Signal::TERM);
    let address = node.api.url.trim_start_matches("http://").to_owned();
    eventually("the door to be closed", async || TcpStream::connect(&address).await.is_err()).await;
    assert_eq!(ready(&node).await, StatusCode::SERVICE_UNAVAILABLE);
    let answer = within("the answer to a poll", poll).await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    holding.await.expect("the log is let go");
    let answer = within("the answer to a publication", publish).await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    ends_well(&mut node).await;
}

/// Lets no event into the log for some seconds.
async fn hold_the_log(place: &Place) -> JoinHandle<()> {
    let database = Psql::new(&place.database.url);
    let holding = tokio::spawn(async move {
        let held = "begin; select from heads for update; select pg_sleep(4); commit";
        database.run(held).await.expect("the log can be held");
    });
    eventually("the log to be held", async || waits(place, "Timeout").await).await;
    holding
}

/// Whether a session of this database waits for something of this kind.
async fn waits(place: &Place, kind: &str) -> bool {
    let sql =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = ";
    place.database.run(&format!("{sql} '{kind}'")).await.expect("an answer") != "0"
}

async fn ready(node: &Node) -> StatusCode {
    let url = format!("http://{}/health/ready", node.ops);
    reqwest::get(url).await.expect("it is served to the very end").status()
}

/// Without ids nothing could be recognised as a repeat: had the node that leaves stored a message without acknowledging
/// it, the other one would store it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_from_rabbitmq_is_stored_and_acknowledged() {
    let place = Place::new().await;
    let mut leaving = start(&place).await;
    let tenant = place.make_project(&leaving, "shop").await;
    let mut options = place.publisher(&tenant, "load.anonymous", COUNT);
    options["anonymous"] = json!(true);
    let publisher = run("publish_amqplib.mjs", &options);
    eventually("events to be stored", async || stored(&place).await > COUNT / 8).await;
    let staying = start(&place).await;
    leaving.program.signal(Signal::TERM);
    ends_well(&mut leaving).await;
    publisher.succeed().await;
    eventually("all to be stored", async || stored(&place).await >= COUNT).await;
    let log = staying.api.history(&tenant, "load.*", None).await;
    let numbers: Vec<u64> = log.iter().map(|event| event.n).collect();
    assert!(numbers.iter().copied().eq(1..=COUNT), "{} events, in order: {}", log.len(), numbers.is_sorted());
}

async fn stored(place: &Place) -> u64 {
    let count = place.database.run("select count(*) from events").await.expect("an answer");
    count.parse().expect("a number")
}
