//! GraphQL over HTTP: what is answered, what is refused, and what must not hurt.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::graphql_kit::Node;

/// Far more than a refusal takes, and far less than following doubling fragments would.
const AT_ONCE: Duration = Duration::from_secs(5);

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

#[tokio::test]
async fn publishing_and_reading_back() {
    let node = Node::start().await;
    let publish = r#"mutation { publish(channel: "a.b", event: {id: "1", data: {n: [1, "x", null]}}) { id channel sequence cursor duplicate } }"#;
    let first = node.execute(publish).await["data"]["publish"].take();
    assert_eq!((&first["sequence"], &first["duplicate"]), (&json!(1), &json!(false)), "{first}");
    let repeat = node.execute(publish).await["data"]["publish"].take();
    assert_eq!((&repeat["cursor"], &repeat["duplicate"]), (&first["cursor"], &json!(true)));
    let other = node.execute(&publish.replace("null", "2")).await;
    assert_eq!(code(&other), &json!("ID_CONFLICT"), "{other}");

    let batch = r#"mutation { publishBatch(events: [{channel: "a.b", event: {dataBase64: "AAE="}}, {channel: "a.c", event: {}}]) { sequence } }"#;
    assert_eq!(node.execute(batch).await["data"]["publishBatch"], json!([{"sequence": 2}, {"sequence": 1}]));
    let bad = node.execute(&batch.replace("a.c", "a..c")).await;
    assert_eq!(
        (code(&bad), &bad["errors"][0]["extensions"]["errors"][0]["index"]),
        (&json!("INVALID_CHANNEL"), &json!(1))
    );

    let read = r#"{ history(channel: "a.b") { events { id type source contentType data dataBase64 sequence } hasMore }
                    channel(name: "a.b") { name sequence subscribers } none: channel(name: "x") { name } }"#;
    let read = node.execute(read).await["data"].take();
    assert_eq!(read["channel"], json!({"name": "a.b", "sequence": 2, "subscribers": 0}));
    assert_eq!((&read["none"], &read["history"]["hasMore"]), (&Value::Null, &json!(false)));
    let events = &read["history"]["events"];
    assert_eq!(
        events[0],
        json!({"id": "1", "type": "message", "source": "/graphql", "contentType": "application/json",
               "data": {"n": [1, "x", null]}, "dataBase64": null, "sequence": 1})
    );
    assert_eq!((&events[1]["data"], &events[1]["dataBase64"]), (&Value::Null, &json!("AAE=")));
}

#[tokio::test]
async fn data_goes_out_as_the_bytes_that_were_stored() {
    let node = Node::start().await;
    let data = format!(r#"{{"b":1e400,"a":{},"a":1.0,"u":"\u0000\/"}}"#, "7".repeat(60));
    node.append("a.b", std::slice::from_ref(&data)).await;
    let query = json!({"query": "{ history(channel: \"a.b\") { events { data } } }"}).to_string();
    let text = node.post(query, "application/json").await.text().await.expect("a body");
    assert_eq!(text, format!(r#"{{"data":{{"history":{{"events":[{{"data":{data}}}]}}}}}}"#));
}

#[tokio::test]
async fn history_is_read_in_both_directions() {
    let node = Node::start().await;
    node.append("a.b", &(1..=10).map(|n| n.to_string()).collect::<Vec<_>>()).await;
    let page = async |arguments: &str| {
        let query = format!(
            "{{ history(channel: \"a.#\", {arguments}) {{ events {{ sequence }} cursor hasMore }} }}"
        );
        let mut answer = node.execute(&query).await;
        let page = answer["data"]["history"].take();
        let events = page["events"].as_array().unwrap_or_else(|| panic!("no page: {answer}"));
        let sequences: Vec<i64> =
            events.iter().map(|event| event["sequence"].as_i64().expect("a number")).collect();
        (sequences, page["cursor"].as_str().expect("a cursor").to_owned(), page["hasMore"] == json!(true))
    };
    let (events, cursor, more) = page("first: 6").await;
    assert_eq!((events, more), ((1..=6).collect(), true));
    let (events, _, more) = page(&format!("after: \"{cursor}\"")).await;
    assert_eq!((events, more), ((7..=10).collect(), false));
    let (events, cursor, more) = page("last: 4").await;
    assert_eq!((events, more), ((7..=10).collect(), true));
    let (events, _, more) = page(&format!("before: \"{cursor}\"")).await;
    assert_eq!((events, more), ((1..=6).collect(), false));
}

#[tokio::test]
async fn no_page_elsewhere_can_make_a_browser_mutate() {
    let node = Node::start().await;
    let mutation = r#"mutation{publish(channel:"a",event:{}){id}}"#;
    let body = json!({ "query": mutation }).to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        assert_eq!(node.post(body.clone(), content_type).await.status(), 415, "{content_type}");
    }
    let client = reqwest::Client::new();
    let get = |query: &str| client.get(node.url()).bearer_auth(&node.key).query(&[("query", query)]);
    assert_eq!(get(mutation).send().await.expect("an answer").status(), 405);
    assert_eq!(get("{cursor}").send().await.expect("an answer").status(), 200);
    assert_eq!(
        get("{cursor}").header("origin", "https://evil.example").send().await.expect("an answer").status(),
        403
    );
    assert_eq!(
        node.execute("{ history(channel: \"a\") { events { id } } }").await["data"]["history"]["events"],
        json!([])
    );
}

/// 3 KB of brackets overflowed the parser's stack and aborted the process; thirty fragments took it minutes.
#[tokio::test]
async fn hostile_documents_are_refused_at_once_on_every_way_in() {
    let node = Node::start().await;
    let mut doubling = "{ ...F0 }".to_owned();
    for n in 0..30 {
        doubling += &format!(" fragment F{n} on Query {{ ...F{0} ...F{0} }}", n + 1);
    }
    doubling += " fragment F30 on Query { cursor }";
    let list = format!("{{ history(channel: {}{}) {{ cursor }} }}", "[".repeat(1_600), "]".repeat(1_600));
    let object =
        format!("{{ history(channel: {}1{}) {{ cursor }} }}", "{a:".repeat(1_600), "}".repeat(1_600));
    let kind = format!("query($v: {}Int{}) {{ cursor }}", "[".repeat(1_600), "]".repeat(1_600));
    let aliases: String = (0..5_000).map(|n| format!("a{n}: cursor ")).collect();
    let documents = [
        list,
        object,
        kind,
        "{".repeat(100_000),
        doubling,
        format!("{{ {aliases} }}"),
        format!("{{ cursor {} }}", "@skip(if: false) ".repeat(10_000)),
        format!("{{ {} }}", "__schema { types { name } } ".repeat(100)),
    ];
    let mut client = node.ready().await;
    for document in documents {
        let answer = timeout(AT_ONCE, node.execute(&document)).await.expect("an answer at once");
        assert_eq!(code(&answer), &json!("TOO_COMPLEX"), "{answer}");
        assert!(answer.to_string().len() < 1_000, "the answer does not repeat the document");
        client.subscribe("1", &document).await;
        assert_eq!(timeout(AT_ONCE, client.error_code("1")).await.expect("at once"), json!("TOO_COMPLEX"));
    }
    let circle = "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }";
    let answer = timeout(AT_ONCE, node.execute(circle)).await.expect("an answer at once");
    assert_eq!(code(&answer), &json!("INVALID_REQUEST"));
    let commas = format!("{{ cursor {} }}", ",".repeat(1_000_000));
    let answer = timeout(AT_ONCE, node.execute(&commas)).await.expect("an answer at once");
    assert!(answer["data"]["cursor"].is_string(), "{answer}");
}
