//! The legacy subprotocol `graphql-ws` over a real socket: rule by rule of its own document (PROTOCOL.md of
//! subscriptions-transport-ws), and the checks that it shares with `graphql-transport-ws`.

use std::time::Duration;

use nuncio_api::ApiSettings;
use serde_json::{Value, json};

use crate::counts::Counts;
use crate::graphql_kit::{Client, Node};
use crate::node::ORIGIN;
use crate::socket_raw::Raw;

const LEGACY: &str = "graphql-ws";
const EVENTS: &str = "subscription { events(channel: \"a\") { data } }";

async fn connect(node: &Node) -> Client {
    node.connect_with(LEGACY, &[]).await
}

fn init(token: &str) -> String {
    json!({"type": "connection_init", "payload": {"token": token}}).to_string()
}

fn start(id: &str, query: &str) -> String {
    json!({"id": id, "type": "start", "payload": {"query": query}}).to_string()
}

/// A connection that has been acknowledged, with the key that may do everything.
async fn ready(node: &Node) -> Client {
    let mut client = connect(node).await;
    client.send(init(&node.key)).await;
    assert_eq!(client.message().await, json!({"type": "connection_ack"}));
    assert_eq!(client.message().await, json!({"type": "ka"}), "it comes right after the acknowledgement");
    client
}

/// What is said before the close, and the code.
async fn refused(mut client: Client) -> (Value, u16) {
    let said = client.message().await;
    assert_eq!(said["type"], json!("connection_error"), "{said}");
    assert!(said["payload"]["message"].is_string(), "{said}");
    (said["payload"]["message"].clone(), client.close_code().await)
}

#[tokio::test]
async fn an_operation_goes_as_the_document_says() {
    let node = Node::start().await;
    let mut client = ready(&node).await;
    // GQL_START of a query: GQL_DATA, then GQL_COMPLETE.
    client.send(start("q", "{ __typename }")).await;
    let data = json!({"id": "q", "type": "data", "payload": {"data": {"__typename": "Query"}}});
    assert_eq!(client.message().await, data);
    assert_eq!(client.message().await, json!({"id": "q", "type": "complete"}));

    // A mutation.
    client.send(start("m", "mutation { publish(channel: \"other\", event: {data: 1}) { duplicate } }")).await;
    let data = json!({"id": "m", "type": "data", "payload": {"data": {"publish": {"duplicate": false}}}});
    assert_eq!(client.message().await, data);
    assert_eq!(client.message().await, json!({"id": "m", "type": "complete"}));

    // A subscription, executed with others and alone; the bytes of the data are the stored ones.
    client.send(start("shared", EVENTS)).await;
    client.send(start("alone", "subscription { events(channel: \"a\") { data @skip(if: false) } }")).await;
    node.until_listeners("a", 2).await;
    node.publish("a", &["{\"n\":1e400}".to_owned()]).await;
    let mut texts = [client.text().await, client.text().await];
    texts.sort();
    let of = |id| {
        format!(r#"{{"id":"{id}","type":"data","payload":{{"data":{{"events":{{"data":{{"n":1e400}}}}}}}}}}"#)
    };
    assert_eq!(texts, [of("alone"), of("shared")]);

    // GQL_STOP is answered by GQL_COMPLETE; nothing comes after it, and the id is free again.
    for id in ["shared", "alone"] {
        client.send(json!({"id": id, "type": "stop"}).to_string()).await;
        assert_eq!(client.message().await, json!({"id": id, "type": "complete"}));
    }
    node.until_listeners("a", 0).await;
    // One that has ended is not stopped once more.
    client.send(json!({"id": "q", "type": "stop"}).to_string()).await;
    client.send(start("shared", "{ __typename }")).await;
    assert_eq!(client.message().await["id"], json!("shared"));
    assert_eq!(client.message().await, json!({"id": "shared", "type": "complete"}));

    // GQL_CONNECTION_TERMINATE.
    client.send(r#"{"type":"connection_terminate"}"#).await;
    assert_eq!(client.close_code().await, 1000);
}

/// The client of subscriptions-transport-ws sends what waits right behind `connection_init`.
#[tokio::test]
async fn operations_may_follow_init_without_waiting() {
    let node = Node::start().await;
    let mut client = connect(&node).await;
    client.send(init(&node.key)).await;
    client.send(start("1", "{ __typename }")).await;
    let types = ["connection_ack", "ka", "data", "complete"];
    for kind in types {
        assert_eq!(client.message().await["type"], json!(kind));
    }
}

#[tokio::test]
async fn what_fails_before_the_execution_is_one_error_and_what_fails_in_it_is_data() {
    let node = Node::start().await;
    let mut client = connect(&node).await;
    client.send(init(&node.token(&["orders.*"], Duration::from_secs(60)))).await;
    client.message().await;
    client.message().await;
    for (query, code) in [
        ("not graphql", "INVALID_REQUEST"),
        ("{ nothing other }", "INVALID_REQUEST"),
        ("subscription { events(channel: \"orders.#\") { id } }", "FORBIDDEN"),
        ("subscription { events(channel: \"orders.a\", after: \"made-up\") { id } }", "CURSOR_INVALID"),
        (&"[".repeat(3_000), "TOO_COMPLEX"),
    ] {
        client.send(start("1", query)).await;
        let said = client.message().await;
        assert_eq!((&said["id"], &said["type"]), (&json!("1"), &json!("error")), "{said}");
        assert_eq!(said["payload"]["extensions"]["code"], json!(code), "one object, and no list: {said}");
        assert!(said["payload"]["message"].is_string(), "{said}");
    }
    // No `complete` came behind any of them, and the connection is as good as before.
    client.send(start("1", "{ history(channel: \"other\") { cursor } }")).await;
    let said = client.message().await;
    assert_eq!((&said["id"], &said["type"]), (&json!("1"), &json!("data")), "{said}");
    assert_eq!(said["payload"]["errors"][0]["extensions"]["code"], json!("FORBIDDEN"), "{said}");
    assert_eq!(client.message().await, json!({"id": "1", "type": "complete"}));
}

#[tokio::test]
async fn the_connection_is_held_to_the_same_rules() {
    let mut settings = ApiSettings::default();
    settings.sockets.init_timeout = Duration::from_millis(300);
    let node = Node::with(settings).await;
    let late = refused(connect(&node).await).await;
    assert_eq!(late, (json!("Connection initialisation timeout"), 4408));

    for token in ["", "nk_wrong", "a.b.c"] {
        let mut client = connect(&node).await;
        client.send(init(token)).await;
        assert_eq!(refused(client).await, (json!("Forbidden"), 4403), "{token}");
    }
    for (origin, allowed) in [("https://evil.example", false), ("null", false), (ORIGIN, true)] {
        let mut client = node.connect_with(LEGACY, &[("origin", origin)]).await;
        client.send(init(&node.key)).await;
        if allowed {
            assert_eq!(client.message().await, json!({"type": "connection_ack"}));
        } else {
            assert_eq!(refused(client).await, (json!("Forbidden"), 4403), "{origin}");
        }
    }
    let mut early = connect(&node).await;
    early.send(start("1", EVENTS)).await;
    assert_eq!(refused(early).await.1, 4401);

    for (sent, code) in [
        (vec![init(&node.key)], 4429),
        (vec![start("1", EVENTS), start("1", EVENTS)], 4409),
        (vec!["not JSON".to_owned()], 4400),
        (vec![r#"{"type":"hello"}"#.to_owned()], 4400),
        (vec![r#"{"type":"start","id":"1"}"#.to_owned()], 4400),
        (vec![start("", EVENTS)], 4400),
        // The words of the other subprotocol.
        (vec![r#"{"type":"ping"}"#.to_owned()], 4400),
        (vec![start("1", EVENTS).replace("start", "subscribe")], 4400),
    ] {
        let mut client = ready(&node).await;
        for text in &sent {
            client.send(text.as_str()).await;
        }
        assert_eq!(refused(client).await.1, code, "{sent:?}");
    }
}

#[tokio::test]
async fn an_operation_too_many_is_refused_and_the_connection_stays() {
    let mut settings = ApiSettings::default();
    settings.sockets.max_operations = 1;
    let node = Node::with(settings).await;
    let mut client = ready(&node).await;
    client.send(start("1", EVENTS)).await;
    client.send(start("2", EVENTS)).await;
    let said = client.message().await;
    assert_eq!((&said["id"], &said["type"]), (&json!("2"), &json!("error")), "{said}");
    assert_eq!(said["payload"]["extensions"]["code"], json!("TOO_MANY_OPERATIONS"), "{said}");
    node.until_listeners("a", 1).await;
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(client.message().await["payload"]["data"], json!({"events": {"data": 1}}));
}

#[tokio::test]
async fn the_server_keeps_the_connection_alive() {
    let mut settings = ApiSettings::default();
    settings.sockets.ping_every = Duration::from_millis(200);
    let node = Node::with(settings).await;
    let mut client = ready(&node).await;
    for _ in 0..3 {
        assert_eq!(client.message().await, json!({"type": "ka"}));
    }
}

/// The end of the node is not the client's fault: it is told by the code alone, and comes back.
#[tokio::test]
async fn a_stopping_node_sends_its_clients_away_without_an_error() {
    let mut settings = ApiSettings::default();
    settings.sockets.drain_spread = Duration::from_millis(200);
    let node = Node::with(settings).await;
    let mut raw = Raw::offer(&node, LEGACY).await;
    raw.text(&json!({"type": "connection_init", "payload": {"token": node.key}})).await;
    assert_eq!(raw.message().await, json!({"type": "connection_ack"}));
    assert_eq!(raw.message().await, json!({"type": "ka"}));
    node.app.drain.cancel();
    assert_eq!(raw.close().await, (1001, "Going away: reconnect and resume".to_owned()));
}

/// The messages of the two subprotocols differ, what is inside them is made once.
#[tokio::test]
async fn both_subprotocols_share_one_execution() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let (mut modern, mut legacy) = (node.ready().await, ready(&node).await);
    modern.subscribe("1", EVENTS).await;
    legacy.send(start("1", EVENTS)).await;
    node.until_listeners("a", 2).await;
    assert_eq!(counts.of("nuncio_groups"), 1);
    node.publish("a", &["7".to_owned()]).await;
    let payload = r#""payload":{"data":{"events":{"data":7}}}}"#;
    assert_eq!(modern.text().await, format!(r#"{{"id":"1","type":"next",{payload}"#));
    assert_eq!(legacy.text().await, format!(r#"{{"id":"1","type":"data",{payload}"#));
    assert_eq!(counts.of("nuncio_graphql_executions_total"), 1);
}

#[tokio::test]
async fn the_client_chooses_and_the_legacy_subprotocol_can_be_turned_off() {
    let node = Node::start().await;
    for (offered, chosen) in [
        ("graphql-ws", Some("graphql-ws")),
        ("graphql-transport-ws, graphql-ws", Some("graphql-transport-ws")),
        ("graphql-ws,graphql-transport-ws", Some("graphql-ws")),
        ("soap, graphql-ws", Some("graphql-ws")),
        ("", None),
    ] {
        assert_eq!(Raw::offer(&node, offered).await.subprotocol(), chosen, "{offered}");
    }
    let mut settings = ApiSettings::default();
    settings.sockets.legacy = false;
    let node = Node::with(settings).await;
    let both = Raw::offer(&node, "graphql-ws, graphql-transport-ws").await;
    assert_eq!(both.subprotocol(), Some("graphql-transport-ws"));
    // Ordinary clients end a handshake that takes nothing of what they offer; one that goes on is told why.
    let alone = Raw::offer(&node, "graphql-ws").await;
    assert_eq!(alone.subprotocol(), None);
    assert_eq!(
        alone.close().await,
        (4406, "Subprotocol not acceptable: use graphql-transport-ws".to_owned())
    );
}
