//! Multipart subscriptions, as Apollo's protocol has them and Apollo Client reads them.

use std::time::Duration;

use nuncio_api::ApiSettings;
use reqwest::Method;
use serde_json::json;

use crate::graphql_kit::Node;
use crate::node::Site;
use crate::streams_kit::{APOLLO, Parts, answer, ask, code, numbers_after, numbers_of, through_proxy};

#[tokio::test]
async fn each_event_is_a_part_with_its_payload() {
    let node = Node::start().await;
    let mut stream = node.parts(&numbers_of("a")).await;
    node.until_listeners("a", 1).await;
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stream.payload().await, json!({"payload": {"data": {"events": {"data": 1}}}}));
    drop(stream);
    node.until_listeners("a", 0).await;
}

#[tokio::test]
async fn a_silent_stream_sends_heartbeats() {
    let keep_alive = Duration::from_millis(200);
    let node = Node::with(ApiSettings { keep_alive, ..ApiSettings::default() }).await;
    let mut stream = node.parts(&numbers_of("a")).await;
    for _ in 0..3 {
        assert_eq!(stream.next().await, Some(json!({})));
    }
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stream.numbers(1).await, [1]);
}

#[tokio::test]
async fn a_query_of_a_client_that_takes_json_too_is_answered_with_that() {
    let node = Node::start().await;
    let post = |query: &str| {
        ask(&node, Method::POST, &node.key).header("accept", APOLLO).json(&json!({ "query": query }))
    };
    for (query, status) in [("{ __typename }", 200), ("{ nothing }", 400), ("subscription { nothing }", 400)]
    {
        let answer = answer(post(query)).await;
        assert_eq!(answer.header("content-type"), "application/graphql-response+json; charset=utf-8");
        assert_eq!(answer.status, status, "{query}");
    }
    let request = ask(&node, Method::POST, "").header("accept", APOLLO).json(&numbers_of("a"));
    assert_eq!(code(&answer(request).await), (401, json!("UNAUTHENTICATED")));
    let only = ask(&node, Method::POST, &node.key).header("accept", "multipart/mixed;subscriptionSpec=1.0");
    let body = only.json(&json!({ "query": "{ __typename }" })).send().await.expect("an answer");
    let text = body.text().await.expect("a body");
    assert!(text.contains(r#"{"payload":{"data":{"__typename":"Query"}}}"#), "{text}");
    assert!(text.ends_with("\r\n--graphql--\r\n"), "{text}");
}

/// An error that ends the stream is one of the transport; then the last boundary says that there is no more to come.
#[tokio::test]
async fn an_operation_that_cannot_go_on_ends_with_its_errors_and_the_last_boundary() {
    let node = Node::start().await;
    let mut stream = node.parts(&numbers_after("a", "made up")).await;
    let last = stream.payload().await;
    assert_eq!(
        (&last["payload"], &last["errors"][0]["extensions"]["code"]),
        (&json!(null), &json!("CURSOR_INVALID"))
    );
    assert_eq!(stream.rest().await, "--\r\n");
}

/// Apollo Client takes a stream without the last boundary for broken, and one with it for complete.
#[tokio::test]
async fn on_drain_a_stream_ends_without_the_last_boundary() {
    let mut settings = ApiSettings::default();
    settings.sockets.drain_spread = Duration::from_millis(100);
    let node = Node::with(settings).await;
    let mut stream = node.parts(&numbers_of("a")).await;
    node.until_listeners("a", 1).await;
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stream.numbers(1).await, [1]);
    node.app.drain.cancel();
    assert_eq!(stream.rest().await, "");
}

#[tokio::test]
async fn two_thousand_events_come_in_order_through_connections_that_break() {
    const EVENTS: u32 = 2_000;
    let node = Node::start().await;
    let start = node.head().await;
    let texts: Vec<_> = (0..EVENTS).map(|n| n.to_string()).collect();
    let events: Vec<_> = node.publish("a", &texts).await;
    let (proxy, through) = through_proxy(&node).await;
    let open = async |site: &Site, after: &str| {
        Parts::of(ask(site, Method::POST, &node.key).json(&numbers_after("a", after))).await
    };
    let (mut cursor, mut seen) = (start, Vec::new());
    while seen.len() < EVENTS as usize {
        let mut stream = open(&through, &cursor).await;
        seen.extend(stream.numbers(400).await);
        proxy.cut();
        cursor = events[seen.len() - 1].cursor().to_string();
    }
    assert_eq!(seen, (0..i64::from(EVENTS)).collect::<Vec<_>>());
}
