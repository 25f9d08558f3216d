//! API keys: rotated with overlap, bound to networks, and judged whole.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::node::Node;
use crate::sse_kit::Source;

const KEYS: &str = "/admin/v1/projects/shop/keys";
const ORDERS: &str = "/v1/channels/orders/events";

fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("errors").iter();
    errors.map(|error| error["field"].as_str().expect("a field")).collect()
}

#[tokio::test]
async fn a_key_is_rotated_and_both_are_good_for_a_while() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let rights = json!({"subscribe": ["orders"]});
    let body = json!({"label": "web", "rights": rights, "allowedNetworks": ["127.0.0.0/8"]});
    let made = node.post(KEYS, &node.admin, &body).await.expect(201);
    let (id, old) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    // What is open goes on: whoever uses the key has the time to change over.
    let mut stream = Source::open(&node, "/v1/stream?channel=orders", old, "").await;
    stream.expect("nuncio.ready").await;
    let path = format!("{KEYS}/{id}");
    let rotated = node.post(&format!("{path}:rotate"), &node.admin, &json!({"overlapSeconds": 3600})).await;
    assert!(rotated.header("location").starts_with(KEYS), "{}", rotated.header("location"));
    let rotated = rotated.expect(201);
    assert_eq!((&rotated["label"], &rotated["rotatedFrom"]), (&json!("web"), &json!(id)));
    assert_eq!(rotated["rights"]["subscribe"], rights["subscribe"]);
    assert_eq!((&rotated["allowedNetworks"], &rotated["expiresAt"]), (&json!(["127.0.0.0/8"]), &Value::Null));
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    for key in [old, &new] {
        node.get(ORDERS, key).await.expect(200);
    }
    assert!(node.get(&path, &node.admin).await.expect(200)["expiresAt"].is_string());
    let publisher = node
        .key(&nuncio_model::ProjectName::parse("shop").expect("good"), nuncio_model::Rights::everything())
        .await;
    node.post(ORDERS, &publisher, &json!({"data": 1})).await.expect(201);
    assert_eq!(stream.numbers(1).await, [1]);

    node.app.clock.advance(Duration::from_secs(3_600));
    node.get(ORDERS, old).await.expect_problem(401, "UNAUTHENTICATED");
    node.get(ORDERS, &new).await.expect(200);
    node.post(&format!("{path}:rotate"), &node.admin, &json!({})).await.expect_problem(409, "CONFLICT");
}

#[tokio::test]
async fn rotation_makes_no_key_last_longer() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let now = node.app.clock.now();
    let end = (now + TimeDelta::seconds(60)).to_rfc3339();
    let made = node.post(KEYS, &node.admin, &json!({"expiresAt": end})).await.expect(201);
    let path = format!("{KEYS}/{}", made["id"].as_str().expect("an id"));
    // A body may be left out: a day is usual.
    let request = node.request(reqwest::Method::POST, &format!("{path}:rotate"), &node.admin);
    let rotated = crate::node::Answer::of(request.send().await.expect("an answer")).await.expect(201);
    assert_eq!(rotated["expiresAt"], made["expiresAt"]);
    assert_eq!(node.get(&path, &node.admin).await.expect(200)["expiresAt"], made["expiresAt"]);
    let later = (now + TimeDelta::days(400)).to_rfc3339();
    // It has one successor at a time.
    let revoke = async |key: &Value| {
        let path = format!("{KEYS}/{}:revoke", key["id"].as_str().expect("an id"));
        node.post(&path, &node.admin, &json!({})).await.expect(200);
    };
    revoke(&rotated).await;
    let rotated =
        node.post(&format!("{path}:rotate"), &node.admin, &json!({"expiresAt": later})).await.expect(201);
    assert_ne!(rotated["expiresAt"], made["expiresAt"], "where it is asked for");
    let wrong = json!({"overlapSeconds": 2_592_001, "expiresAt": now.to_rfc3339()});
    let problem = node.post(&format!("{path}:rotate"), &node.admin, &wrong).await;
    assert_eq!(fields(&problem.expect_problem(400, "INVALID_REQUEST")), ["overlapSeconds", "expiresAt"]);
    revoke(&rotated).await;
    let now_is_enough =
        node.post(&format!("{path}:rotate"), &node.admin, &json!({"overlapSeconds": 0})).await;
    let secret = now_is_enough.expect(201)["secret"].as_str().expect("a secret").to_owned();
    node.get(ORDERS, made["secret"].as_str().expect("a secret")).await.expect_problem(401, "UNAUTHENTICATED");
    node.get(ORDERS, &secret).await.expect_problem(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_key_is_good_from_its_networks_alone() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let body = json!({"rights": {"subscribe": ["#"]}, "allowedNetworks": ["192.0.2.7", "127.0.0.1/8", "2001:db8::/32"]});
    let made = node.post(KEYS, &node.admin, &body).await.expect(201);
    assert_eq!(made["allowedNetworks"], json!(["192.0.2.7/32", "127.0.0.0/8", "2001:db8::/32"]));
    let key = made["secret"].as_str().expect("a secret");
    let path = format!("{KEYS}/{}", made["id"].as_str().expect("an id"));
    let mut stream = Source::open(&node, "/v1/stream?channel=orders", key, "").await;
    stream.expect("nuncio.ready").await;
    node.change(&path, "*", &json!({"allowedNetworks": ["192.0.2.0/24"]})).await.expect(200);
    let goaway = stream.expect("nuncio.goaway").await;
    assert_eq!(goaway["reason"], "ADDRESS_REFUSED", "{goaway}");
    let refused = node.get(ORDERS, key).await.expect_problem(401, "UNAUTHENTICATED");
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("127.0.0.1")), "{refused}");
    for networks in [json!([]), json!(null)] {
        node.change(&path, "*", &json!({"allowedNetworks": networks})).await.expect(200);
        node.get(ORDERS, key).await.expect(200);
        node.change(&path, "*", &json!({"allowedNetworks": ["192.0.2.0/24"]})).await.expect(200);
    }
}

#[tokio::test]
async fn every_wrong_field_of_a_key_is_named() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let body = json!({
        "label": "x".repeat(201),
        "rights": {
            "subscribe": ["a", "a..b", "b", ""], "publish": vec!["a"; 201],
            "consume": ["*", "", "n".repeat(201), "a\0"],
        },
        "expiresAt": node.app.clock.now().to_rfc3339(),
        "allowedNetworks": ["10.0.0.0/33", "10.0.0.0/8", "everywhere"],
    });
    let all = [
        "label",
        "rights.subscribe[1]",
        "rights.subscribe[3]",
        "rights.publish",
        "rights.consume[1]",
        "rights.consume[2]",
        "rights.consume[3]",
        "expiresAt",
        "allowedNetworks[0]",
        "allowedNetworks[2]",
    ];
    let problem = node.post(KEYS, &node.admin, &body).await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(fields(&problem), all);
    let many = json!({"allowedNetworks": vec!["10.0.0.0/8"; 101]});
    let problem = node.post(KEYS, &node.admin, &many).await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(fields(&problem), ["allowedNetworks"]);
    // Of a wrong type, or unknown: the same by PATCH.
    let made = node.post(KEYS, &node.admin, &json!({})).await.expect(201);
    let path = format!("{KEYS}/{}", made["id"].as_str().expect("an id"));
    let changes =
        json!({"label": 7, "rights": {"publish": ["a", 1], "fly": []}, "expiresAt": "soon", "prefix": "x"});
    let problem = node.change(&path, "*", &changes).await.expect_problem(400, "INVALID_REQUEST");
    let mut found = fields(&problem);
    found.sort_unstable();
    assert_eq!(found, ["expiresAt", "label", "prefix", "rights.fly", "rights.publish[1]"]);
    // An end that has passed stays, unless it is changed.
    let end = (node.app.clock.now() + TimeDelta::seconds(1)).to_rfc3339();
    node.change(&path, "*", &json!({"expiresAt": end})).await.expect(200);
    node.app.clock.advance(Duration::from_secs(2));
    node.change(&path, "*", &json!({"label": "old"})).await.expect(200);
}
