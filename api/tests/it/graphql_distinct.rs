//! GraphQL over SSE, distinct connections mode: rule by rule as PROTOCOL.md of graphql-sse has it.

use std::time::Duration;

use nuncio_api::ApiSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::counts::Counts;
use crate::graphql_kit::Node;
use crate::node::{ORIGIN, Site};
use crate::streams_kit::{EVENTS, Events, answer, ask, code, numbers_after, numbers_of, through_proxy};

/// "The execution result is streamed through the established SSE connection." "Streaming operations are terminated by
/// having the client simply close the SSE connection."
#[tokio::test]
async fn a_subscription_streams_until_its_client_leaves() {
    let node = Node::start().await;
    let mut stream = node.events(&numbers_of("a")).await;
    assert_eq!(stream.block().await.as_deref(), Some(":"), "the first bytes come at once");
    node.until_listeners("a", 1).await;
    node.publish("a", &["1".to_owned(), "2".to_owned()]).await;
    assert_eq!(stream.expect("next").await, json!({"data": {"events": {"data": 1}}}));
    assert_eq!(stream.numbers(1).await, [2]);
    drop(stream);
    node.until_listeners("a", 0).await;
}

/// "After all results have been emitted, the `complete` event will follow": queries and mutations too.
#[tokio::test]
async fn queries_and_mutations_have_one_result_and_are_complete() {
    let node = Node::start().await;
    let mutation = r#"mutation { publish(channel: "a", event: { data: 7 }) { sequence } }"#;
    let mut stream = node.events(&json!({ "query": mutation })).await;
    assert_eq!(stream.expect("next").await, json!({"data": {"publish": {"sequence": 1}}}));
    assert_eq!(stream.expect("complete").await, Value::Null);
    assert_eq!(stream.next().await, None, "the stream ends with its operation");
    let query = r#"query($c: String!) { channel(name: $c) { sequence } }"#;
    let mut stream = node.events(&json!({ "query": query, "variables": {"c": "a"} })).await;
    assert_eq!(stream.expect("next").await, json!({"data": {"channel": {"sequence": 1}}}));
    assert_eq!((stream.expect("complete").await, stream.next().await), (Value::Null, None));
}

/// As the browser's EventSource asks: by GET, and with a token in the URL. A GET never mutates.
#[tokio::test]
async fn a_get_streams_queries_and_subscriptions_and_never_mutates() {
    let node = Node::start().await;
    let token = node.token(&["#"], Duration::from_secs(60));
    let get = |query: &str| {
        let request = ask(&node, Method::GET, "").header("accept", EVENTS);
        request.query(&[("query", query), ("access_token", &token), ("variables", r#"{"c":"a"}"#)])
    };
    let mut stream = Events::of(get("subscription($c: String!) { events(channel: $c) { data } }")).await;
    node.until_listeners("a", 1).await;
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stream.numbers(1).await, [1]);
    let mut stream = Events::of(get("{ __typename }")).await;
    assert_eq!(stream.expect("next").await, json!({"data": {"__typename": "Query"}}));
    let mutation = r#"mutation { publish(channel: "a", event: { data: 2 }) { sequence } }"#;
    assert_eq!(code(&answer(get(mutation)).await), (405, json!("INVALID_REQUEST")));
    let in_url = ask(&node, Method::GET, "").header("accept", EVENTS);
    let in_url = in_url.query(&[("query", "{ __typename }"), ("access_token", node.key.as_str())]);
    assert_eq!(code(&answer(in_url).await), (401, json!("UNAUTHENTICATED")));
    let both = get("{ __typename }").bearer_auth(&node.key);
    assert_eq!(code(&answer(both).await), (401, json!("UNAUTHENTICATED")));
    assert_eq!(
        node.execute(r#"{ channel(name: "a") { sequence } }"#).await["data"]["channel"]["sequence"],
        1
    );
}

/// "Validation steps that run before execution of the GraphQL operation MUST report errors through an accepted SSE
/// connection by emitting `next` events that contain the errors in the data field."
#[tokio::test]
async fn what_is_wrong_with_an_operation_is_told_on_the_stream() {
    let node = Node::start().await;
    let foreign = node.token(&["mine.#"], Duration::from_secs(60));
    for (query, refused) in [
        ("{", "INVALID_REQUEST"),
        ("{ nothing }", "INVALID_REQUEST"),
        ("query A { cursor } query B { cursor }", "INVALID_REQUEST"),
        ("subscription($c: String!) { events(channel: $c) { id } }", "INVALID_REQUEST"),
        ("subscription { events(channel: \"a..b\") { id } }", "INVALID_PATTERN"),
        ("subscription { events(channel: \"a\", filter: \"1 +\") { id } }", "INVALID_FILTER"),
        ("subscription { events(channel: \"a\", resume: \"mine\") { id } }", "INVALID_REQUEST"),
        ("subscription { events(channel: \"a\", after: \"x\") { id } }", "CURSOR_INVALID"),
        ("subscription { events(channel: \"a\", after: \"x\") { id @include(if: true) } }", "CURSOR_INVALID"),
    ] {
        let mut stream = node.events(&json!({ "query": query })).await;
        assert_eq!(stream.refusal().await, refused, "{query}");
    }
    let deep = format!("{{ a(b: {}{}) }}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(node.events(&json!({ "query": deep })).await.refusal().await, "TOO_COMPLEX");
    let mut stream = Events::of(ask(&node, Method::POST, &foreign).json(&numbers_of("a"))).await;
    assert_eq!(stream.refusal().await, "FORBIDDEN");
    // What was executed has data, and its errors stand beside it.
    let mutation = r#"mutation { publish(channel: "a..b", event: { data: 7 }) { sequence } }"#;
    let mut stream = node.events(&json!({ "query": mutation })).await;
    assert_eq!(stream.expect("next").await["errors"][0]["extensions"]["code"], "INVALID_CHANNEL");
    assert_eq!(stream.expect("complete").await, Value::Null);
}

/// What is wrong with the request itself is told as GraphQL over HTTP has it, before there is a stream.
#[tokio::test]
async fn a_bad_request_gets_no_stream() {
    let node = Node::start().await;
    let post = |key: &str| ask(&node, Method::POST, key).header("accept", EVENTS);
    let good = numbers_of("a");
    assert_eq!(code(&answer(post("").json(&good)).await), (401, json!("UNAUTHENTICATED")));
    assert_eq!(code(&answer(post("nk_wrong").json(&good)).await), (401, json!("UNAUTHENTICATED")));
    let page = |origin: &'static str| post(&node.key).header("origin", origin).json(&good);
    assert_eq!(code(&answer(page("https://evil.example")).await), (403, json!("FORBIDDEN")));
    assert_eq!(page(ORIGIN).send().await.expect("an answer").status(), 200);
    let plain = post(&node.key).header("content-type", "text/plain").body(good.to_string());
    assert_eq!(code(&answer(plain).await), (415, json!("INVALID_REQUEST")));
    for body in ["", "{", "[]", "{}", r#"{"query":1}"#, &format!("[{good}]")] {
        let request = post(&node.key).header("content-type", "application/json").body(body.to_owned());
        assert_eq!(code(&answer(request).await), (400, json!("INVALID_REQUEST")), "{body}");
    }
    let huge = json!({ "query": "x".repeat(25 << 20) }).to_string();
    let request = post(&node.key).header("content-type", "application/json").body(huge);
    assert_eq!(answer(request).await.status, 413);
}

/// Clients that accept both get JSON wherever one answer is all there is.
#[tokio::test]
async fn a_stream_is_given_only_where_it_is_needed_to_those_who_take_json_too() {
    let node = Node::start().await;
    let both = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed";
    let post = |query: &str| {
        ask(&node, Method::POST, &node.key).header("accept", both).json(&json!({ "query": query }))
    };
    for (query, status) in [("{ __typename }", 200), ("{ nothing }", 400), ("subscription { nothing }", 400)]
    {
        let answer = answer(post(query)).await;
        assert_eq!(answer.header("content-type"), "application/graphql-response+json; charset=utf-8");
        assert_eq!(answer.status, status, "{query}");
    }
    let stream = post("subscription { events(channel: \"a\") { id } }").send().await.expect("an answer");
    assert_eq!(stream.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(stream.headers()["cache-control"], "no-store, no-transform");
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
}

#[tokio::test]
async fn a_cursor_goes_on_where_the_client_was_and_a_gap_is_told() {
    let node = Node::start().await;
    let start = node.head().await;
    let (proxy, through) = through_proxy(&node).await;
    let texts = |numbers: std::ops::Range<u32>| numbers.map(|n| n.to_string()).collect::<Vec<_>>();
    let events = node.publish("a", &texts(0..500)).await;
    let mut stream =
        Events::of(ask(&through, Method::POST, &node.key).json(&numbers_after("a", &start))).await;
    assert_eq!(stream.numbers(300).await, (0..300).collect::<Vec<_>>());
    proxy.cut();
    node.publish("a", &texts(500..600)).await;
    let cursor = events[299].cursor().to_string();
    let mut stream =
        Events::of(ask(&through, Method::POST, &node.key).json(&numbers_after("a", &cursor))).await;
    assert_eq!(stream.numbers(300).await, (300..600).collect::<Vec<_>>());
    let skip = "subscription { events(channel: \"a\", after: \"x\", onGap: SKIP) { data } }";
    let mut stream = node.events(&json!({ "query": skip })).await;
    let first = stream.expect("next").await;
    assert_eq!(first["extensions"]["gap"]["reason"], "CURSOR_INVALID", "{first}");
    assert_eq!(stream.numbers(599).await, (1..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn equal_subscriptions_are_executed_once_whatever_they_come_by() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let mut socket = node.ready().await;
    socket.start("1", &numbers_of("a")).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(node.events(&numbers_of("a")).await);
    }
    let mut parts = node.parts(&numbers_of("a")).await;
    node.until_listeners("a", 5).await;
    let before = counts.of("nuncio_graphql_executions_total");
    node.publish("a", &(0..10).map(|n| n.to_string()).collect::<Vec<_>>()).await;
    for stream in &mut streams {
        assert_eq!(stream.numbers(10).await, (0..10).collect::<Vec<_>>());
    }
    assert_eq!(parts.numbers(10).await, (0..10).collect::<Vec<_>>());
    assert_eq!(socket.event().await.1["events"]["data"], 0);
    assert_eq!(counts.of("nuncio_graphql_executions_total") - before, 10);
}

#[tokio::test]
async fn a_silent_stream_gives_a_sign_of_life() {
    let keep_alive = Duration::from_millis(200);
    let node = Node::with(ApiSettings { keep_alive, ..ApiSettings::default() }).await;
    let mut stream = node.events(&numbers_of("a")).await;
    for _ in 0..4 {
        assert_eq!(stream.block().await.as_deref(), Some(":"));
    }
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stream.numbers(1).await, [1]);
}

/// The client of graphql-sse comes back when a stream ends without `complete`, and not after one.
#[tokio::test]
async fn a_stream_that_ends_before_its_operation_says_nothing_of_completion() {
    let mut settings = ApiSettings::default();
    settings.sockets.drain_spread = Duration::from_millis(100);
    let node = Node::with(settings).await;
    let short = node.token(&["#"], Duration::from_secs(2));
    let mut expires = Events::of(ask(&node, Method::POST, &short).json(&numbers_of("a"))).await;
    let key = node.another_key().await;
    let mut revoked = Events::of(ask(&node, Method::POST, &key).json(&numbers_of("a"))).await;
    let mut drained = node.events(&numbers_of("a")).await;
    node.until_listeners("a", 3).await;
    assert_eq!(expires.next().await, None);
    node.revoke(&key).await;
    assert_eq!(revoked.next().await, None);
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(drained.numbers(1).await, [1], "the others go on");
    node.app.drain.cancel();
    assert_eq!(drained.next().await, None);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_left_and_one_that_pauses_gets_everything() {
    const EVENTS: usize = 1_500;
    let settings = ApiSettings { stalled: Duration::from_secs(1), ..ApiSettings::default() };
    let node = Node::with(settings).await;
    let padding = format!("\"{}\"", "x".repeat(8_000));
    let query = json!({ "query": "subscription { events(channel: \"a\") { sequence data } }" });
    let ask = |site: &Site| ask(site, Method::POST, &node.key).json(&query);
    let (proxy, through) = through_proxy(&node).await;
    let mut reads = Events::of(ask(&node)).await;
    let _stalls = Events::of(ask(&through)).await;
    node.until_listeners("a", 2).await;
    proxy.stall();
    for first in (0..EVENTS).step_by(100) {
        node.publish("a", &vec![padding.clone(); 100]).await;
        for n in first..first + 100 {
            assert_eq!(reads.expect("next").await["data"]["events"]["sequence"], n + 1);
        }
    }
    node.until_listeners("a", 1).await;
    let mut pauses = Events::of(ask(&node)).await;
    node.until_listeners("a", 2).await;
    node.publish("a", &vec![padding; 300]).await;
    for n in EVENTS..EVENTS + 300 {
        assert_eq!(reads.expect("next").await["data"]["events"]["sequence"], n + 1);
    }
    for n in EVENTS..EVENTS + 300 {
        assert_eq!(pauses.expect("next").await["data"]["events"]["sequence"], n + 1);
    }
}
