//! `graphql-transport-ws` over a real socket: every close code, and what leaves the connection open.

use std::time::Duration;

use nuncio_api::ApiSettings;
use serde_json::json;

use crate::graphql_kit::Node;
use crate::node::ORIGIN;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn bad_behaviour_is_closed_with_its_code() {
    let mut settings = ApiSettings::default();
    settings.sockets.init_timeout = Duration::from_millis(300);
    settings.sockets.max_message_bytes = 10_000;
    let node = Node::with(settings).await;
    let subscribe = r#"{"id":"1","type":"subscribe","payload":{"query":"subscription { events(channel: \"a\") { id } }"}}"#;

    assert_eq!(node.connect().await.close_code().await, 4408);
    // A client that offers other subprotocols ends the handshake by itself when none is taken.
    assert_eq!(node.connect_with("", &[]).await.close_code().await, 4406);

    let mut early = node.connect().await;
    early.send(subscribe).await;
    assert_eq!(early.close_code().await, 4401);

    let mut twice = node.ready().await;
    twice.send(r#"{"type":"connection_init"}"#).await;
    assert_eq!(twice.close_code().await, 4429);

    let mut same_id = node.ready().await;
    same_id.send(subscribe).await;
    same_id.send(subscribe).await;
    assert_eq!(same_id.close_code().await, 4409);

    let mut unknown = node.ready().await;
    unknown.send(r#"{"type":"hello"}"#).await;
    assert_eq!(unknown.close_code().await, 4400);

    let mut large = node.connect().await;
    large.send("x".repeat(20_000)).await;
    assert_eq!(large.close_code().await, 1009);
}

#[tokio::test]
async fn bad_credentials_and_foreign_pages_are_closed_with_4403() {
    let node = Node::start().await;
    let init = |token: &str| json!({"type": "connection_init", "payload": {"token": token}}).to_string();
    for token in ["", "nk_wrong", "a.b.c", &format!("{}x", node.key)] {
        let mut client = node.connect().await;
        client.send(init(token)).await;
        assert_eq!(client.close_code().await, 4403, "{token}");
    }
    let mut nobody = node.connect().await;
    nobody.send(r#"{"type":"connection_init"}"#).await;
    assert_eq!(nobody.close_code().await, 4403);

    let own = format!("http://{}", node.address);
    for (origin, allowed) in [("https://evil.example", false), ("null", false), (ORIGIN, true), (&own, true)]
    {
        let mut client = node.connect_with("graphql-transport-ws", &[("origin", origin)]).await;
        if allowed {
            client.init(&node.key).await;
        } else {
            client.send(init(&node.key)).await;
            assert_eq!(client.close_code().await, 4403, "{origin}");
        }
    }
}

#[tokio::test]
async fn credentials_may_come_in_each_of_three_places() {
    let node = Node::start().await;
    let bearer = format!("Bearer {}", node.key);
    node.ready().await;
    let mut by_payload = node.connect().await;
    by_payload
        .send(json!({"type": "connection_init", "payload": {"Authorization": bearer}}).to_string())
        .await;
    assert_eq!(by_payload.message().await, json!({"type": "connection_ack"}));
    let mut by_header = node.connect_with("graphql-transport-ws", &[("authorization", &bearer)]).await;
    by_header.send(r#"{"type":"connection_init"}"#).await;
    assert_eq!(by_header.message().await, json!({"type": "connection_ack"}));
}

#[tokio::test]
async fn an_expired_token_closes_its_connection() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    client.init(&node.token(&["#"], Duration::from_secs(2))).await;
    client.subscribe("1", "subscription { events(channel: \"a\") { id } }").await;
    assert_eq!(client.close_code().await, 4403);
}

#[tokio::test]
async fn a_stopping_node_sends_its_clients_away() {
    let mut settings = ApiSettings::default();
    settings.sockets.drain_spread = Duration::from_millis(200);
    let node = Node::with(settings).await;
    let (mut ready, mut new) = (node.ready().await, node.connect().await);
    node.app.drain.cancel();
    assert_eq!((ready.close_code().await, new.close_code().await), (1001, 1001));
}

#[tokio::test]
async fn who_takes_nothing_at_all_is_closed_with_4508() {
    let node = Node::with(ApiSettings { stalled: Duration::from_secs(1), ..ApiSettings::default() }).await;
    let mut client = node.ready().await;
    client.subscribe("1", "subscription { events(channel: \"big\") { data sequence } }").await;
    node.until_listeners("big", 1).await;
    // More than the buffers of both ends hold; nobody reads meanwhile.
    let big = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..30 {
        node.publish("big", &vec![big.clone(); 8]).await;
    }
    node.until_listeners("big", 0).await;
    assert_eq!(client.close_code().await, 4508);
}

/// The system kept megabytes for a slow reader and told of room only when much of that was taken: one that took a little
/// all the time was closed as if it took nothing.
#[tokio::test]
async fn who_takes_a_little_all_the_time_is_not_closed() {
    let node = Node::with(ApiSettings { stalled: Duration::from_secs(2), ..ApiSettings::default() }).await;
    let mut client = node.ready().await;
    client.subscribe("1", "subscription { events(channel: \"big\") { data sequence } }").await;
    node.until_listeners("big", 1).await;
    let big = format!("\"{}\"", "x".repeat(20_000));
    for _ in 0..50 {
        node.publish("big", &vec![big.clone(); 10]).await;
    }
    // 400 KB a second, for three times as long as it takes to be stalled.
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for seen in 1..=120 {
        pace.tick().await;
        assert_eq!(client.event().await.1["events"]["sequence"], json!(seen));
    }
    for seen in 121..=500 {
        assert_eq!(client.event().await.1["events"]["sequence"], json!(seen));
    }
}

#[tokio::test]
async fn one_operation_too_many_leaves_the_connection_open() {
    let mut settings = ApiSettings::default();
    settings.sockets.max_operations = 2;
    let node = Node::with(settings).await;
    let mut client = node.ready().await;
    for id in ["1", "2", "3"] {
        client.subscribe(id, "subscription { events(channel: \"a\") { id } }").await;
    }
    assert_eq!(client.error_code("3").await, json!("TOO_MANY_OPERATIONS"));
    client.send(r#"{"id":"1","type":"complete"}"#).await;
    client.subscribe("3", "{ cursor }").await;
    assert_eq!(client.message().await["type"], json!("next"));
    assert_eq!(client.message().await, json!({"id": "3", "type": "complete"}));
    client.send(r#"{"type":"ping","payload":{"n":1}}"#).await;
    assert_eq!(client.message().await, json!({"type": "pong", "payload": {"n": 1}}));
}

#[tokio::test]
async fn errors_end_the_operation_and_not_the_connection() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    client.init(&node.token(&["orders.*"], MINUTE)).await;
    for (query, code) in [
        ("subscription { events(channel: \"orders.#\") { id } }", "FORBIDDEN"),
        ("subscription { events(channel: \"#\") { id } }", "FORBIDDEN"),
        ("{ history(channel: \"other\") { cursor } }", "FORBIDDEN"),
        ("{ channel(name: \"other\") { name } }", "FORBIDDEN"),
        ("mutation { publish(channel: \"orders.a\", event: {}) { id } }", "FORBIDDEN"),
        ("subscription { events(channel: \"a..b\") { id } }", "INVALID_PATTERN"),
        ("subscription { events(channel: \"orders.a\", last: 1, after: \"x\") { id } }", "INVALID_REQUEST"),
        ("subscription { events(channel: \"orders.a\", after: \"made-up\") { id } }", "CURSOR_INVALID"),
        ("subscription { nothing }", "INVALID_REQUEST"),
        ("not graphql", "INVALID_REQUEST"),
        ("", "INVALID_REQUEST"),
    ] {
        client.subscribe("1", query).await;
        assert_eq!(client.error_code("1").await, json!(code), "{query}");
    }
    client.subscribe("1", "subscription { events(channel: \"orders.*\") { data } }").await;
    node.until_listeners("orders.eu", 1).await;
    node.publish("orders.eu", &["{\"n\":1e400}".to_owned()]).await;
    let text = client.text().await;
    assert_eq!(text, r#"{"id":"1","type":"next","payload":{"data":{"events":{"data":{"n":1e400}}}}}"#);
}
