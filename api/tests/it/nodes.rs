//! The list of nodes.

use nuncio_store::{NodeCard, NodeState};
use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};
use crate::node::SOON;

async fn nodes(node: &Node) -> Vec<Value> {
    let listed = node.get("/admin/v1/nodes", &node.admin).await.expect(200);
    listed["items"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_listed_while_they_live_and_for_a_day_after() {
    let node = Node::start().await;
    let peer = node.beside().await;
    let _client = Client::ready(&peer.site.address, &node.key).await;
    let (id, host) = ("worker-x".to_owned(), "there".to_owned());
    let card = NodeCard { id, role: "worker", version: "0.0.9", host, listen: None };
    let state = NodeState { projects: vec![node.project.id], paused: true, ..NodeState::default() };
    let store = &node.app.store;
    store.heartbeat_node(&card, &state).await.expect("noted");

    // The next heartbeat tells of the connection.
    let counted = async {
        loop {
            let listed = nodes(&node).await;
            let there = listed.iter().find(|item| item["listen"] == peer.site.address.as_str());
            if there.is_some_and(|item| item["connections"] == 1) {
                return listed;
            }
            tokio::task::yield_now().await;
        }
    };
    let listed = tokio::time::timeout(SOON, counted).await.expect("a heartbeat in time");
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|item| item["state"] == "live"), "{listed:?}");
    let worker = listed.iter().find(|item| item["id"] == "worker-x").expect("it is there");
    let told = (&worker["role"], &worker["projects"], &worker["paused"], &worker["listen"], &worker["host"]);
    assert_eq!(told, (&json!("worker"), &json!(["demo"]), &json!(true), &Value::Null, &json!("there")));

    store.retire_node("worker-x").await.expect("noted");
    let gone = |listed: &[Value]| -> Vec<String> {
        let gone = listed.iter().filter(|item| item["state"] == "gone");
        gone.map(|item| item["id"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(gone(&nodes(&node).await), ["worker-x"]);
    // One that says no goodbye is gone when its heartbeat is old, and forgotten after a day.
    for (age, left) in [("7 seconds", 3), ("25 hours", 2)] {
        let sql = format!("update nodes set heartbeat_at = now() - interval '{age}' where id = 'worker-x'");
        node.database.run(&sql).await.expect("time passes");
        store
            .heartbeat_node(&NodeCard { id: "worker-y".to_owned(), ..card.clone() }, &state)
            .await
            .expect("noted");
        assert_eq!(nodes(&node).await.len(), left + 1, "{age}");
    }
    let page = node.get("/admin/v1/nodes?limit=2", &node.admin).await.expect(200);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    let token = page["nextPageToken"].as_str().expect("there is a next page");
    let rest = node.get(&format!("/admin/v1/nodes?pageToken={token}"), &node.admin).await.expect(200);
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["nextPageToken"]), (Some(1), &Value::Null));
}
