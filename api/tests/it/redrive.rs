//! Ingest dead letters that are published again, with a real RabbitMQ.

use nuncio_broker::{Broker, Link, Names, Properties};
use nuncio_devstack::testkit::vhost;
use nuncio_model::Secret;
use nuncio_store::NewDeadLetter;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{Node, SOON, Setup, Tenant};

const LETTERS: &str = "/admin/v1/projects/shop/dead-letters";
const REDRIVE: &str = "/admin/v1/projects/shop/dead-letters:redrive";

/// Keeps messages with these routing keys and gives their ids.
pub(crate) async fn keep(node: &Node, tenant: &Tenant, keys: &[&str], properties: &Value) -> Vec<String> {
    let letter = |key: &&str| NewDeadLetter {
        reason: "bad_event",
        detail: "why".to_owned(),
        routing_key: (*key).to_owned(),
        exchange: "nuncio.shop".to_owned(),
        properties: properties.clone(),
        body: b"\xff\x00{".as_slice().into(),
    };
    let letters = keys.iter().map(letter).collect();
    node.app.store.add_dead_letters(node.project(&tenant.name).id, letters).await.expect("kept");
    let list = node.get(LETTERS, &node.admin).await.expect(200);
    let items = list["items"].as_array().expect("a list").clone();
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

/// The next messages of the ingest queue: key, properties and body.
async fn queued(link: &Link, names: &Names, count: usize) -> Vec<(String, Properties, Vec<u8>)> {
    let mut consumer = link.consume(&names.ingest, 10).await.expect("a consumer");
    let mut messages = Vec::new();
    while messages.len() < count {
        let message = timeout(SOON, consumer.next()).await.expect("in time").expect("a message");
        link.ack_through(message.tag).await.expect("acknowledged");
        messages.push((message.routing_key, message.properties, message.body.to_vec()));
    }
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_back_to_the_queue_as_they_were_and_leave_the_list() {
    let vhost = vhost().await.expect("a virtual host");
    let broker = Broker::new(Secret::new(&vhost.url), "test");
    let node = Node::build(Setup { broker: Some(broker.clone()), ..Setup::default() }).await;
    let tenant = node.tenant("shop").await;
    let link = broker.connect("test").await.expect("a connection");
    let properties = json!({
        "messageId": "m-1", "type": "made", "timestamp": 7, "userId": "somebody",
        "headers": {"ce-id": "1", "n": 5, "x-delivery-count": 3},
    });
    let ids = keep(&node, &tenant, &["orders.eu", "a..b"], &properties).await;

    // Before the worker has made the exchange, nothing is published and nothing is lost.
    let away = node.post(REDRIVE, &node.admin, &json!({ "ids": ids })).await;
    assert_eq!(away.expect_problem(503, "UNAVAILABLE")["results"].as_array().map(Vec::len), Some(2));

    let names = link.declare_project(&tenant.name).await.expect("a topology");
    let wanted = json!({ "ids": [ids[0], "999", "x"] });
    let answer = node.post(REDRIVE, &node.admin, &wanted).await.expect(200);
    let result = |n: usize| (answer["results"][n]["ok"].clone(), answer["results"][n]["code"].clone());
    assert_eq!(result(0), (json!(true), Value::Null));
    assert_eq!(
        (result(1), result(2)),
        ((json!(false), json!("NOT_FOUND")), (json!(false), json!("NOT_FOUND")))
    );
    let mended =
        json!({"ids": [ids[1]], "routingKey": "orders.us", "properties": {"messageId": "m-2"}, "body": "{}"});
    node.post(REDRIVE, &node.admin, &mended).await.expect(200);

    let messages = queued(&link, &names, 2).await;
    let (key, kept, body) = &messages[0];
    assert_eq!((key.as_str(), body.as_slice()), ("orders.eu", b"\xff\x00{".as_slice()));
    let expected = json!({
        "messageId": "m-1", "type": "made", "timestamp": 7, "headers": {"ce-id": "1", "n": 5},
    });
    assert_eq!(kept.to_json(), expected);
    let (key, kept, body) = &messages[1];
    assert_eq!(
        (key.as_str(), kept.to_json(), body.as_slice()),
        ("orders.us", json!({"messageId": "m-2"}), b"{}".as_slice())
    );
    assert_eq!(node.get(LETTERS, &node.admin).await.expect(200)["items"], json!([]));
    node.post(REDRIVE, &node.admin, &json!({ "ids": ids })).await.expect_problem(409, "CONFLICT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_match_a_filter_are_published_again_oldest_first() {
    let vhost = vhost().await.expect("a virtual host");
    let broker = Broker::new(Secret::new(&vhost.url), "test");
    let node = Node::build(Setup { broker: Some(broker.clone()), ..Setup::default() }).await;
    let tenant = node.tenant("shop").await;
    let link = broker.connect("test").await.expect("a connection");
    let names = link.declare_project(&tenant.name).await.expect("a topology");
    keep(&node, &tenant, &["orders.1", "stock.1", "orders.2", "orders.3"], &json!({})).await;
    let wanted = json!({"filter": {"reason": "bad_event", "routingKey": "orders.", "limit": 2}});
    let answer = node.post(REDRIVE, &node.admin, &wanted).await.expect(200);
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(2));
    let messages = queued(&link, &names, 2).await;
    assert_eq!(messages.iter().map(|(key, ..)| key.as_str()).collect::<Vec<_>>(), ["orders.1", "orders.2"]);
    let left = node.get(LETTERS, &node.admin).await.expect(200);
    let left: Vec<_> =
        left["items"].as_array().expect("a list").iter().map(|i| i["routingKey"].clone()).collect();
    assert_eq!(left, ["stock.1", "orders.3"]);
    let none = json!({"filter": {"reason": "too_large"}});
    assert_eq!(node.post(REDRIVE, &node.admin, &none).await.expect(200), json!({"results": []}));
}

#[tokio::test]
async fn what_cannot_be_published_again_is_said_clearly() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let ids = keep(&node, &tenant, &["orders.eu", "orders.us"], &json!({})).await;
    let problem =
        node.post(REDRIVE, &node.admin, &json!({ "ids": ids })).await.expect_problem(503, "UNAVAILABLE");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("AMQP_URL")), "{problem}");
    for (wanted, field) in [
        (json!({"ids": []}), "ids"),
        (json!({"ids": vec!["1"; 201]}), "ids"),
        (json!({"ids": ids, "body": "{}"}), "body"),
        (json!({"ids": [ids[0]], "routingKey": "a..b"}), "routingKey"),
        (json!({"ids": ids, "reasons": ["bad_event"]}), "reasons"),
        (json!({"ids": ids, "filter": {}}), "filter"),
        (json!({"filter": {"limit": 1_001}}), "filter.limit"),
        (json!({"filter": []}), "filter"),
        (json!({"filter": ["bad_event"]}), "filter"),
        (json!({"filter": {}, "bodyBase64": ""}), "bodyBase64"),
        (json!({"ids": [ids[0]], "bodyBase64": "%"}), "bodyBase64"),
    ] {
        let problem = node.post(REDRIVE, &node.admin, &wanted).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    assert_eq!(node.get(LETTERS, &node.admin).await.expect(200)["items"].as_array().map(Vec::len), Some(2));
}
