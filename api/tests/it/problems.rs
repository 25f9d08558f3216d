//! The bodies of errors, which clients rely on.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::node::{Answer, Node};

fn snapshot(answer: Answer) -> Value {
    let mut problem = answer.json();
    assert!(problem["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{problem}");
    problem["requestId"] = json!("…");
    problem
}

#[tokio::test]
async fn problems_have_one_form() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let key = &tenant.key;
    assert_json_snapshot!("unauthenticated", snapshot(node.get("/v1/stream?channel=a", "").await));
    assert_json_snapshot!("no_such_address", snapshot(node.get("/v1/nothing", key).await));
    assert_json_snapshot!("wrong_method", snapshot(node.get("/v1/events", key).await));
    assert_json_snapshot!(
        "bad_query",
        snapshot(node.get("/v1/channels/a/events?first=0&since=x", key).await)
    );
    assert_json_snapshot!(
        "bad_batch",
        snapshot(node.post("/v1/events", key, &json!([{"channel": "a"}, {"id": 1}])).await)
    );
    let body = json!({"name": "Shop", "defaults": {"maxEventBytes": 0}});
    assert_json_snapshot!("bad_fields", snapshot(node.post("/admin/v1/projects", &node.admin, &body).await));
    let body = json!({"name": "x", "role": "owner"});
    assert_json_snapshot!(
        "unknown_field",
        snapshot(node.post("/admin/v1/projects", &node.admin, &body).await)
    );
}

#[tokio::test]
async fn while_the_database_is_away_clients_are_told_to_come_back() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    node.app.store.close().await;
    let answer = node.post("/v1/channels/a/events", &tenant.key, &json!({})).await;
    assert_eq!(answer.header("retry-after"), "2");
    let problem = answer.expect_problem(503, "UNAVAILABLE").to_string();
    assert!(!problem.contains("sqlx") && !problem.contains("pool"), "{problem}");
    node.get("/v1/channels/a/events", &tenant.key).await.expect_problem(503, "UNAVAILABLE");
}
