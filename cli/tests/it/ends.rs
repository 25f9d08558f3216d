//! The ends of connections: stock clients come back by themselves after those that time can mend, and give up after
//! the others.

use nuncio_devstack::testkit::Proxy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::json_of;
use crate::clients::{chromium, member, received, run};
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::{Program, eventually};

/// What the server closes for good, by the rule that is broken (see `rude.mjs`).
const FATAL: [(&str, u64); 5] = [
    ("unknown message", 4400),
    ("subscribe before init", 4401),
    ("no subprotocol", 4406),
    ("duplicate id", 4409),
    ("second init", 4429),
];

/// graphql-ws in Node and in a page of Chromium.
const SCRIPTS: [&str; 2] = ["subscribe_graphql_ws_resume.mjs", "subscribe_chromium.mjs"];

/// Starts one of them after a cursor, with these options beside the usual ones.
fn start_one(script: &str, node: &Node, tenant: &Tenant, after: &str, more: &Value) -> Program {
    let mut options = json!({
        "api": node.api.url, "signing": tenant.signing(), "channel": "orders.*", "after": after, "count": 0,
        "resume": script, "transport": "WebSocket", "chromium": chromium(),
    });
    more.as_object().into_iter().flatten().for_each(|(name, value)| options[name] = value.clone());
    run(script, &options)
}

/// Starts both.
fn start_both(node: &Node, tenant: &Tenant, after: &str, more: &Value) -> [Program; 2] {
    SCRIPTS.map(|script| start_one(script, node, tenant, after, more))
}

/// The values that a client has told under a name.
fn told(client: &Program, name: &str) -> Vec<Value> {
    client.out.all().iter().filter_map(|line| member(name)(line)).collect()
}

async fn node_for_pages(place: &Place) -> (Vec<Node>, Tenant) {
    let nodes = vec![place.start("all").await];
    let tenant = place.make_project(&nodes[0], "shop").await;
    place.let_pages_in(&nodes, &tenant).await;
    (nodes, tenant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_the_protocol_is_closed_for_good() {
    let place = Place::new().await;
    let (nodes, tenant) = node_for_pages(&place).await;
    let start = nodes[0].api.cursor(&tenant).await;
    for (fault, code) in FATAL {
        for mut client in start_both(&nodes[0], &tenant, &start, &json!({ "fault": fault })) {
            let error = client.out.find("the client to give up", member("error")).await;
            assert_eq!(error["code"], code, "{fault}");
            assert_eq!(told(&client, "closed"), [json!(code)], "{fault}: it has not tried again");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_and_a_late_start_are_mended_by_coming_back() {
    let place = Place::new().await;
    let (nodes, tenant) = node_for_pages(&place).await;
    let api = &nodes[0].api;
    let start = api.cursor(&tenant).await;
    api.publish(&tenant, "orders.eu", 1..=1).await;
    let mut signing = tenant.signing();
    // Each token is made anew.
    signing["seconds"] = 3.into();
    let expiring = start_both(&nodes[0], &tenant, &start, &json!({ "signing": signing }));
    // An id of their own, as it is another use.
    let late = [(SCRIPTS[0], "node"), (SCRIPTS[1], "page")].map(|(script, id)| {
        start_one(script, &nodes[0], &tenant, &start, &json!({ "fault": "no init", "resume": id }))
    });
    let clients = expiring.map(|client| (client, 4403, 2)).into_iter();
    let mut clients: Vec<_> = clients.chain(late.map(|client| (client, 4408, 1))).collect();
    for (client, code, connections) in &mut clients {
        let closed = client.out.find("the end of the first connection", member("closed")).await;
        assert_eq!(closed, *code);
        let what = "the client to be back";
        eventually(what, async || told(client, "connected").len() >= *connections).await;
    }
    api.publish(&tenant, "orders.eu", 2..=2).await;
    for (client, code, _) in &clients {
        eventually("both events", async || received(client).len() >= 2).await;
        let numbers: Vec<u64> = received(client).iter().map(|event| event.n).collect();
        assert_eq!(numbers, [1, 2], "after {code}");
        assert_eq!(told(client, "error"), [Value::Null; 0]);
    }
}

/// So much is not held by the system for a socket that is not read.
const MANY: u64 = 200;
const LARGE: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_took_nothing_for_too_long_comes_back_to_all_of_it() {
    let place = Place::new().await;
    let mut command = place.nuncio();
    command.arg("all").env("NUNCIO_STALLED_SECONDS", "1");
    let node = Node::start("nuncio all", command).await;
    let tenant = place.make_project(&node, "shop").await;
    let proxy = Proxy::start(node.address()).await.expect("a port");
    let start = node.api.cursor(&tenant).await;
    let options = json!({
        "api": format!("http://{}", proxy.address()), "token": tenant.key, "channel": "orders.*", "after": start,
        "resume": "tab",
    });
    let mut client = run(SCRIPTS[0], &options);
    node.api.publish(&tenant, "orders.eu", 1..=1).await;
    client.out.find("the first event", member("event")).await;

    proxy.stall();
    for n in 2..=MANY {
        let event = json!({ "data": { "n": n, "padding": "x".repeat(LARGE) } });
        json_of(node.api.request(Method::POST, "/v1/channels/orders.eu/events", &tenant).json(&event)).await;
    }
    eventually("the socket to be closed", async || {
        node.metric(r#"nuncio_websocket_closes_total{code="4508"}"#).await > 0.0
    })
    .await;
    proxy.resume();
    let latest = || received(&client).last().map(|event| event.n);
    eventually("the last event", async || latest() == Some(MANY)).await;
    let mut numbers: Vec<u64> = received(&client).iter().map(|event| event.n).collect();
    // What had come through before the end comes again.
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.into_iter().eq(1..=MANY), "events are missing");
    assert_eq!(told(&client, "connected").len(), 2);
}

/// `NUNCIO_MAX_CONNECTIONS_PER_ADDRESS`. The test itself takes up to three, so that those who are let in first leave
/// room for all who are not.
const SEATS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_finds_no_room_comes_back_until_there_is_some() {
    let place = Place::new().await;
    let mut command = place.nuncio();
    command.arg("all").env("NUNCIO_MAX_CONNECTIONS_PER_ADDRESS", SEATS.to_string());
    let nodes = vec![Node::start("nuncio all", command).await];
    let tenant = place.make_project(&nodes[0], "shop").await;
    place.let_pages_in(&nodes, &tenant).await;
    let start = nodes[0].api.cursor(&tenant).await;
    nodes[0].api.publish(&tenant, "orders.eu", 1..=1).await;

    let start = |script, id: usize| {
        start_one(script, &nodes[0], &tenant, &start, &json!({ "resume": id.to_string() }))
    };
    let mut clients: Vec<Program> = (0..=SEATS).map(|id| start(SCRIPTS[0], id)).collect();
    for client in &mut clients {
        let answer = |line: &str| member("connected")(line).or(member("closed")(line));
        client.out.find("to be let in or not", answer).await;
    }
    let (mut refused, seated): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|client| !told(client, "closed").is_empty());
    assert!(!refused.is_empty() && !seated.is_empty());
    refused.push(start(SCRIPTS[1], SEATS + 1));
    for client in &mut refused {
        assert_eq!(client.out.find("the refusal", member("closed")).await, 1013);
    }
    drop(seated);
    for client in &mut refused {
        client.out.find("the event", member("event")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_source_that_is_refused_gives_up() {
    let place = Place::new().await;
    let (nodes, tenant) = node_for_pages(&place).await;
    let start = nodes[0].api.cursor(&tenant).await;
    let mut signing = tenant.signing();
    signing["secret"] = "some other secret".into();
    for script in ["subscribe_eventsource.mjs", "subscribe_chromium.mjs"] {
        let options = json!({
            "api": nodes[0].api.url, "token": "no token", "signing": signing, "channel": "orders.*", "after": start,
            "count": 0, "transport": "EventSource", "chromium": chromium(),
        });
        let mut client = run(script, &options);
        let closed = client.out.find("the first end", member("closed")).await;
        assert_eq!(closed, true, "{script}: EventSource does not come back after a refusal");
    }
}
