//! Event streams: what is listened to, where they begin, and what is told when something is missing.

use std::time::Duration;

use nuncio_api::ApiSettings;
use serde_json::{Value, json};

use crate::node::{Node, Tenant};
use crate::sse_kit::Source;

const ORDERS: &str = "/v1/channels/orders/events";

fn stream_of(channels: impl IntoIterator<Item = String>) -> String {
    let channels: Vec<_> = channels.into_iter().map(|channel| format!("channel={channel}")).collect();
    format!("/v1/stream?{}", channels.join("&"))
}

#[tokio::test]
async fn a_hundred_channels_are_one_stream_and_one_more_is_refused() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let channels = |count: u32| (0..count).map(|n| format!("room.{n}"));
    let mut source = Source::open(&node, &stream_of(channels(100)), &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    for n in [0, 57, 99, 3] {
        node.publish(&tenant, &format!("room.{n}"), n..n + 1).await;
    }
    node.publish(&tenant, "room.100", 100..101).await;
    node.publish(&tenant, "room.1", 1..2).await;
    assert_eq!(source.numbers(5).await, [0, 57, 99, 3, 1]);
    for count in [0, 101] {
        let refused = node.get(&stream_of(channels(count)), &tenant.key).await;
        let problem = refused.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], "channel", "{problem}");
    }
    let bad = node.get("/v1/stream?channel=a&channel=b..c", &tenant.key).await;
    bad.expect_problem(400, "INVALID_PATTERN");
}

#[tokio::test]
async fn patterns_that_overlap_give_each_event_once() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let before = node.publish(&tenant, "orders.eu.new", 0..3).await;
    let patterns = ["orders.%23", "orders.*.new", "orders.eu.new", "orders.eu.new", "%23", "stock"];
    let path = stream_of(patterns.map(str::to_owned));
    let mut source = Source::open(&node, &format!("{path}&last=2"), &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    node.publish(&tenant, "orders.eu.new", 3..5).await;
    node.publish(&tenant, "stock", 5..6).await;
    assert_eq!(source.numbers(5).await, [1, 2, 3, 4, 5]);
    let mut resumed = Source::open(&node, &path, &tenant.key, &before[0]).await;
    assert_eq!(resumed.expect("nuncio.ready").await["recovered"], true);
    assert_eq!(resumed.numbers(5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn typed_streams_name_their_events_and_nobody_speaks_with_nuncios_voice() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let mut plain = Source::open(&node, ORDERS, &tenant.key, "").await;
    let mut typed = Source::open(&node, &format!("{ORDERS}?events=typed"), &tenant.key, "").await;
    plain.expect("nuncio.ready").await;
    typed.expect("nuncio.ready").await;
    let types = ["order.paid", "message", "nuncio.gap", "error", "open"];
    let events: Vec<Value> = types.iter().map(|text| json!({ "type": text, "data": 1 })).collect();
    node.post(ORDERS, &tenant.key, &events.into()).await.expect(201);
    for text in types {
        let expected = if text == "order.paid" { "order.paid" } else { "message" };
        assert_eq!(typed.expect(expected).await["type"], text);
        assert_eq!(plain.expect("message").await["type"], text);
    }
    node.get(&format!("{ORDERS}?events=all"), &tenant.key).await.expect_problem(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_stream_begins_with_what_was_stored_since_a_time() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    node.publish(&tenant, "orders", 0..4).await;
    // Later ones, as there are partitions for the time to come and not for all that went by.
    let ages = "update events set stored_at = stored_at + interval '1 hour' where position > 2";
    node.database.run(ages).await.expect("they are newer now");
    let half = (node.app.clock.now() + Duration::from_secs(1_800)).to_rfc3339().replace('+', "%2B");
    let mut source = Source::open(&node, &format!("{ORDERS}?since={half}"), &tenant.key, "").await;
    let ready = source.expect("nuncio.ready").await;
    assert_eq!((&ready["recovered"], &ready["reason"]), (&json!(false), &Value::Null));
    assert_eq!(source.numbers(2).await, [2, 3]);
    let request = node.request(reqwest::Method::GET, &format!("{ORDERS}?since=yesterday"), &tenant.key);
    let refused = request.header("accept", "text/event-stream").send().await.expect("an answer");
    assert_eq!(refused.status(), 400);
}

/// What a page takes and a stream does not would silently do nothing.
#[tokio::test]
async fn what_only_a_page_can_do_is_refused_by_name() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    for parameter in ["before", "first", "wait"] {
        let path = format!("/v1/stream?channel=a&{parameter}=1&unknown=1");
        let problem = node.get(&path, &tenant.key).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], parameter, "{problem}");
    }
    for two in ["after=x&last=1", "last=1&since=2026-01-31T12:00:00Z", "after=x&after=y"] {
        let path = format!("/v1/stream?channel=a&{two}");
        node.get(&path, &tenant.key).await.expect_problem(400, "INVALID_REQUEST");
    }
    // The header wins over all of them: a client that was cut sends its first query again.
    let cursors = node.publish(&tenant, "orders", 0..3).await;
    let path = format!("{ORDERS}?since=2026-01-31T12:00:00Z&last=3");
    let mut source = Source::open(&node, &path, &tenant.key, &cursors[1]).await;
    assert_eq!(source.expect("nuncio.ready").await["recovered"], true);
    assert_eq!(source.numbers(1).await, [2]);
}

#[tokio::test]
async fn a_quiet_stream_resumes_by_the_bare_id_that_it_was_told() {
    let keep_alive = Duration::from_millis(300);
    let node = Node::start_with(ApiSettings { keep_alive, ..ApiSettings::default() }).await;
    let tenant = node.tenant("shop").await;
    let mut source = Source::open(&node, ORDERS, &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    let elsewhere = node.publish(&tenant, "stock", 0..50).await;
    while source.last_id != elsewhere[49] {
        source.block().await.expect("the stream goes on");
    }
    drop(source);
    // Nothing of `orders` was removed after that place, though all before it may be.
    let trim = "update channels set trimmed_sequence = 49, trimmed_position = 49 where name = 'stock'";
    node.database.run(trim).await.expect("trimmed");
    node.publish(&tenant, "orders", 7..9).await;
    let mut source = Source::open(&node, ORDERS, &tenant.key, &elsewhere[49]).await;
    assert_eq!(source.expect("nuncio.ready").await["recovered"], true);
    assert_eq!(source.numbers(2).await, [7, 8]);
}

async fn publish_large(node: &Node, tenant: &Tenant, numbers: std::ops::Range<usize>) {
    let padding = "x".repeat(8_000);
    let events: Vec<Value> = numbers.map(|n| json!({ "data": { "n": n, "padding": padding } })).collect();
    node.post(ORDERS, &tenant.key, &events.into()).await.expect(201);
}

/// Retention overtakes a reader that is slow: it is told what it will not get, in the middle of the stream.
#[tokio::test]
async fn a_slow_reader_is_told_of_what_was_removed_before_it_came_to_it() {
    const EVENTS: usize = 3_000;
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let mut slow = Source::open(&node, ORDERS, &tenant.key, "").await;
    slow.expect("nuncio.ready").await;
    for first in (0..EVENTS).step_by(100) {
        publish_large(&node, &tenant, first..first + 100).await;
    }
    let kept = EVENTS - 10;
    let trim = format!(
        "update channels set trimmed_sequence = {kept}, trimmed_position = {kept} where name = 'orders'; \
         update heads set trims = trims + 1"
    );
    node.database.run(&trim).await.expect("trimmed");
    let (mut next, mut gap) = (0, None);
    while next < EVENTS as u64 {
        let message = slow.next().await.expect("the stream goes on");
        if message.name == "nuncio.gap" {
            assert!(gap.is_none(), "it is told once");
            assert_eq!(message.data["reason"], "CURSOR_EXPIRED", "{message:?}");
            (gap, next) = (Some(next), kept as u64);
        } else {
            assert_eq!(message.data["data"]["n"], next, "{next}");
            next += 1;
        }
    }
    assert!(gap.is_some_and(|at| at > 0 && at < kept as u64), "{gap:?}");
}
