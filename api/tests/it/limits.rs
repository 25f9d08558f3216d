//! Rate limits, as clients meet them: who is counted, what they are told, and that it ends no connection.

use std::time::Duration;

use nuncio_api::ApiSettings;
use nuncio_model::Rights;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::graphql_kit;
use crate::node::{Answer, Node, ORIGIN, Tenant};

const LIMITS: &str = "/admin/v1/projects/demo/rate-limits";
const EVENTS: &str = "/v1/channels/orders.eu/events";

/// So many at once, and then one in an hour.
fn limit(scope: &str, action: &str, burst: u32) -> Value {
    json!({"scope": scope, "action": action, "limit": burst, "periodSeconds": 3_600 * burst, "burst": burst})
}

impl Node {
    async fn limited(&self, limit: &Value) -> Value {
        self.post(LIMITS, &self.admin, limit).await.expect(201)
    }
}

async fn demo() -> (Node, Tenant) {
    let node = Node::start().await;
    let tenant = node.tenant("demo").await;
    (node, tenant)
}

#[tokio::test]
async fn a_limit_is_made_changed_by_one_at_a_time_and_taken_away() {
    let (node, _) = demo().await;
    let body = json!({"scope": "key", "action": "publish", "limit": 100, "periodSeconds": 60});
    let made = node.post(LIMITS, &node.admin, &body).await;
    let (location, tag) = (made.header("location").to_owned(), made.header("etag").to_owned());
    let made = made.expect(201);
    assert_eq!((&made["burst"], &made["target"]), (&json!(50), &Value::Null), "{made}");
    assert_eq!(location, format!("{LIMITS}/{}", made["id"].as_str().expect("an id")));
    let change = async |tag: &str, changes: Value| {
        let request =
            node.request(Method::PATCH, &location, &node.admin).header("if-match", tag).json(&changes);
        Answer::of(request.send().await.expect("an answer")).await
    };
    let changed =
        change(&tag, json!({"limit": 10, "burst": null, "target": "nk_abcdefgh"})).await.expect(200);
    assert_eq!((&changed["limit"], &changed["burst"]), (&json!(10), &json!(5)), "{changed}");
    change(&tag, json!({"limit": 11})).await.expect_problem(412, "PRECONDITION_FAILED");
    assert_eq!(node.get(&location, &node.admin).await.expect(200), changed);
    assert_eq!(node.get(LIMITS, &node.admin).await.expect(200)["items"], json!([changed]));
    let wrong = json!({"limit": 0, "periodSeconds": 86_401, "burst": 0, "scope": "connection", "action": "connect", "target": "x"});
    let problem = change("*", wrong).await.expect_problem(400, "INVALID_REQUEST");
    let fields: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["limit", "periodSeconds", "burst", "action", "target"]);
    change("*", json!({"scope": "planet"})).await.expect_problem(400, "INVALID_REQUEST");
    let body = json!({"scope": "key", "action": "publish", "limit": 1});
    node.post(LIMITS, &node.admin, &body).await.expect_problem(400, "INVALID_REQUEST");
    node.send(Method::DELETE, &location, &node.admin, &json!({})).await.expect(204);
    node.get(&location, &node.admin).await.expect_problem(404, "NOT_FOUND");
    node.get(&format!("{LIMITS}/x"), &node.admin).await.expect_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_request_over_its_limit_is_told_when_to_come_back() {
    let (node, tenant) = demo().await;
    let made = node.limited(&limit("key", "request", 2)).await;
    let name = format!("key-request-{}", made["id"].as_str().expect("an id"));
    let first = node.get(EVENTS, &tenant.key).await;
    assert_eq!(first.header("ratelimit-policy"), format!("\"{name}\";q=2;w=7200"));
    assert_eq!(first.header("ratelimit"), format!("\"{name}\";r=1;t=3600"));
    first.expect(200);
    assert_eq!(node.get(EVENTS, &tenant.key).await.header("ratelimit"), format!("\"{name}\";r=0;t=7200"));
    let request = node.request(Method::GET, EVENTS, &tenant.key).header("origin", ORIGIN);
    let refused = Answer::of(request.send().await.expect("an answer")).await;
    assert_eq!(refused.header("retry-after"), "3600");
    assert_eq!(refused.header("ratelimit"), format!("\"{name}\";r=0;t=3600"));
    let exposed = refused.header("access-control-expose-headers").to_owned();
    assert!(exposed.contains("ratelimit") && exposed.contains("ratelimit-policy"), "{exposed}");
    let problem = refused.expect_problem(429, "RATE_LIMITED");
    let millis = problem["retryAfterMs"].as_u64().expect("a number");
    assert!((3_590_000..=3_600_000).contains(&millis), "{problem}");
    // Another key has its own, and what is not counted is not limited.
    let other = node.key(&tenant.name, Rights::everything()).await;
    node.get(EVENTS, &other).await.expect(200);
    node.get(LIMITS, &node.admin).await.expect(200);
}

#[tokio::test]
async fn each_scope_counts_what_it_says() {
    for (scope, target) in [("ip", None), ("key", Some(())), ("project", None), ("subject", None)] {
        let (node, tenant) = demo().await;
        let token = node.token(&tenant.name, &Rights::everything());
        let mut limit = limit(scope, "request", 1);
        if target.is_some() {
            limit["target"] = json!(&tenant.key[..11]);
        }
        node.limited(&limit).await;
        let (of_key, of_subject) = (scope != "subject", scope != "key");
        for (credentials, is_counted) in [(&tenant.key, of_key), (&token, of_subject)] {
            let shared = scope == "ip" || scope == "project";
            let is_first = credentials == &tenant.key || !shared;
            let first = node.get(EVENTS, credentials).await;
            assert_eq!(first.status.as_u16(), if is_first { 200 } else { 429 }, "{scope}");
            let second = node.get(EVENTS, credentials).await.status.as_u16();
            assert_eq!(second, if is_counted { 429 } else { 200 }, "{scope}");
        }
    }
}

#[tokio::test]
async fn events_are_counted_by_project_and_namespace_and_more_than_a_burst_never_goes() {
    let (node, tenant) = demo().await;
    node.limited(&limit("namespace", "publish", 3)).await;
    let publish = async |channel: &str, count: usize| {
        let path = format!("/v1/channels/{channel}/events");
        node.post(&path, &tenant.key, &json!(vec![json!({"data": 1}); count])).await
    };
    let never = publish("orders.eu", 4).await;
    assert_eq!(never.header("retry-after"), "");
    let problem = never.expect_problem(429, "RATE_LIMITED");
    assert!(problem["detail"].as_str().expect("a text").contains("lets through 3 at once"), "{problem}");
    publish("orders.eu", 2).await.expect(201);
    publish("orders.us", 2).await.expect_problem(429, "RATE_LIMITED");
    publish("chat.1", 2).await.expect(201);
    node.limited(&limit("project", "publish", 2)).await;
    publish("other", 2).await.expect(201);
    publish("more", 1).await.expect_problem(429, "RATE_LIMITED");
    // GraphQL counts in the same buckets, and what was refused was not stored.
    let query = json!({"query": "mutation { publish(channel: \"chat.1\", event: {data: 1}) { id } }"});
    let answer = node.post("/graphql", &tenant.key, &query).await;
    assert!(answer.header("ratelimit").contains(";r=0;"), "{:?}", answer.headers);
    let answer = answer.expect(200);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{answer}");
    assert!(answer["errors"][0]["extensions"]["retryAfterMs"].as_u64() > Some(3_000_000), "{answer}");
    let stored = node.get("/v1/channels/%23/events", &tenant.key).await.expect(200);
    assert_eq!(stored["events"].as_array().expect("a list").len(), 6);
}

#[tokio::test]
async fn operations_over_graphql_are_requests_and_a_batch_is_as_many_as_it_has() {
    let node = Node::start_with(ApiSettings { graphql_batch: 10, ..ApiSettings::default() }).await;
    let tenant = node.tenant("demo").await;
    node.limited(&limit("key", "request", 3)).await;
    let query = json!({"query": "{ cursor }"});
    let batch = node.post("/graphql", &tenant.key, &json!([query, query, query, query])).await.expect(200);
    let codes: Vec<_> =
        batch.as_array().expect("a list").iter().map(|one| &one["errors"][0]["extensions"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &Value::Null, &Value::Null, &json!("RATE_LIMITED")]);
    let refused = node.post("/graphql", &tenant.key, &query).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "3600"));
    assert!(refused.header("ratelimit").ends_with(";r=0;t=3600"), "{:?}", refused.headers);
    assert_eq!(refused.json()["errors"][0]["extensions"]["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn subscriptions_over_a_limit_end_and_their_connection_goes_on() {
    let node = graphql_kit::Node::start().await;
    for (scope, action) in
        [("connection", "subscribe"), ("connection", "request"), ("namespace", "subscribe")]
    {
        node.limited(&limit(scope, action, 1)).await;
    }
    let mut client = node.ready().await;
    client.subscribe("1", "subscription { events(channel: \"orders.eu\") { id } }").await;
    node.until_listeners("orders.eu", 1).await;
    client.subscribe("2", "subscription { events(channel: \"chat\") { id } }").await;
    assert_eq!(client.error_code("2").await, "RATE_LIMITED");
    client.subscribe("3", "{ cursor }").await;
    assert_eq!(client.message().await["type"], "next");
    assert_eq!(client.message().await["type"], "complete");
    client.subscribe("4", "{ cursor }").await;
    assert_eq!(client.error_code("4").await, "RATE_LIMITED");
    // Another connection has its own, but not another namespace.
    let mut other = node.ready().await;
    other.subscribe("1", "subscription { events(channel: \"orders.#\") { id } }").await;
    assert_eq!(other.error_code("1").await, "RATE_LIMITED");
    other.subscribe("1", "subscription { events(channel: \"chat\") { id } }").await;
    node.until_listeners("chat", 1).await;
    node.publish("orders.eu", &["1".to_owned()]).await;
    assert_eq!(client.event().await.0, "1");
}

#[tokio::test]
async fn a_stream_that_there_is_no_room_for_is_refused() {
    let (node, tenant) = demo().await;
    node.limited(&limit("key", "connect", 2)).await;
    let open = async |path: &str| {
        let request = node.request(Method::GET, path, &tenant.key).header("accept", "text/event-stream");
        request.send().await.expect("an answer")
    };
    let (one, two) = (open("/v1/stream?channel=a").await, open(EVENTS).await);
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
    let refused = Answer::of(open("/v1/stream?channel=a").await).await;
    refused.expect_problem(429, "RATE_LIMITED");
    let graphql = open("/graphql?query=subscription%7Bevents(channel:%22a%22)%7Bid%7D%7D").await;
    assert_eq!(graphql.status().as_u16(), 429);
    node.limited(&limit("ip", "subscribe", 1)).await;
    let other = node.key(&tenant.name, Rights::everything()).await;
    let open = async |path: &str| {
        let request = node.request(Method::GET, path, &other).header("accept", "text/event-stream");
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((open(EVENTS).await, open(EVENTS).await), (200, 429));
}

#[tokio::test]
async fn a_socket_is_held_back_until_there_is_room() {
    let node = graphql_kit::Node::start().await;
    let body = json!({"scope": "project", "action": "connect", "limit": 1, "periodSeconds": 1, "burst": 1});
    node.limited(&body).await;
    let _first = node.ready().await;
    let start = Instant::now();
    let mut second = node.ready().await;
    let held = start.elapsed();
    assert!(held > Duration::from_millis(700) && held < Duration::from_secs(5), "{held:?}");
    second.subscribe("1", "{ cursor }").await;
    assert_eq!(second.message().await["type"], "next");
    // Where there is none in time, it may come back later.
    node.limited(&limit("key", "connect", 1)).await;
    let _third = node.ready().await;
    let mut late = node.connect().await;
    late.send(json!({"type": "connection_init", "payload": {"token": node.key}}).to_string()).await;
    let start = Instant::now();
    assert_eq!(late.close_code().await, 1013);
    assert!(start.elapsed() >= Duration::from_secs(9), "{:?}", start.elapsed());
}

async fn guarded(trusted: &str, burst: u32) -> (Node, Tenant) {
    let trusted_proxies = trusted.parse().into_iter().collect();
    let settings = ApiSettings {
        address_requests_per_second: 1,
        address_burst: burst,
        trusted_proxies,
        ..ApiSettings::default()
    };
    let node = Node::start_with(settings).await;
    let tenant = node.tenant("demo").await;
    (node, tenant)
}

async fn forwarded(node: &Node, credentials: &str, hops: &str) -> Answer {
    let request = node.request(Method::GET, EVENTS, credentials).header("x-forwarded-for", hops);
    Answer::of(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn the_guard_counts_before_anybody_is_known_and_believes_no_stranger() {
    let (node, tenant) = guarded("192.0.2.1/32", 3).await;
    for n in 0..3 {
        forwarded(&node, "nonsense", &format!("198.51.100.{n}")).await.expect_problem(401, "UNAUTHENTICATED");
    }
    let refused = forwarded(&node, &tenant.key, "198.51.100.9").await;
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=2).contains(&seconds)));
    refused.expect_problem(429, "RATE_LIMITED");
}

#[tokio::test]
async fn behind_a_proxy_the_guard_counts_the_right_most_stranger_and_networks_of_ipv6() {
    let (node, tenant) = guarded("127.0.0.1/32", 2).await;
    for hops in ["1.1.1.1, 198.51.100.1", "2.2.2.2, 198.51.100.1"] {
        forwarded(&node, &tenant.key, hops).await.expect(200);
    }
    forwarded(&node, &tenant.key, "3.3.3.3, 198.51.100.1").await.expect_problem(429, "RATE_LIMITED");
    forwarded(&node, &tenant.key, "198.51.100.1, 198.51.100.2").await.expect(200);
    for host in ["1", "ffff:2"] {
        forwarded(&node, &tenant.key, &format!("2001:db8:0:7::{host}")).await.expect(200);
    }
    forwarded(&node, &tenant.key, "2001:db8:0:7::3").await.expect_problem(429, "RATE_LIMITED");
    forwarded(&node, &tenant.key, "2001:db8:0:8::3").await.expect(200);
}

#[tokio::test]
async fn a_limit_by_address_is_for_the_client_and_not_its_proxy() {
    let (node, tenant) = guarded("127.0.0.1/32", 1_000).await;
    node.limited(&limit("ip", "request", 1)).await;
    forwarded(&node, &tenant.key, "2001:db8:0:7::1").await.expect(200);
    forwarded(&node, &tenant.key, "2001:db8:0:7::2").await.expect_problem(429, "RATE_LIMITED");
    forwarded(&node, &tenant.key, "2001:db8:0:7::2, 198.51.100.2").await.expect(200);
    forwarded(&node, &tenant.key, "9.9.9.9, 198.51.100.2").await.expect_problem(429, "RATE_LIMITED");
}
