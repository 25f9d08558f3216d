//! What a subscription sees: every event once, in order, whatever becomes of the wakes, the reader and the database.

use std::sync::Arc;
use std::time::Duration;

use nuncio_broker::Wake;
use nuncio_model::Event;
use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};

const EVENTS: usize = 1_500;

fn from(cursor: &str) -> String {
    format!("subscription {{ events(channel: \"a.#\", after: \"{cursor}\") {{ sequence cursor channel }} }}")
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// The next event of an operation.
async fn event(client: &mut Client) -> Value {
    let mut message = client.message().await;
    assert_eq!(message["type"], json!("next"), "{message}");
    message["payload"]["data"]["events"].take()
}

async fn cursor(node: &Node) -> String {
    node.execute("{ cursor }").await["data"]["cursor"].as_str().expect("a cursor").to_owned()
}

/// Commits events in small batches while wakes are lost, doubled, late, crossing, overlapping and without their events.
async fn publish_with_bad_wakes(node: &Node) {
    let (mut held, mut n): (Option<Vec<Arc<Event>>>, usize) = (None, 0);
    while n < EVENTS {
        let size = (n % 5 + 1).min(EVENTS - n);
        let events = node.append("a.b", &numbers(n..n + size)).await;
        let wake = || Wake::of(events.clone()).expect("there are events");
        match n % 6 {
            0 => {}
            1 => (0..2).for_each(|_| node.bus.send(wake())),
            2 => held = Some(events.clone()),
            3 => node.bus.send(Wake { events: Vec::new(), ..wake() }),
            _ => {
                node.bus.send(wake());
                if let Some(late) = held.take() {
                    node.bus.send(Wake::of(late).expect("there are events"));
                }
            }
        }
        n += size;
    }
}

#[tokio::test]
async fn nothing_is_missing_or_twice_over_live_and_resumed_subscriptions() {
    let node = Node::start().await;
    let start = cursor(&node).await;
    let read = async {
        let (mut last, mut seen) = (start.clone(), 0);
        // Comes back seven times, each time in the middle of what is published.
        for round in 1..=7 {
            let mut client = node.ready().await;
            client.subscribe("1", &from(&last)).await;
            while seen < EVENTS * round / 7 {
                let event = event(&mut client).await;
                seen += 1;
                assert_eq!(event["sequence"], json!(seen), "round {round}");
                last = event["cursor"].as_str().expect("a cursor").to_owned();
            }
        }
    };
    let from_the_start = async {
        let mut client = node.ready().await;
        client.subscribe("1", &from(&start)).await;
        for seen in 1..=EVENTS {
            assert_eq!(event(&mut client).await["sequence"], json!(seen));
        }
    };
    tokio::join!(publish_with_bad_wakes(&node), read, from_the_start);
}

#[tokio::test]
async fn without_a_bus_new_events_are_found_by_polling() {
    let node = Node::polling().await;
    let mut client = node.ready().await;
    client.subscribe("1", "subscription { events(channel: \"a.b\") { sequence } }").await;
    node.until_listeners("a.b", 1).await;
    for n in 1..=3 {
        node.append("a.b", &numbers(0..1)).await;
        assert_eq!(event(&mut client).await["sequence"], json!(n));
    }
}

#[tokio::test]
async fn a_slow_reader_falls_back_to_the_log_and_misses_nothing() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    client.subscribe("1", "subscription { events(channel: \"a.b\") { sequence data } }").await;
    node.until_listeners("a.b", 1).await;
    // Three times what the ring holds, and more than the sockets' buffers take.
    let big = format!("\"{}\"", "x".repeat(20_000));
    for _ in 0..60 {
        node.publish("a.b", &vec![big.clone(); 10]).await;
    }
    for seen in 1..=600 {
        assert_eq!(event(&mut client).await["sequence"], json!(seen));
    }
}

#[tokio::test]
async fn operations_of_one_socket_share_it() {
    let node = Node::start().await;
    node.publish("a.b", &numbers(0..300)).await;
    let mut client = node.ready().await;
    for id in 0..100 {
        client
            .subscribe(&id.to_string(), "subscription { events(channel: \"a.b\", last: 300) { sequence } }")
            .await;
    }
    let mut seen = [0; 100];
    for _ in 0..300 * 100 {
        let message = client.message().await;
        let id: usize = message["id"].as_str().and_then(|id| id.parse().ok()).expect("an id of ours");
        seen[id] += 1;
        assert_eq!(message["payload"]["data"]["events"]["sequence"], json!(seen[id]));
    }
    assert!(seen.iter().all(|count| *count == 300));
}

#[tokio::test]
async fn places_to_begin_at() {
    let node = Node::start().await;
    let events = node.publish("a.b", &numbers(0..5)).await;
    let mut client = node.ready().await;
    client.subscribe("last", "subscription { events(channel: \"a.b\", last: 2) { sequence } }").await;
    assert_eq!(
        [event(&mut client).await, event(&mut client).await],
        [json!({"sequence": 4}), json!({"sequence": 5})]
    );
    client.send(r#"{"id":"last","type":"complete"}"#).await;
    let since = events[0].stored_at.to_rfc3339();
    let query = format!("subscription {{ events(channel: \"a.b\", since: \"{since}\") {{ sequence }} }}");
    client.subscribe("since", &query).await;
    assert_eq!(event(&mut client).await, json!({"sequence": 1}));
}

#[tokio::test]
async fn a_cursor_that_cannot_be_honoured_is_never_ignored() {
    let node = Node::start().await;
    node.publish("a.b", &numbers(0..3)).await;
    let mut client = node.ready().await;
    client.subscribe("1", "subscription { events(channel: \"a.b\", after: \"x\") { sequence } }").await;
    let error = client.message().await["payload"][0]["extensions"].take();
    assert_eq!((&error["code"], &error["newest"]), (&json!("CURSOR_INVALID"), &json!(cursor(&node).await)));
    assert!(error["oldest"].is_string(), "{error}");

    client
        .subscribe("1", "subscription { events(channel: \"a.b\", after: \"x\", onGap: SKIP) { sequence } }")
        .await;
    let first = client.message().await["payload"].take();
    assert_eq!(first["extensions"]["gap"]["reason"], json!("CURSOR_INVALID"), "{first}");
    assert_eq!(first["data"]["events"], json!({"sequence": 1}));
    let second = client.message().await["payload"].take();
    assert_eq!(second, json!({"data": {"events": {"sequence": 2}}}));
}

#[tokio::test]
async fn live_operations_wait_while_the_database_is_away() {
    let (node, mut proxy) = Node::proxied().await;
    node.publish("a.b", &numbers(0..2)).await;
    let mut client = node.ready().await;
    client.subscribe("live", "subscription { events(channel: \"a.b\", last: 1) { sequence } }").await;
    assert_eq!(event(&mut client).await, json!({"sequence": 2}));
    proxy.vanish().await;
    client.subscribe("late", "subscription { events(channel: \"a.b\", last: 1) { sequence } }").await;
    client.send(r#"{"type":"ping"}"#).await;
    assert_eq!(client.message().await, json!({"type": "pong"}), "the connection goes on");
    tokio::time::timeout(Duration::from_millis(500), client.message())
        .await
        .expect_err("nothing ends meanwhile");
    proxy.accept().await.expect("the port is still free");
    assert_eq!(event(&mut client).await, json!({"sequence": 2}), "the waiting operation begins");
}
