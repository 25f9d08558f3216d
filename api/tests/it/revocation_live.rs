//! What is open when something is revoked: what has lost its right ends and says so, and nothing else does.

use std::time::Duration;

use nuncio_model::Rights;
use nuncio_model::rights::RightsText;
use nuncio_store::NewApiKey;
use reqwest::Method;
use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};
use crate::revocation::{revoke, token};
use crate::sse_kit::Source;
use crate::streams_kit::{self, Events, ask, code, numbers_of};

fn events(channel: &str) -> String {
    format!("subscription {{ events(channel: \"{channel}\") {{ data }} }}")
}

/// What nobody shares.
fn events_alone(channel: &str) -> String {
    format!("subscription {{ events(channel: \"{channel}\") {{ data @skip(if: false) }} }}")
}

fn reading(patterns: &[&str]) -> RightsText {
    let subscribe = patterns.iter().map(|text| (*text).to_owned()).collect();
    RightsText { subscribe, ..RightsText::default() }
}

impl Node {
    /// Gives a key other rights, through the admin API.
    async fn narrow(&self, key: &str, rights: &RightsText) {
        let path = self.path_of(key).await;
        self.send(Method::PATCH, &path, &self.admin, &json!({ "rights": rights })).await.expect(200);
    }

    /// Revokes a key, through the admin API.
    async fn end(&self, key: &str) {
        let path = format!("{}:revoke", self.path_of(key).await);
        self.send(Method::POST, &path, &self.admin, &json!({})).await.expect(200);
    }

    async fn path_of(&self, key: &str) -> String {
        let keys = self.app.store.list_api_keys(self.project.id, 0, 100).await.expect("the keys");
        let id = keys.iter().find(|known| key.starts_with(&known.prefix)).expect("the key").id;
        format!("/admin/v1/projects/demo/keys/{id}")
    }
}

/// A narrowed key closed its whole connection, and so did one that had become wider.
#[tokio::test]
async fn operations_that_lose_their_right_end_and_the_others_go_on() {
    let node = Node::start().await;
    let key = node.key(&node.project.name, reading(&["orders.#", "stock"])).await;
    let mut client = Client::ready(&node.address, &key).await;
    for (id, query) in [
        ("shared", events("orders.#")),
        ("alone", events_alone("orders.eu")),
        ("stays", events("stock")),
        ("stays alone", events_alone("stock")),
    ] {
        client.subscribe(id, &query).await;
    }
    node.until_listeners("orders.eu", 2).await;
    node.until_listeners("stock", 2).await;
    // Wider: nothing ends.
    node.narrow(&key, &reading(&["orders.#", "stock", "other"])).await;
    client.settle().await;
    client.subscribe("wider", &events("other")).await;
    node.until_listeners("other", 1).await;

    node.narrow(&key, &reading(&["stock", "orders.us"])).await;
    let mut ended = Vec::new();
    for _ in 0..3 {
        let message = client.message().await;
        assert_eq!(message["type"], "error", "{message}");
        let error = &message["payload"][0];
        assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{message}");
        let id = message["id"].as_str().expect("an id").to_owned();
        ended.push((id, error["message"].as_str().expect("a text").to_owned()));
    }
    ended.sort();
    let told = |id: &str, pattern| (id.to_owned(), format!("the right to read {pattern} was taken away"));
    assert_eq!(ended, [told("alone", "orders.eu"), told("shared", "orders.#"), told("wider", "other")]);
    node.until_listeners("orders.eu", 0).await;
    node.publish("orders.eu", &["1".to_owned()]).await;
    node.publish("stock", &["2".to_owned()]).await;
    let mut seen = [client.event().await, client.event().await];
    seen.sort_by_key(|(id, _)| id.clone());
    let two = json!({"events": {"data": 2}});
    assert_eq!(seen, [("stays".to_owned(), two.clone()), ("stays alone".to_owned(), two)]);
    // What is started later has the rights of now, and the ids are free again.
    client.subscribe("shared", &events("orders.#")).await;
    assert_eq!(client.error_code("shared").await, json!("FORBIDDEN"));
    client.subscribe("alone", &events("orders.us")).await;
    node.until_listeners("orders.us", 1).await;
}

#[tokio::test]
async fn a_right_is_taken_from_tokens_while_they_are_in_use() {
    let node = Node::start().await;
    let now = node.app.clock.now();
    let (ada, bob) = (token(now, json!({})), token(now, json!({"sub": "bob"})));
    let mut clients = Vec::new();
    for credentials in [&ada, &bob, &node.key] {
        let mut client = Client::ready(&node.address, credentials).await;
        client.subscribe("1", &events("orders.eu")).await;
        client.subscribe("2", &events("stock")).await;
        clients.push(client);
    }
    node.until_listeners("orders.eu", 3).await;
    node.until_listeners("stock", 3).await;
    let right = json!({"kind": "right", "action": "subscribe", "pattern": "orders.*", "subject": "ada"});
    let path = revoke(&node, &node.admin, right).await;
    assert_eq!(clients[0].error_code("1").await, json!("FORBIDDEN"));
    node.until_listeners("orders.eu", 2).await;
    node.publish("orders.eu", &["1".to_owned()]).await;
    for client in &mut clients[1..] {
        assert_eq!(client.event().await.0, "1");
    }
    node.publish("stock", &["2".to_owned()]).await;
    for client in &mut clients {
        assert_eq!(client.event().await.0, "2");
    }
    clients[0].subscribe("1", &events("orders.eu")).await;
    assert_eq!(clients[0].error_code("1").await, json!("FORBIDDEN"));
    // Taken back, it is there again for what is started from then on.
    node.send(Method::DELETE, &path, &node.admin, &Value::Null).await.expect(204);
    clients[0].settle().await;
    clients[0].subscribe("1", &events("orders.eu")).await;
    node.until_listeners("orders.eu", 3).await;
}

/// A stock client comes back from 4403 with new credentials; an `error` before it would be final to it.
#[tokio::test]
async fn credentials_that_are_over_close_their_connection_and_say_why() {
    let node = Node::start().await;
    let now = node.app.clock.now();
    let key = node.another_key().await;
    let ending = node.another_key().await;
    let of = |claims| token(now, claims);
    let cases = [
        (key.clone(), "KEY_REVOKED"),
        (ending.clone(), "KEY_EXPIRED"),
        (of(json!({"jti": "t"})), "TOKEN_REVOKED"),
        (of(json!({"sub": "eve"})), "SUBJECT_REVOKED"),
        (of(json!({"exp": now.timestamp() + 3})), "TOKEN_EXPIRED"),
    ];
    let mut clients = Vec::new();
    for (credentials, reason) in cases {
        let mut client = Client::ready(&node.address, &credentials).await;
        client.subscribe("1", &events("a")).await;
        clients.push((client, reason));
    }
    let mut stays = node.ready().await;
    stays.subscribe("1", &events("a")).await;
    node.until_listeners("a", 6).await;
    node.end(&key).await;
    let end = nuncio_model::cloudevents::write_time(node.app.clock.now() + Duration::from_millis(1_500));
    let path = node.path_of(&ending).await;
    node.send(Method::PATCH, &path, &node.admin, &json!({ "expiresAt": end })).await.expect(200);
    revoke(&node, &node.admin, json!({"kind": "jti", "jti": "t"})).await;
    revoke(&node, &node.admin, json!({"kind": "subject", "subject": "eve"})).await;
    for (mut client, reason) in clients {
        let (code, text) = client.close().await;
        assert!(code == 4403 && text.starts_with(&format!("{reason}: ")), "{code} {text}");
    }
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stays.event().await.0, "1");
    node.app.store.delete_project(node.project.id, None).await.expect("deleted");
    node.refresh().await;
    let (code, text) = stays.close().await;
    assert!(code == 4403 && text.starts_with("PROJECT_DELETED: "), "{code} {text}");
}

#[tokio::test]
async fn event_streams_end_with_the_reason_and_polls_are_refused() {
    let node = Node::start().await;
    let now = node.app.clock.now();
    let key = node.another_key().await;
    let narrowed = node.another_key().await;
    let cases = [
        (key.clone(), "KEY_REVOKED"),
        (narrowed.clone(), "RIGHT_REVOKED"),
        (token(now, json!({"jti": "t"})), "TOKEN_REVOKED"),
        (token(now, json!({"sub": "eve"})), "SUBJECT_REVOKED"),
    ];
    let mut sources = Vec::new();
    for (credentials, reason) in cases {
        let mut source = Source::open(&node, "/v1/stream?channel=a&channel=b", &credentials, "").await;
        source.expect("nuncio.ready").await;
        sources.push((source, reason));
    }
    let mut stays = Source::open(&node, "/v1/stream?channel=a", &node.key, "").await;
    stays.expect("nuncio.ready").await;
    let poll = async { node.get("/v1/channels/b/events?wait=60", &narrowed).await };
    let change = async {
        node.until_listeners("b", 5).await;
        node.narrow(&narrowed, &reading(&["a"])).await;
        node.end(&key).await;
        revoke(&node, &node.admin, json!({"kind": "jti", "jti": "t"})).await;
        revoke(&node, &node.admin, json!({"kind": "subject", "subject": "eve"})).await;
    };
    let (polled, ()) = tokio::join!(poll, change);
    polled.expect_problem(403, "FORBIDDEN");
    for (mut source, reason) in sources {
        assert_eq!(source.expect("nuncio.goaway").await["reason"], reason);
        assert_eq!(source.next().await, None);
    }
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(stays.numbers(1).await, [1]);
}

#[tokio::test]
async fn streams_of_graphql_end_or_go_on_operation_by_operation() {
    let node = Node::start().await;
    let key = node.another_key().await;
    let mut distinct = Events::of(ask(&node, Method::POST, &key).json(&numbers_of("a"))).await;
    let client = streams_kit::Client::reserve(&node, &key).await;
    let mut single = client.open().await;
    client.start("1", &numbers_of("a")).await;
    client.start("2", &numbers_of("b")).await;
    node.until_listeners("a", 2).await;
    node.until_listeners("b", 1).await;
    node.narrow(&key, &reading(&["b"])).await;
    assert_eq!(distinct.refusal().await, json!("FORBIDDEN"));
    let told = single.expect("next").await;
    let expected = (&json!("1"), &json!("FORBIDDEN"));
    assert_eq!((&told["id"], &told["payload"]["errors"][0]["extensions"]["code"]), expected, "{told}");
    assert_eq!(single.expect("complete").await["id"], "1");
    node.publish("b", &["1".to_owned()]).await;
    assert_eq!(single.numbers_by_id(1).await, [("2".to_owned(), 1)]);
    // The stream is still that of its key, whatever the key may do now.
    assert_eq!(code(&client.post("1", &numbers_of("a")).await).1, json!("FORBIDDEN"));
    client.start("3", &numbers_of("b")).await;
    node.until_listeners("b", 2).await;
}

/// "No subscriber is dropped by a change that does not concern it."
#[tokio::test]
async fn changes_that_concern_others_disturb_nobody() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    client.subscribe("1", &events("a")).await;
    let mut source = Source::open(&node, "/v1/stream?channel=a", &node.key, "").await;
    source.expect("nuncio.ready").await;
    node.until_listeners("a", 2).await;
    let tenant = node.tenant("shop").await;
    let settings = json!({"retentionSeconds": 3_600, "allowedOrigins": ["https://else.example"]});
    let _ = node.send(Method::PATCH, "/admin/v1/projects/shop", &node.admin, &settings).await;
    let new = NewApiKey { rights: Rights::everything(), ..NewApiKey::default() };
    node.app.store.create_api_key(node.project.id, &new).await.expect("a key");
    node.refresh().await;
    node.revoke(&node.another_key().await).await;
    revoke(&node, &node.admin, json!({"kind": "subject", "subject": "nobody"})).await;
    let shop = node.app.directory.snapshot().project(&tenant.name).expect("it is there").id;
    node.app.store.delete_project(shop, None).await.expect("deleted");
    node.refresh().await;
    client.settle().await;
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(client.event().await.1, json!({"events": {"data": 1}}));
    assert_eq!(source.numbers(1).await, [1]);
}
