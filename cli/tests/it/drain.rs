//! SIGTERM: subscribers are told to come back, and the process ends well and in time.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::clients::{Subscriber, member};
use crate::place::Place;
use crate::program::Program;

/// `NUNCIO_DRAIN_SECONDS` of the node.
const DRAIN: Duration = Duration::from_secs(15);

/// Waits for a line with this member.
async fn said(subscriber: &mut Program, name: &str) -> Value {
    subscriber.out.find(name, member(name)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_subscribers_are_told_to_go_and_the_end_is_good() {
    let place = Place::new().await;
    let mut command = place.nuncio();
    command.arg("all").env("NUNCIO_DRAIN_SECONDS", DRAIN.as_secs().to_string());
    let mut node = crate::node::Node::start("nuncio all", command).await;
    let tenant = place.make_project(&node, "shop").await;
    let start = node.api.cursor(&tenant).await;
    let subscribe = |kind: Subscriber| kind.start(&node.api, &tenant, "orders.#", Some(&start), 0);
    let (mut socket, mut stream) = (subscribe(Subscriber::GraphqlWs), subscribe(Subscriber::EventSource));
    said(&mut stream, "ready").await;
    node.api.publish(&tenant, "orders.eu", 1..=1).await;
    said(&mut socket, "event").await;
    said(&mut stream, "event").await;

    node.program.signal(Signal::TERM);
    let code = tokio::time::timeout(DRAIN, node.program.code()).await;
    assert_eq!(code.expect("it ends within NUNCIO_DRAIN_SECONDS"), 0);
    assert_eq!(said(&mut socket, "closed").await, 1001);
    assert_eq!(said(&mut stream, "goaway").await["reason"], "DRAINING");
    assert!(!node.program.err.text().contains("not everything was finished"), "it was cut short");
}
