//! Event streams: what a browser's EventSource relies on.

use std::time::Duration;

use nuncio_api::ApiSettings;
use nuncio_devstack::testkit::Proxy;
use nuncio_model::Rights;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node, Site};
use crate::sse_kit::Source;

const ORDERS: &str = "/v1/channels/orders/events";

#[tokio::test]
async fn the_first_bytes_come_at_once_and_then_events_as_they_are_published() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let mut source = Source::open(&node, ORDERS, &tenant.key, "").await;
    assert_eq!(source.block().await.as_deref(), Some(":\nretry: 2000"));
    let ready = source.expect("nuncio.ready").await;
    assert_eq!((&ready["recovered"], &ready["reason"]), (&json!(false), &Value::Null));
    assert_eq!(ready["cursor"], source.last_id);
    let cursors = node.publish(&tenant, "orders", 0..3).await;
    assert_eq!(source.numbers(3).await, [0, 1, 2]);
    assert_eq!(source.last_id, cursors[2]);
}

/// RFC 9110, section 12.4.2: a weight of 0 means "not acceptable". It was taken for a wish.
#[tokio::test]
async fn whoever_takes_no_stream_gets_a_page() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    for accept in ["text/event-stream;q=0, application/json", "application/json", "*/*"] {
        let request = node.request(Method::GET, ORDERS, &tenant.key).header("accept", accept);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "application/json", "{accept}");
    }
}

#[tokio::test]
async fn a_broken_connection_goes_on_where_it_was_with_nothing_missing_and_nothing_twice() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let proxy = Proxy::start(&node.address).await.expect("a proxy");
    let through = Site::at(proxy.address());
    let mut source = Source::open(&through, ORDERS, &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    let (mut seen, mut published) = (Vec::new(), 0);
    for _ in 0..5 {
        node.publish(&tenant, "orders", published..published + 20).await;
        seen.extend(source.numbers(10).await);
        proxy.cut();
        node.publish(&tenant, "orders", published + 20..published + 40).await;
        published += 40;
        let last_id = source.last_id.clone();
        source = Source::open(&through, &format!("{ORDERS}?last=3"), &tenant.key, &last_id).await;
        assert_eq!(source.expect("nuncio.ready").await["recovered"], true);
        seen.extend(source.numbers(30).await);
    }
    assert_eq!(seen, (0..i64::from(published)).collect::<Vec<_>>());
}

#[tokio::test]
async fn several_channels_come_as_one_stream_in_one_order() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let path = "/v1/stream?channel=stock&channel=orders.%23&channel=orders.eu&events=typed";
    let mut source = Source::open(&node, path, &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    for (channel, n) in [("orders.eu", 0), ("stock", 1), ("other", 2), ("orders", 3)] {
        let event = json!({"channel": channel, "type": "made", "data": n});
        node.post("/v1/events", &tenant.key, &event).await.expect(201);
    }
    for n in [0, 1, 3] {
        assert_eq!(source.expect("made").await["data"], n);
    }
}

#[tokio::test]
async fn streams_begin_with_the_last_events_or_after_a_cursor() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let cursors = node.publish(&tenant, "orders", 0..10).await;
    let mut last = Source::open(&node, &format!("{ORDERS}?last=3"), &tenant.key, "").await;
    last.expect("nuncio.ready").await;
    assert_eq!(last.numbers(3).await, [7, 8, 9]);
    let mut after = Source::open(&node, &format!("{ORDERS}?after={}", cursors[4]), &tenant.key, "").await;
    assert_eq!(after.expect("nuncio.ready").await["recovered"], true);
    assert_eq!(after.numbers(5).await, [5, 6, 7, 8, 9]);
    node.get("/v1/stream?channel=a&after=x&last=1", &tenant.key).await.expect_problem(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_stream_with_a_filter_is_given_what_it_wants_and_moves_on_over_the_rest() {
    let keep_alive = Duration::from_millis(300);
    let node = Node::start_with(ApiSettings { keep_alive, ..ApiSettings::default() }).await;
    let tenant = node.tenant("shop").await;
    node.publish(&tenant, "orders", 0..10).await;
    let path = format!("{ORDERS}?last=10&filter=data%20%25%205%20%3D%3D%201");
    let mut source = Source::open(&node, &path, &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    assert_eq!(source.numbers(2).await, [1, 6]);
    let cursors = node.publish(&tenant, "orders", 10..20).await;
    assert_eq!(source.numbers(2).await, [11, 16]);
    while source.last_id != cursors[9] {
        let block = source.block().await.expect("the stream goes on");
        assert!(!block.contains("data:"), "{block}");
    }
    let refused = node.get("/v1/stream?channel=a&filter=data%20%3D%3D", &tenant.key).await;
    refused.expect_problem(400, "INVALID_FILTER");
}

#[tokio::test]
async fn a_cursor_that_cannot_be_honoured_tells_a_gap_and_goes_on_from_the_oldest() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    let cursors = node.publish(&shop, "orders", 0..10).await;
    let foreign = node.publish(&bank, "orders", 0..1).await;
    for bad in [foreign[0].as_str(), "-1", "1; drop table events", &"x".repeat(10_000)] {
        let mut source = Source::open(&node, ORDERS, &shop.key, bad).await;
        let ready = source.expect("nuncio.ready").await;
        assert_eq!((&ready["recovered"], &ready["reason"]), (&json!(false), &json!("CURSOR_INVALID")));
        assert_eq!(source.expect("nuncio.gap").await["reason"], "CURSOR_INVALID");
        assert_eq!(source.numbers(10).await, (0..10).collect::<Vec<_>>());
    }
    let trim = "update channels set trimmed_sequence = 6, trimmed_position = 6 where name = 'orders' and sequence = 10";
    node.database.run(trim).await.expect("trimmed");
    let mut source = Source::open(&node, ORDERS, &shop.key, &cursors[1]).await;
    assert_eq!(source.expect("nuncio.ready").await["reason"], "CURSOR_EXPIRED");
    let gap = source.expect("nuncio.gap").await;
    assert_eq!((&gap["from"], &gap["to"]), (&json!(cursors[1]), &json!(cursors[5])));
    assert_eq!(source.numbers(4).await, [6, 7, 8, 9]);
    let mut source = Source::open(&node, ORDERS, &shop.key, &cursors[5]).await;
    assert_eq!(source.expect("nuncio.ready").await["recovered"], true);
}

/// A reader that came back with an expired cursor was told of the gap, and was then given the removed events all the
/// same: they were still in the node's memory, which knows nothing of removal.
#[tokio::test]
async fn what_was_removed_is_not_given_out_from_memory() {
    let node = Node::start().await;
    let shop = node.tenant("shop").await;
    let mut live = Source::open(&node, ORDERS, &shop.key, "").await;
    live.expect("nuncio.ready").await;
    let cursors = node.publish(&shop, "orders", 0..10).await;
    assert_eq!(live.numbers(10).await, (0..10).collect::<Vec<_>>());
    let trim = "update channels set trimmed_sequence = 6, trimmed_position = 6 where name = 'orders'";
    node.database.run(trim).await.expect("trimmed");
    let mut source = Source::open(&node, ORDERS, &shop.key, &cursors[1]).await;
    assert_eq!(source.expect("nuncio.ready").await["reason"], "CURSOR_EXPIRED");
    source.expect("nuncio.gap").await;
    assert_eq!(source.numbers(4).await, [6, 7, 8, 9]);
    let mut last = Source::open(&node, &format!("{ORDERS}?last=8"), &shop.key, "").await;
    last.expect("nuncio.ready").await;
    assert_eq!(last.numbers(4).await, [6, 7, 8, 9]);
}

#[tokio::test]
async fn a_quiet_stream_moves_its_reader_on() {
    let keep_alive = Duration::from_millis(300);
    let node = Node::start_with(ApiSettings { keep_alive, ..ApiSettings::default() }).await;
    let tenant = node.tenant("shop").await;
    let mut source = Source::open(&node, ORDERS, &tenant.key, "").await;
    source.expect("nuncio.ready").await;
    let elsewhere = node.publish(&tenant, "stock", 0..5).await;
    while source.last_id != elsewhere[4] {
        let block = source.block().await.expect("the stream goes on");
        assert!(!block.contains("data:"), "{block}");
    }
}

#[tokio::test]
async fn on_drain_and_at_the_end_of_a_token_the_stream_says_so_and_ends() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let token = node.token(&tenant.name, &Rights::everything());
    let mut with_token =
        Source::open(&node, &format!("/v1/stream?channel=a&access_token={token}"), "", "").await;
    with_token.expect("nuncio.ready").await;
    let mut with_key = Source::open(&node, ORDERS, &tenant.key, "").await;
    with_key.expect("nuncio.ready").await;
    node.app.clock.advance(Duration::from_secs(3_601));
    node.publish(&tenant, "a", 0..1).await;
    while let Some(message) = with_token.next().await {
        let told = message.name == "nuncio.goaway" && message.data["reason"] == "TOKEN_EXPIRED";
        assert!(told || message.name == "message", "{message:?}");
    }
    node.app.drain.cancel();
    assert_eq!(with_key.expect("nuncio.goaway").await["reason"], "DRAINING");
    assert_eq!(with_key.next().await, None);
}

#[tokio::test]
async fn streams_and_polls_end_when_their_key_is_revoked_and_the_others_go_on() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let key = node.key(&tenant.name, Rights::everything()).await;
    let mut revoked = Source::open(&node, ORDERS, &key, "").await;
    let mut other = Source::open(&node, ORDERS, &tenant.key, "").await;
    revoked.expect("nuncio.ready").await;
    other.expect("nuncio.ready").await;
    let poll = async {
        let answer = node.get("/v1/channels/quiet/events?wait=60", &key).await;
        answer.expect_problem(401, "UNAUTHENTICATED");
    };
    let revoke = async {
        let project = node.project(&tenant.name).id;
        node.until_listeners(project, "quiet", 1).await;
        let keys = node.app.store.list_api_keys(project, 0, 10).await.expect("the keys");
        let id = keys.iter().find(|known| key.starts_with(&known.prefix)).expect("the key").id;
        let path = format!("/admin/v1/projects/shop/keys/{id}:revoke");
        node.post(&path, &node.admin, &json!({})).await.expect(200);
    };
    tokio::join!(poll, revoke);
    assert_eq!(revoked.expect("nuncio.goaway").await["reason"], "KEY_REVOKED");
    assert_eq!(revoked.next().await, None);
    node.publish(&tenant, "orders", 0..1).await;
    assert_eq!(other.numbers(1).await, [0]);
}

#[tokio::test]
async fn a_key_in_a_url_is_refused_and_a_token_there_is_for_streams_alone() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let token = node.token(&tenant.name, &Rights::everything());
    let refused = node.get(&format!("/v1/stream?channel=a&access_token={}", tenant.key), "").await;
    let problem = refused.expect_problem(401, "UNAUTHENTICATED");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("URL")), "{problem}");
    node.get(&format!("{ORDERS}?access_token={token}"), "").await.expect_problem(401, "UNAUTHENTICATED");
    let request = node.request(Method::POST, &format!("{ORDERS}?access_token={token}"), "").json(&json!({}));
    Answer::of(request.send().await.expect("an answer")).await.expect_problem(401, "UNAUTHENTICATED");
}
