//! The bodies of errors, which clients rely on.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::{Answer, Node, SOON};

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

/// Sends the head of a request to publish, and its body if the node goes on; all that it answers, to the end if it closes.
async fn exchange(node: &Node, credentials: &str, framing: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(&node.address).await.expect("a connection");
    let head = format!(
        "POST /v1/channels/a/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {credentials}\r\n{framing}\r\n\r\n"
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4_096];
    let read = timeout(SOON, socket.read(&mut answer)).await.expect("in time").expect("an answer");
    answer.truncate(read);
    let mut rest = Vec::new();
    if body.is_empty() {
        timeout(SOON, socket.read_to_end(&mut rest)).await.expect("the node closes").expect("orderly");
    }
    String::from_utf8([answer, rest].concat()).expect("a text").to_lowercase()
}

/// A refusal that came before the body was read closed the connection without a word, and the next request of a client
/// that keeps its connections was lost in it.
#[tokio::test]
async fn an_answer_after_which_the_connection_closes_says_so() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    for framing in ["content-length: 11", "transfer-encoding: chunked"] {
        let refused = exchange(&node, "nonsense", framing, "").await;
        assert!(refused.starts_with("http/1.1 401") && refused.contains("connection: close"), "{refused}");
    }
    for (framing, body) in [
        ("content-length: 10", "{\"data\":1}"),
        ("transfer-encoding: chunked", "a\r\n{\"data\":1}\r\n0\r\n\r\n"),
    ] {
        let stored = exchange(&node, &tenant.key, framing, body).await;
        assert!(stored.starts_with("http/1.1 201") && !stored.contains("connection: close"), "{stored}");
    }
}
