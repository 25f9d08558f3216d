//! `graphql-transport-ws` rule by rule: a test for each section of its document (PROTOCOL.md of graphql-ws), and in each
//! the sentences that bind a server, in their order.

use std::time::Duration;

use nuncio_api::ApiSettings;
use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};
use crate::socket_raw::Raw;

const EVENTS: &str = "subscription { events(channel: \"a\") { data } }";
const FOREVER: Duration = Duration::from_secs(3_600);

fn init(payload: Value) -> String {
    json!({"type": "connection_init", "payload": payload}).to_string()
}

/// A message is sent on a connection of its own, and closes it.
async fn closes(node: &Node, text: &str, code: u16, reason: &str) {
    let mut raw = Raw::ready(node).await;
    raw.frame(0x81, text).await;
    assert_eq!(raw.close().await, (code, reason.to_owned()), "{text}");
}

/// What a single result has: one `next`, then `complete`.
async fn result(client: &mut Client, id: &str) -> Value {
    let mut next = client.message().await;
    assert_eq!((&next["id"], &next["type"]), (&json!(id), &json!("next")), "{next}");
    assert_eq!(client.message().await, json!({"id": id, "type": "complete"}));
    next["payload"].take()
}

#[tokio::test]
async fn communication() {
    let node = Node::start().await;
    // "The WebSocket sub-protocol for this specification is: graphql-transport-ws."
    assert_eq!(Raw::offer(&node, "graphql-transport-ws").await.subprotocol(), Some("graphql-transport-ws"));
    let mut client = node.ready().await;
    // "Messages are represented through the JSON structure": in any writing, with any white space, and with members that
    // the document does not name.
    let written = " {\n\"typ\\u0065\" : \"subscri\\u0062e\", \"x\": [{}], \"id\": \"1\",\t\"payload\": {\"y\": 1, \"query\": \"{ __typename }\"}} ";
    client.send(written).await;
    assert_eq!(result(&mut client, "1").await, json!({"data": {"__typename": "Query"}}));
    // "Multiple operations identified with separate IDs can be active at any time and their messages can be interleaved":
    // ids are any text, and each comes back as it was.
    let ids =
        ["1", " ", "é€😀", "\u{0}\u{1f}\"\\/", "constructor", "__proto__", "\u{202e}", &"x".repeat(256)];
    for id in ids {
        client.subscribe(id, EVENTS).await;
    }
    node.until_listeners("a", ids.len()).await;
    node.publish("a", &["1".to_owned()]).await;
    let mut seen = Vec::new();
    for _ in ids {
        seen.push(client.event().await.0);
    }
    seen.sort();
    let mut sent = ids.map(str::to_owned);
    sent.sort();
    assert_eq!(seen, sent);
    // "The client closes the socket and the connection by dispatching a 1000: Normal Closure".
    let mut raw = Raw::ready(&node).await;
    raw.frame(0x88, 1000_u16.to_be_bytes()).await;
    assert_eq!(raw.close().await.0, 1000);
}

#[tokio::test]
async fn connection_init() {
    let mut settings = ApiSettings::default();
    settings.sockets.init_timeout = Duration::from_millis(300);
    let node = Node::with(settings).await;
    // "If the client does not request a connection within the allowed timeout, the server will close the socket with the
    // event: 4408": whatever else it says meanwhile.
    let mut talker = Raw::offer(&node, "graphql-transport-ws").await;
    talker.text(&json!({"type": "ping"})).await;
    assert_eq!(talker.message().await, json!({"type": "pong"}));
    assert_eq!(talker.close().await, (4408, "Connection initialisation timeout".to_owned()));
    // "If the server receives more than one ConnectionInit message at any given time": also both at once.
    closes(&node, &init(json!({})), 4429, "Too many initialisation requests").await;
    let mut twice = node.connect().await;
    twice.send(init(json!({"token": node.key}))).await;
    twice.send(init(json!({"token": node.key}))).await;
    assert_eq!(twice.close_code().await, 4429);
    // "it is recommended to close the socket with 4403: Forbidden"; payload?: Record<string, unknown> | null.
    let bearer = format!("Bearer {}", node.key);
    for (payload, by_header, code) in [
        (json!({"token": node.key}), "", None),
        (json!({"token": node.key, "other": {"x": [1]}}), "", None),
        (json!({"Authorization": bearer}), "", None),
        (json!({"authorization": bearer}), "", None),
        (json!({"Authorization": bearer, "authorization": bearer, "token": null}), "", None),
        (json!({"authorization": format!("bearer  {} ", node.key)}), "", None),
        // The token counts, and whatever stands in the payload goes before the header.
        (json!({"token": node.key, "Authorization": "Bearer wrong"}), "Bearer wrong", None),
        (json!({"token": "wrong", "Authorization": bearer}), &bearer, Some(4403)),
        (json!({}), &bearer, None),
        (json!(null), &bearer, None),
        (json!({}), "", Some(4403)),
        (json!(null), "", Some(4403)),
        (json!({"token": ""}), "", Some(4403)),
        (json!({"Authorization": node.key}), "", Some(4403)),
        (json!({"Authorization": format!("Basic {}", node.key)}), "", Some(4403)),
        (json!({"token": node.admin}), "", Some(4403)),
        (json!({"token": "x".repeat(10_000)}), "", Some(4403)),
        (json!({"token": 1}), &bearer, Some(4400)),
        (json!("token"), &bearer, Some(4400)),
        (json!([node.key]), &bearer, Some(4400)),
        (json!(true), &bearer, Some(4400)),
    ] {
        let headers = [("authorization", by_header)];
        let headers = if by_header.is_empty() { &[][..] } else { &headers[..] };
        let mut client = node.connect_with("graphql-transport-ws", headers).await;
        client.send(init(payload.clone())).await;
        match code {
            None => assert_eq!(client.message().await, json!({"type": "connection_ack"}), "{payload}"),
            Some(code) => assert_eq!(client.close_code().await, code, "{payload}"),
        }
    }
    // The payload may be absent.
    let headers = [("authorization", bearer.as_str())];
    let mut client = node.connect_with("graphql-transport-ws", &headers).await;
    client.send(r#"{"type":"connection_init"}"#).await;
    // "ConnectionAck: Expected response to the ConnectionInit message".
    assert_eq!(client.message().await, json!({"type": "connection_ack"}));
}

#[tokio::test]
async fn ping_and_pong() {
    let mut settings = ApiSettings::default();
    settings.sockets.ping_every = Duration::from_millis(500);
    let node = Node::with(settings).await;
    // "The Ping message can be sent at any time within the established socket", and so can a Pong.
    let mut raw = Raw::offer(&node, "graphql-transport-ws").await;
    raw.text(&json!({"type": "pong", "payload": {"unasked": true}})).await;
    raw.text(&json!({"type": "ping", "payload": {"before": "init"}})).await;
    assert_eq!(raw.message().await, json!({"type": "pong", "payload": {"before": "init"}}));
    raw.text(&json!({"type": "connection_init", "payload": {"token": node.key}})).await;
    assert_eq!(raw.message().await, json!({"type": "connection_ack"}));
    // "A Pong must be sent in response from the receiving party as soon as possible"; payload is an object or null.
    for payload in [json!({}), json!({"n": [1, {"x": null}]}), json!(null)] {
        raw.text(&json!({"type": "ping", "payload": payload})).await;
        let pong = if payload.is_null() {
            json!({"type": "pong"})
        } else {
            json!({"type": "pong", "payload": payload})
        };
        assert_eq!(raw.message().await, pong);
    }
    // "Direction: bidirectional": the server pings too, also one that never answers.
    for _ in 0..3 {
        assert_eq!(raw.message().await, json!({"type": "ping"}));
    }
    for kind in ["ping", "pong"] {
        for payload in ["1", "\"x\"", "[]", "false"] {
            let text = format!(r#"{{"type":"{kind}","payload":{payload}}}"#);
            closes(&node, &text, 4400, "Invalid message").await;
        }
    }
}

#[tokio::test]
async fn subscribe() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    // The members of the payload, each absent, null, or of its type.
    let query =
        "query A { channel(name: \"a\") { name } x: __typename @include(if: true) } query B { __typename }";
    for payload in [
        json!({"query": "{ __typename }"}),
        json!({"query": "{ __typename }", "operationName": null, "variables": null, "extensions": null}),
        json!({"query": "{ __typename }", "operationName": "", "variables": {}, "extensions": {"x": [1]}}),
        json!({"query": query, "operationName": "B", "variables": {"unknown": 1}}),
        json!({"query": "query($c: String!, $n: Boolean!) { __typename channel(name: $c) @include(if: $n) { name } }", "variables": {"c": "a", "n": false}}),
    ] {
        client.start("1", &payload).await;
        assert_eq!(result(&mut client, "1").await, json!({"data": {"__typename": "Query"}}), "{payload}");
    }
    let bad = "Invalid message";
    for payload in [
        json!(null),
        json!("{ __typename }"),
        json!(["{ __typename }"]),
        json!({}),
        json!({"query": null}),
        json!({"query": {"kind": "Document"}}),
        json!({"query": "{ __typename }", "variables": []}),
        json!({"query": "{ __typename }", "variables": "{}"}),
        json!({"query": "{ __typename }", "operationName": 1}),
        json!({"query": "{ __typename }", "extensions": []}),
        json!({"query": "{ __typename }", "extensions": 1}),
    ] {
        closes(&node, &json!({"id": "1", "type": "subscribe", "payload": payload}).to_string(), 4400, bad)
            .await;
    }
    for id in [json!(null), json!(1), json!(""), json!(["1"]), json!("x".repeat(257)), json!("é".repeat(129))]
    {
        let text = json!({"id": id, "type": "subscribe", "payload": {"query": "{ __typename }"}}).to_string();
        closes(&node, &text, 4400, bad).await;
    }
    // "If there is already an active subscriber for an operation matching the provided ID, regardless of the operation
    // type, the server must close the socket immediately with the event 4409".
    for query in [EVENTS, "{ __typename }", "mutation { publish(channel: \"b\", event: {}) { id } }"] {
        let mut client = node.ready().await;
        client.subscribe("1", EVENTS).await;
        client.subscribe("1", query).await;
        assert_eq!(client.close_code().await, 4409, "{query}");
    }
    // "Once a client completes an operation, it is free to re-use that ID": at once, and for something else.
    for _ in 0..50 {
        client.subscribe("again", EVENTS).await;
        client.complete("again").await;
    }
    client.subscribe("again", "{ __typename }").await;
    assert_eq!(result(&mut client, "again").await, json!({"data": {"__typename": "Query"}}));
    // "Executing operations is allowed only after the server has acknowledged the connection".
    let mut early = Raw::offer(&node, "graphql-transport-ws").await;
    early.text(&json!({"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}})).await;
    assert_eq!(early.close().await, (4401, "Unauthorized".to_owned()));
}

#[tokio::test]
async fn next_and_error() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    client.init(&node.token(&["a"], FOREVER)).await;
    // "Operation execution result(s) from the source stream": an ExecutionResult, its data byte for byte.
    client.subscribe("1", EVENTS).await;
    node.until_listeners("a", 1).await;
    node.publish("a", &["{\"b\":1.0,\"a\":1e400}".to_owned(), "null".to_owned()]).await;
    let next =
        |data| format!(r#"{{"id":"1","type":"next","payload":{{"data":{{"events":{{"data":{data}}}}}}}}}"#);
    assert_eq!(client.text().await, next(r#"{"b":1.0,"a":1e400}"#));
    assert_eq!(client.text().await, next("null"));
    // A result with errors and data is a result, and not the end.
    client.subscribe("2", "{ a: channel(name: \"a\") { name } b: channel(name: \"b\") { name } }").await;
    let partly = result(&mut client, "2").await;
    assert_eq!((&partly["data"]["a"], &partly["data"]["b"]), (&json!({"name": "a"}), &json!(null)));
    assert_eq!(partly["errors"][0]["extensions"]["code"], json!("FORBIDDEN"), "{partly}");
    // "This can occur before execution starts, usually due to validation errors, or during the execution of the request";
    // the payload is a list. "This message terminates the operation and no further messages will be sent."
    for (query, code) in [
        ("{", "INVALID_REQUEST"),
        ("{ nothing }", "INVALID_REQUEST"),
        (
            "subscription A { events(channel: \"a\") { id } } subscription B { events(channel: \"a\") { id } }",
            "INVALID_REQUEST",
        ),
        ("subscription { events(channel: \"b\") { id } }", "FORBIDDEN"),
        ("subscription { events(channel: \"b\") { id @skip(if: false) } }", "FORBIDDEN"),
        ("{ history(channel: \"b\") { cursor } }", "FORBIDDEN"),
        ("mutation { publish(channel: \"a\", event: {}) { id } }", "FORBIDDEN"),
        (&format!("{{ {} }}", "a { ".repeat(100)), "TOO_COMPLEX"),
    ] {
        client.subscribe("2", query).await;
        let error = client.message().await;
        assert_eq!((&error["id"], &error["type"]), (&json!("2"), &json!("error")), "{query}: {error}");
        let errors = error["payload"].as_array().expect("a list");
        assert!(errors.iter().all(|error| error["message"].is_string()), "{query}: {error}");
        assert_eq!(errors[0]["extensions"]["code"], json!(code), "{query}: {error}");
    }
    // Nothing came behind any of them, and the other operation never noticed.
    node.publish("a", &["2".to_owned()]).await;
    assert_eq!(client.text().await, next("2"));
}

#[tokio::test]
async fn complete() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    // "Server -> Client indicates that the requested operation execution has completed": queries and mutations.
    client
        .subscribe("m", "mutation { publish(channel: \"b\", event: {data: 5}) { sequence duplicate } }")
        .await;
    let published = json!({"data": {"publish": {"sequence": 1, "duplicate": false}}});
    assert_eq!(result(&mut client, "m").await, published);
    // "Client -> Server indicates that the client has stopped listening": no answer to it, and no further events, shared
    // or alone, of those that were on their way either.
    for (id, query) in
        [("s", EVENTS), ("x", "subscription { events(channel: \"a\") { data @skip(if: false) } }")]
    {
        client.subscribe(id, query).await;
        node.until_listeners("a", 1).await;
        client.complete(id).await;
        node.until_listeners("a", 0).await;
        node.publish("a", &["1".to_owned()]).await;
    }
    // "Even if the client sent a Complete message for a single-result-operation before it resolved, the result should not
    // be sent through once it does": both are read in one turn, before anything can be executed.
    let mut raw = Raw::ready(&node).await;
    let query = json!({"id": "q", "type": "subscribe", "payload": {"query": "{ history(channel: \"b\") { cursor } }"}});
    let stop = json!({"id": "q", "type": "complete"});
    let ping = json!({"type": "ping"});
    let frames = [query, stop, ping]
        .map(|message| nuncio_devstack::testkit::websocket::frame(0x81, message.to_string().as_bytes()));
    for _ in 0..50 {
        raw.send(frames.concat()).await;
    }
    for _ in 0..50 {
        assert_eq!(raw.message().await, json!({"type": "pong"}));
    }
    raw.works().await;
    // "prepared to receive (and ignore) messages for operations that they consider already completed"; "It is permissable
    // to simply ignore all unknown IDs": also before the acknowledgement.
    for id in ["m", "s", "unknown"] {
        client.complete(id).await;
        client.complete(id).await;
    }
    client.subscribe("last", "{ __typename }").await;
    assert_eq!(result(&mut client, "last").await, json!({"data": {"__typename": "Query"}}));
    let mut stranger = Raw::offer(&node, "graphql-transport-ws").await;
    stranger.text(&json!({"id": "1", "type": "complete"})).await;
    stranger.works().await;
    for text in [r#"{"type":"complete"}"#, r#"{"type":"complete","id":""}"#, r#"{"type":"complete","id":1}"#]
    {
        closes(&node, text, 4400, "Invalid message").await;
    }
}

#[tokio::test]
async fn invalid_message() {
    let node = Node::start().await;
    // "Receiving a message of a type or format which is not specified in this document will result in an immediate socket
    // closure with the event 4400".
    let deep = format!(
        r#"{{"type":"subscribe","id":"1","payload":{{"query":"{{a}}","variables":{{"v":{}{}}}}}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    for text in [
        "",
        " ",
        "hello",
        "null",
        "1",
        "\"ping\"",
        "{}",
        "[]",
        r#"["ping"]"#,
        r#"["subscribe","1",{"query":"{ __typename }"}]"#,
        r#"{"type":"ping"} {"type":"ping"}"#,
        r#"{"type":"ping""#,
        r#"{'type':'ping'}"#,
        r#"{"type":"ping",}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":null}"#,
        r#"{"type":["ping"]}"#,
        r#"{"type":"PING"}"#,
        r#"{"type":"unknown"}"#,
        // What only a server says.
        r#"{"type":"connection_ack"}"#,
        r#"{"type":"next","id":"1","payload":{}}"#,
        r#"{"type":"error","id":"1","payload":[]}"#,
        // What only the legacy protocol knows.
        r#"{"type":"start","id":"1","payload":{"query":"{ __typename }"}}"#,
        r#"{"type":"stop","id":"1"}"#,
        r#"{"type":"connection_terminate"}"#,
        "{\"type\":\"ping\",\"payload\":{\"x\":\"\\ud800\"}, \"id\": \"\\ud800\"}",
        &deep,
    ] {
        closes(&node, text, 4400, "Invalid message").await;
    }
}
