//! `refreshToken`: a connection goes on with a new token before the old one expires.

use std::time::Duration;

use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};
use crate::node::ORIGIN;
use crate::revocation::{revoke, token};
use crate::streams_kit::{self, numbers_of};

fn refresh(token: &str) -> String {
    format!("mutation {{ refreshToken(token: \"{token}\") }}")
}

fn events(channel: &str) -> String {
    format!("subscription {{ events(channel: \"{channel}\") {{ data }} }}")
}

/// A token that may read these, and expires after so many seconds.
fn reading(node: &Node, patterns: &[&str], seconds: i64) -> String {
    let now = node.app.clock.now();
    token(now, json!({"exp": now.timestamp() + seconds, "nuncio": {"subscribe": patterns}}))
}

/// The answer to a mutation, and that it is complete.
async fn answered(client: &mut Client, id: &str) -> Value {
    let message = client.message().await;
    assert_eq!((&message["type"], &message["id"]), (&json!("next"), &json!(id)), "{message}");
    assert_eq!(client.message().await, json!({"type": "complete", "id": id}));
    message["payload"]["data"].clone()
}

#[tokio::test]
async fn a_connection_goes_on_with_the_rights_and_to_the_end_of_the_new_token() {
    let node = Node::start().await;
    let first = reading(&node, &["a", "b"], 2);
    let mut client = Client::ready(&node.address, &first).await;
    let mut stale = Client::ready(&node.address, &first).await;
    client.subscribe("1", &events("a")).await;
    client.subscribe("2", &events("b")).await;
    stale.subscribe("1", &events("a")).await;
    node.until_listeners("a", 2).await;
    node.until_listeners("b", 1).await;
    client.subscribe("r", &refresh(&reading(&node, &["b", "c"], 3_600))).await;
    assert_eq!(client.error_code("1").await, json!("FORBIDDEN"));
    assert_eq!(answered(&mut client, "r").await, json!({"refreshToken": true}));
    client.subscribe("3", &events("c")).await;
    node.until_listeners("c", 1).await;
    // Whoever did not is closed at the end of the first token. It connected last: the end of the other's has come by then.
    let (code, text) = stale.close().await;
    assert!(code == 4403 && text.starts_with("TOKEN_EXPIRED"), "{text}");
    client.settle().await;
    node.publish("b", &["1".to_owned()]).await;
    assert_eq!(client.event().await.0, "2");
    client.subscribe("r", &refresh(&reading(&node, &["c"], 3))).await;
    assert_eq!(client.error_code("2").await, json!("FORBIDDEN"));
    assert_eq!(client.close_code().await, 4403, "a token may also end sooner than the one before");
}

#[tokio::test]
async fn a_token_that_is_not_good_or_of_somebody_else_changes_nothing() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let now = node.app.clock.now();
    let mut client = Client::ready(&node.address, &token(now, json!({}))).await;
    client.subscribe("1", &events("a")).await;
    node.until_listeners("a", 1).await;
    revoke(&node, &node.admin, json!({"kind": "jti", "jti": "gone"})).await;
    let forged = node.token_of("ada", &["#"], Duration::from_secs(60));
    for (bad, code) in [
        (token(now, json!({"sub": "bob"})), "FORBIDDEN"),
        (node.key.clone(), "FORBIDDEN"),
        (tenant.key, "FORBIDDEN"),
        (token(now, json!({"exp": now.timestamp() - 60})), "UNAUTHENTICATED"),
        (token(now, json!({"jti": "gone"})), "UNAUTHENTICATED"),
        (format!("{forged}x"), "UNAUTHENTICATED"),
        ("nonsense".to_owned(), "UNAUTHENTICATED"),
    ] {
        client.subscribe("r", &refresh(&bad)).await;
        assert_eq!(client.error_code("r").await, json!(code), "{bad}");
    }
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(client.event().await.0, "1");
    // A connection of a key has no token to refresh.
    let mut keyed = node.ready().await;
    keyed.subscribe("r", &refresh(&token(now, json!({})))).await;
    assert_eq!(keyed.error_code("r").await, json!("FORBIDDEN"));
}

#[tokio::test]
async fn a_page_whose_origin_was_taken_away_gets_no_further() {
    let node = Node::start().await;
    let now = node.app.clock.now();
    let mut page = node.connect_with("graphql-transport-ws", &[("origin", ORIGIN)]).await;
    page.init(&token(now, json!({}))).await;
    page.subscribe("r", &refresh(&token(now, json!({})))).await;
    assert_eq!(answered(&mut page, "r").await, json!({"refreshToken": true}));
    let change = json!({"allowedOrigins": []});
    node.send(reqwest::Method::PATCH, "/admin/v1/projects/demo", &node.admin, &change).await.expect(200);
    page.subscribe("r", &refresh(&token(now, json!({})))).await;
    assert_eq!(page.error_code("r").await, json!("FORBIDDEN"));
}

#[tokio::test]
async fn the_legacy_subprotocol_has_it_too_and_plain_http_says_what_to_do() {
    let node = Node::start().await;
    let mut client = node.connect_with("graphql-ws", &[]).await;
    let first = reading(&node, &["a"], 2);
    let init = json!({"type": "connection_init", "payload": {"token": first}});
    client.send(init.to_string()).await;
    assert_eq!(client.message().await["type"], "connection_ack");
    assert_eq!(client.message().await["type"], "ka");
    let mut stale = Client::ready(&node.address, &first).await;
    let start =
        |id: &str, query: String| json!({"id": id, "type": "start", "payload": {"query": query}}).to_string();
    client.send(start("1", events("a"))).await;
    node.until_listeners("a", 1).await;
    client.send(start("r", refresh(&reading(&node, &["a"], 3_600)))).await;
    let data = json!({"id": "r", "type": "data", "payload": {"data": {"refreshToken": true}}});
    assert_eq!(client.message().await, data);
    assert_eq!(client.message().await, json!({"id": "r", "type": "complete"}));
    assert_eq!(stale.close_code().await, 4403, "the end of the first token has come");
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(client.message().await["id"], "1");
    let answer = node.execute(&refresh(&reading(&node, &["a"], 60))).await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "INVALID_REQUEST", "{answer}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("WebSocket")), "{answer}");
}

/// Requests for the stream carry the new token, whose rights may be others.
#[tokio::test]
async fn a_stream_of_many_operations_goes_on_with_a_new_token() {
    let node = Node::start().await;
    let (old, new) = (reading(&node, &["a", "b"], 6), reading(&node, &["b", "c"], 3_600));
    let client = streams_kit::Client::reserve(&node, &old).await;
    let mut stream = client.open().await;
    let mut stale = streams_kit::Client::reserve(&node, &old).await.open().await;
    client.start("1", &numbers_of("a")).await;
    client.start("2", &numbers_of("b")).await;
    node.until_listeners("a", 1).await;
    node.until_listeners("b", 1).await;
    client.start("r", &json!({ "query": refresh(&new) })).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = stream.next().await.expect("the stream goes on");
        seen.push((event.name, event.data["id"].as_str().expect("an id").to_owned()));
    }
    seen.sort();
    let expected = [("complete", "1"), ("complete", "r"), ("next", "1"), ("next", "r")];
    assert_eq!(seen, expected.map(|(name, id)| (name.to_owned(), id.to_owned())));
    let renewed = streams_kit::Client { site: client.site, key: &new, token: client.token.clone() };
    renewed.start("3", &numbers_of("c")).await;
    assert_eq!(
        client.post("4", &numbers_of("a")).await.status,
        404,
        "the old token is not the stream's any more"
    );
    node.until_listeners("c", 1).await;
    assert_eq!(stale.next().await, None, "a stream of the old token ends with it");
    node.publish("b", &["1".to_owned()]).await;
    assert_eq!(stream.numbers_by_id(1).await, [("2".to_owned(), 1)]);
}
