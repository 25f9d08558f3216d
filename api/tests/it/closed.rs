//! A project whose settings cannot be read: nothing is done in it, and everything in all others.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::graphql_kit::{Client, Node};
use crate::node::SOON;
use crate::sse_kit::Source;

const EVENTS: &str = "subscription { events(channel: \"a\") { data } }";

/// One row that could not be read once stopped the delivery of all projects.
#[tokio::test]
async fn what_cannot_be_read_closes_one_project_and_no_other() {
    let node = Node::start().await;
    let other = node.tenant("other").await;
    let settings = tokio::spawn(node.app.directory.clone().run(node.app.drain.clone()));
    let token = node.token(&["a"], Duration::from_secs(3_600));
    let mut socket = node.ready().await;
    socket.subscribe("1", EVENTS).await;
    let mut stays = Client::ready(&node.address, &other.key).await;
    stays.subscribe("1", EVENTS).await;
    let mut stream = Source::open(&node, "/v1/stream?channel=a", &node.key, "").await;
    stream.expect("nuncio.ready").await;
    node.until_listeners("a", 2).await;
    node.until_listeners_in(&other, "a", 1).await;

    let id = node.project.id.0;
    let breaks = format!(
        "with bumped as (update settings_version set version = version + 1)
         insert into revocations (project_id, kind, action, pattern, issued_before, reason)
         values ({id}, 'right', 'subscribe', 'a..b', now(), '')"
    );
    node.database.run(&breaks).await.expect("the database answers");
    let (code, text) = socket.close().await;
    assert!(code == 1013 && text.starts_with("PROJECT_CLOSED: "), "{code} {text}");
    assert!(stream.expect("nuncio.goaway").await.to_string().contains("PROJECT_CLOSED"));
    for credentials in [&node.key, &token] {
        let problem = node.get("/v1/channels/a/events", credentials).await.expect_problem(503, "UNAVAILABLE");
        assert_eq!(problem["reason"], "PROJECT_CLOSED");
    }
    let publish = node.send(Method::POST, "/v1/channels/a/events", &node.key, &json!({"data": 1})).await;
    publish.expect_problem(503, "UNAVAILABLE");
    let admin = node.get("/admin/v1/projects/demo/namespaces", &node.admin).await;
    let problem = admin.expect_problem(503, "UNAVAILABLE");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("revocation ")), "{problem}");
    node.get("/v1/channels/a/events", "nk_00000000_strange").await.expect_problem(401, "UNAUTHENTICATED");
    // The others go on, and it is no longer looked at as something that nobody has confirmed.
    let published = node.send(Method::POST, "/v1/channels/a/events", &other.key, &json!({"data": 2})).await;
    published.expect(201);
    assert_eq!(stays.event().await.1, json!({"events": {"data": 2}}));
    assert!(!node.app.is_paused());

    // Mended by hand: nothing tells the node.
    let mends = format!("delete from revocations where project_id = {id}");
    node.database.run(&mends).await.expect("the database answers");
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let open = async {
        while node.app.directory.snapshot().project_by_id(node.project.id).is_none() {
            looks.tick().await;
        }
    };
    timeout(SOON, open).await.expect("in time");
    node.get("/v1/channels/a/events", &node.key).await.expect(200);
    settings.abort();
}
