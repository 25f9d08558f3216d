//! What projects use, by day.

use reqwest::Method;
use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};
use crate::node::Peer;
use crate::sse_kit::Source;

async fn usage(node: &Node, query: &str) -> Value {
    node.get(&format!("/admin/v1/projects/demo/usage{query}"), &node.admin).await.expect(200)
}

/// Has both nodes write what they have counted.
async fn written(node: &Node, peer: &Peer) {
    for app in [&node.app, &peer.app] {
        app.meter.write(&app.store).await.expect("it is written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_traffic_gives_known_figures() {
    let node = Node::start().await;
    let peer = node.beside().await;
    let mut socket = Client::ready(&node.address, &node.key).await;
    socket.subscribe("1", r#"subscription { events(channel: "room.#") { data } }"#).await;
    // One that nobody shares.
    let alone = r#"subscription($t: Boolean = true) { events(channel: "room.a") { data @include(if: $t) } }"#;
    socket.subscribe("2", alone).await;
    let mut source = Source::open(&peer.site, "/v1/stream?channel=room.a", &node.key, "").await;
    source.expect("nuncio.ready").await;
    node.until_listeners("room.a", 2).await;

    let events = json!([{"id": "1", "data": "four"}, {"id": "2", "data": [1, 2]}, {"id": "3"}]);
    node.send(Method::POST, "/v1/channels/room.a/events", &node.key, &events).await.expect(201);
    // A repeat is no event.
    let repeat = node.send(Method::POST, "/v1/channels/room.a/events", &node.key, &events).await.expect(201);
    assert_eq!(repeat["events"][2]["duplicate"], true);
    let path = "/v1/channels/room.b/events";
    let there = peer.site.request(Method::POST, path, &node.key).json(&json!({"data": 12345}));
    assert_eq!(there.send().await.expect("an answer").status(), 201);
    // Four of the one and three of the other.
    for _ in 0..7 {
        socket.event().await;
    }
    for _ in 0..3 {
        source.expect("message").await;
    }
    let page = node.get("/v1/channels/room.a/events?first=2", &node.key).await.expect(200);
    assert_eq!(page["events"].as_array().map(Vec::len), Some(2));
    let history = r#"{ history(channel: "room.#") { events { id } } }"#;
    assert_eq!(node.execute(history).await["data"]["history"]["events"].as_array().map(Vec::len), Some(4));

    // What a connection gave in its last turn it notes after the write.
    socket.settle().await;
    written(&node, &peer).await;
    written(&node, &peer).await;
    let told = usage(&node, "").await;
    let days = told["items"].as_array().expect("a list");
    assert_eq!(days.len(), 30);
    let bytes = r#""four""#.len() + "[1,2]".len() + "12345".len();
    let expected =
        json!({"events": 4, "eventBytes": bytes, "deliveries": 7 + 3 + 2 + 4, "connectionsOpened": 2});
    assert_eq!(told["total"], expected);
    let peak: i64 = days.iter().filter_map(|day| day["peakConnections"].as_i64()).max().expect("days");
    assert_eq!(peak, 2, "one on each of two nodes");
    assert_eq!(days[0]["events"], 0);

    // What is open counts for the day on which it is open, and what was counted is not counted again.
    drop((socket, source));
    written(&node, &peer).await;
    assert_eq!(usage(&node, "").await["total"], expected);
    assert_eq!(
        usage(&node, "?from=2020-02-28&to=2020-03-01").await["items"].as_array().map(Vec::len),
        Some(3)
    );

    node.send(Method::DELETE, "/admin/v1/projects/demo", &node.admin, &Value::Null).await.expect(204);
    written(&node, &peer).await;
    let left = node.database.run("select count(*) from project_usage").await.expect("an answer");
    assert_eq!(left.trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_days_is_named() {
    let node = Node::start().await;
    for (query, field) in [
        ("?from=yesterday", "from"),
        ("?to=2026-02-30", "to"),
        ("?from=2026-01-02&to=2026-01-01", "from"),
        ("?from=2024-01-01&to=2026-01-01", "from"),
    ] {
        let path = format!("/admin/v1/projects/demo/usage{query}");
        let problem = node.get(&path, &node.admin).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    node.get("/admin/v1/projects/none/usage", &node.admin).await.expect_problem(404, "NOT_FOUND");
}
