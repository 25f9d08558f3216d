//! What RabbitMQ says about the exchanges and queues of a project.

use nuncio_broker::Broker;
use nuncio_devstack::testkit::{TestVhost, vhost};
use nuncio_model::{ProjectName, Secret};
use serde_json::{Value, json};

async fn listed(vhost: &TestVhost, kind: &str, fields: &[&str]) -> Vec<Value> {
    let path = [kind, &vhost.name];
    let all = vhost.management.call(Default::default(), &path, None).await.expect("a list");
    let mut lines: Vec<Value> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| fields.iter().map(|field| (*field, item[*field].clone())).collect::<Value>())
        .filter(|item| item.to_string().contains("nuncio."))
        .collect();
    lines.sort_by_key(Value::to_string);
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_of_a_project() {
    let vhost = vhost().await.expect("a virtual host");
    let link = Broker::new(Secret::new(&vhost.url), "test").connect("x").await.expect("a connection");
    let demo = ProjectName::parse("demo").expect("a good name");
    for _ in 0..2 {
        link.declare_project(&demo).await.expect("making it twice is making it once");
    }
    insta::assert_json_snapshot!(json!({
        "exchanges": listed(&vhost, "exchanges", &["name", "type", "durable", "arguments"]).await,
        "queues": listed(&vhost, "queues", &["name", "type", "durable", "arguments"]).await,
        "bindings": listed(&vhost, "bindings", &["source", "destination", "routing_key"]).await,
    }));
}
