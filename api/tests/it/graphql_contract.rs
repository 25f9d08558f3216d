//! GraphQL over HTTP to the letter: media types, statuses, headers, batches, and values of variables.

use std::time::Duration;

use nuncio_api::ApiSettings;
use reqwest::header::{ACCEPT, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::graphql_kit::Node;

const NEW: &str = "application/graphql-response+json";
const OLD: &str = "application/json";

fn header(answer: &Response, name: reqwest::header::HeaderName) -> String {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("ASCII")).to_owned()
}

/// The status, the media type without its charset, and the body.
async fn read(answer: Response) -> (u16, String, Value) {
    assert!(header(&answer, VARY).contains("accept"));
    let media_type = header(&answer, CONTENT_TYPE);
    let (media_type, charset) = media_type.split_once(';').expect("a charset");
    assert_eq!(charset, " charset=utf-8");
    let (status, media_type) = (answer.status().as_u16(), media_type.to_owned());
    (status, media_type, answer.json().await.expect("JSON"))
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

fn told(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn statuses_follow_the_media_type_asked_for() {
    let node = Node::start().await;
    let ask = async |accept: &str, query: &str, key: &str| {
        let request = Client::new().post(node.url()).bearer_auth(key).header(ACCEPT, accept);
        request.json(&json!({ "query": query })).send().await.expect("an answer")
    };
    for (accept, query, status, media_type) in [
        (NEW, "{ cursor }", 200, NEW),
        (OLD, "{ cursor }", 200, OLD),
        ("*/*", "{ cursor }", 200, OLD),
        ("application/json;q=0.9, application/graphql-response+json", "{ cursor }", 200, NEW),
        (NEW, "{ nothing }", 400, NEW),
        (OLD, "{ nothing }", 200, OLD),
        (NEW, "{", 400, NEW),
        (OLD, "{", 200, OLD),
        (NEW, "{ channel(name: \"..\") { name } }", 200, NEW),
        ("text/plain", "{ cursor }", 406, OLD),
        ("*/*", "subscription { events(channel: \"a\") { id } }", 406, OLD),
    ] {
        let (got, got_type, body) = read(ask(accept, query, &node.key).await).await;
        assert_eq!((got, got_type.as_str()), (status, media_type), "{accept} {query} {body}");
        let has_data = status == 200 && !query.contains("nothing") && query != "{";
        assert_eq!(body.get("data").is_some(), has_data, "{accept} {query} {body}");
    }
    for accept in [NEW, OLD, "text/plain"] {
        // Whether the document is good is nobody's business.
        for query in ["{ cursor }", "{", &"{".repeat(10_000)] {
            let answer = ask(accept, query, "nk_nobody").await;
            assert_eq!(header(&answer, WWW_AUTHENTICATE), "Bearer");
            let (status, _, body) = read(answer).await;
            assert_eq!((status, code(&body)), (401, "UNAUTHENTICATED"), "{body}");
            assert!(body.get("data").is_none());
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let node = Node::start().await;
    for (body, message) in [
        ("", "the body is empty"),
        ("{", "the body is not JSON"),
        ("7", "the body must be a JSON object"),
        ("{}", "the request has no query"),
        (r#"{"query":7}"#, "query must be a string"),
        (r#"{"query":"{cursor}","variables":"a"}"#, "variables must be a JSON object"),
        (r#"{"query":"{cursor}","operationName":1}"#, "operationName must be a string"),
        (r#"{"query":"{cursor}","extensions":[]}"#, "extensions must be a JSON object"),
        (r#"[{"query":"{cursor}"}]"#, "this server takes one operation per request"),
    ] {
        let (status, _, answer) = read(node.post(body.to_owned(), OLD).await).await;
        assert_eq!((status, code(&answer)), (400, "INVALID_REQUEST"), "{body}");
        assert!(told(&answer).starts_with(message), "{body}: {answer}");
    }
    let get = async |query: &[(&str, &str)]| {
        let request = Client::new().get(node.url()).bearer_auth(&node.key).query(query);
        read(request.send().await.expect("an answer")).await
    };
    for (query, message) in [
        (&[][..], "the query string has no query"),
        (&[("query", "{cursor}"), ("variables", "[]")], "variables must be a JSON object"),
        (&[("query", "{cursor}"), ("query", "{cursor}")], "the query string has query twice"),
    ] {
        let (status, _, answer) = get(query).await;
        assert_eq!((status, told(&answer).starts_with(message)), (400, true), "{answer}");
    }
    let named = [
        ("query", "query A($n: String!) { channel(name: $n) { name } } mutation B { leave }"),
        ("operationName", "A"),
        ("variables", r#"{"n":"a"}"#),
    ];
    let (status, _, answer) = get(&named).await;
    assert_eq!(status, 200);
    assert!(told(&answer).contains("leave"), "the whole document is validated: {answer}");
}

#[tokio::test]
async fn methods_and_encodings_that_are_not_taken_are_told_with_what_is() {
    let node = Node::start().await;
    let request = |method: Method| Client::new().request(method, node.url()).bearer_auth(&node.key);
    for method in [Method::PATCH, Method::TRACE] {
        let answer = request(method.clone()).send().await.expect("an answer");
        let allow = header(&answer, ALLOW);
        assert!(
            ["GET", "HEAD", "POST", "PUT", "DELETE"].iter().all(|method| allow.contains(method)),
            "{method}: {allow}"
        );
        let (status, _, body) = read(answer).await;
        assert_eq!((status, code(&body)), (405, "INVALID_REQUEST"), "{body}");
    }
    let mutation = [("query", "mutation { publish(channel: \"a\", event: {}) { id } }")];
    let answer = request(Method::GET).query(&mutation).send().await.expect("an answer");
    assert_eq!(header(&answer, ALLOW), "POST");
    assert_eq!(read(answer).await.0, 405);
    let packed = request(Method::POST).header(CONTENT_TYPE, OLD).header(CONTENT_ENCODING, "gzip");
    let (status, _, body) = read(packed.body(vec![0x1f, 0x8b]).send().await.expect("an answer")).await;
    assert_eq!((status, told(&body).contains("without Content-Encoding")), (415, true), "{body}");
    let answer = request(Method::POST).body("{}").send().await.expect("an answer");
    assert_eq!(read(answer).await.0, 415);
}

#[tokio::test]
async fn batches_are_answered_in_order_where_they_are_allowed() {
    let node = Node::with(ApiSettings { graphql_batch: 4, ..ApiSettings::default() }).await;
    let publish = json!({"query": "mutation { publish(channel: \"a\", event: {}) { sequence } }"});
    let batch = json!([
        publish,
        {"query": "{ channel(name: \"a\") { sequence } }"},
        {"query": format!("{{ a {} }}", "b: a ".repeat(500))},
        publish,
    ]);
    let (status, _, answers) = read(node.post(batch.to_string(), OLD).await).await;
    assert_eq!(status, 200);
    assert_eq!(answers[0]["data"]["publish"]["sequence"], json!(1), "{answers}");
    assert_eq!(answers[1]["data"]["channel"]["sequence"], json!(1), "{answers}");
    assert_eq!((code(&answers[2]), answers[2].get("data")), ("TOO_COMPLEX", None), "{answers}");
    assert_eq!(answers[3]["data"]["publish"]["sequence"], json!(2), "{answers}");
    let subscription = json!([{"query": "subscription { events(channel: \"a\") { id } }"}]);
    let (_, _, answers) = read(node.post(subscription.to_string(), OLD).await).await;
    assert!(told(&answers[0]).starts_with("a subscription needs a stream"), "{answers}");
    let five = Value::from(vec![publish.clone(); 5]);
    let (status, _, answer) = read(node.post(five.to_string(), OLD).await).await;
    assert_eq!((status, code(&answer)), (400, "INVALID_REQUEST"));
    assert!(told(&answer).starts_with("the batch has 5 operations; this server takes 1 to 4"), "{answer}");
    let half_bad = json!([publish, {"query": 7}]);
    let (status, _, answer) = read(node.post(half_bad.to_string(), OLD).await).await;
    assert_eq!((status, told(&answer)), (400, "operation 1 of the batch: query must be a string"));
    assert_eq!(node.execute("{ channel(name: \"a\") { sequence } }").await["data"]["channel"]["sequence"], 2);
}

/// The library let a null pass, or nothing, where the type of a variable has no room for it.
#[tokio::test]
async fn variables_have_the_values_that_their_types_demand() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    let refused: &[(&str, Value)] = &[
        ("query($n: String!) { channel(name: $n) { name } }", json!({})),
        ("query($n: String!) { channel(name: $n) { name } }", json!({"n": null})),
        ("query($n: String!) { channel(name: $n) { name } }", json!({"n": 5})),
        ("query($n: String = \"a\") { channel(name: $n) { name } }", json!({"n": null})),
        ("query($n: Int!) { history(channel: \"a\", first: $n) { cursor } }", json!({"n": null})),
        ("query($n: Int) { history(channel: \"a\", first: $n) { cursor } }", json!({"n": "many"})),
        ("query($n: Int) { history(channel: \"a\", first: $n) { cursor } }", json!({"n": 1.5})),
        ("query($s: DateTime) { history(channel: \"a\", since: $s) { cursor } }", json!({"s": {}})),
        ("query($b: Boolean!) { cursor @include(if: $b) }", json!({})),
        ("query($b: Boolean!) { cursor @include(if: $b) }", json!({"b": "yes"})),
        ("query($b: Boolean) { cursor @include(if: $b) }", json!({"b": true})),
        ("query($n: Int!) { channel(name: $n) { name } }", json!({"n": 1})),
        ("query($n: String) { channel(name: $n) { name } }", json!({"n": "a"})),
        ("query($id: ID!) { __typename }", json!({"id": null})),
        ("mutation($e: EventInput!) { publish(channel: \"a\", event: $e) { id } }", json!({"e": null})),
        ("mutation($e: EventInput!) { publish(channel: \"a\", event: $e) { id } }", json!({"e": []})),
        ("mutation($e: EventInput!) { publish(channel: \"a\", event: $e) { id } }", json!({"e": 5})),
        (
            "mutation($e: EventInput!) { publish(channel: \"a\", event: $e) { id } }",
            json!({"e": {"bogus": 1}}),
        ),
        (
            "mutation($e: EventInput!) { publish(channel: \"a\", event: $e) { id } }",
            json!({"e": {"type": 1}}),
        ),
        ("mutation($e: [ChannelEventInput!]!) { publishBatch(events: $e) { id } }", json!({"e": [null]})),
        (
            "mutation($e: [ChannelEventInput!]!) { publishBatch(events: $e) { id } }",
            json!({"e": [{"channel": "a"}]}),
        ),
        ("mutation($e: [ChannelEventInput]!) { publishBatch(events: $e) { id } }", json!({"e": []})),
        ("mutation($t: String!) { publish(channel: \"a\", event: {type: $t}) { id } }", json!({})),
        ("subscription($c: String!) { events(channel: $c) { id } }", json!({"c": null})),
        ("subscription($g: OnGap) { events(channel: \"a\", onGap: $g) { id } }", json!({"g": "MAYBE"})),
    ];
    for (n, (query, variables)) in refused.iter().enumerate() {
        let payload = json!({"query": query, "variables": variables});
        if !query.starts_with("subscription") {
            let request = Client::new().post(node.url()).bearer_auth(&node.key).header(ACCEPT, NEW);
            let (status, _, answer) = read(request.json(&payload).send().await.expect("an answer")).await;
            let refused = (400, "INVALID_REQUEST", None);
            assert_eq!((status, code(&answer), answer.get("data")), refused, "{query} {variables} {answer}");
        }
        let id = n.to_string();
        client.start(&id, &payload).await;
        assert_eq!(client.error_code(&id).await, json!("INVALID_REQUEST"), "{query} {variables}");
    }
    for (query, variables) in [
        ("query($n: Int) { history(channel: \"a\", first: $n) { cursor } }", json!({})),
        ("query($n: Int) { history(channel: \"a\", first: $n) { cursor } }", json!({"n": null})),
        ("query($b: Boolean = true) { cursor @include(if: $b) }", json!({})),
        ("query($n: String! = \"a\") { channel(name: $n) { name } }", json!({})),
        ("mutation($t: String) { publish(channel: \"a\", event: {type: $t}) { id } }", json!({})),
        (
            "mutation($d: JSON) { publish(channel: \"a\", event: {data: $d}) { id } }",
            json!({"d": {"x": [null]}}),
        ),
        (
            "mutation($e: [ChannelEventInput!]!) { publishBatch(events: $e) { id } }",
            json!({"e": {"channel": "a", "event": {}}}),
        ),
    ] {
        let body = json!({"query": query, "variables": variables}).to_string();
        let (status, _, answer) = read(node.post(body, OLD).await).await;
        assert_eq!((status, answer.get("errors")), (200, None), "{query} {variables}");
    }
}

/// Fields of the same name are one field (section 5.3.2); the library executed each, so that one was published twice.
#[tokio::test]
async fn what_is_asked_twice_is_done_once() {
    let node = Node::start().await;
    let publish = "publish(channel: \"a\", event: {}) { sequence }";
    let answer = node
        .execute(&format!("mutation {{ {publish} {publish} ...P }} fragment P on Mutation {{ {publish} }}"))
        .await;
    let channel = node.execute("{ channel(name: \"a\") { sequence } }").await;
    assert_eq!(channel["data"]["channel"]["sequence"], json!(1), "{answer}");
}

/// The library left out what failed, so that `data` had no such member, and was an empty object where it must be null.
#[tokio::test]
async fn what_failed_is_null_as_far_up_as_it_must_be() {
    let node = Node::start().await;
    let token = node.token(&["mine.#"], Duration::from_secs(60));
    let ask = async |query: &str| {
        let request = Client::new().post(node.url()).bearer_auth(&token).header(ACCEPT, NEW);
        let (status, _, answer) =
            read(request.json(&json!({"query": query})).send().await.expect("an answer")).await;
        assert_eq!((status, code(&answer)), (200, "FORBIDDEN"), "{answer}");
        answer["data"].clone()
    };
    let nullable =
        "{ theirs: channel(name: \"theirs\") { name } mine: channel(name: \"mine.a\") { name } __typename }";
    assert_eq!(ask(nullable).await.to_string(), r#"{"theirs":null,"mine":null,"__typename":"Query"}"#);
    assert_eq!(ask("{ cursor history(channel: \"theirs\") { cursor } }").await, Value::Null);
    assert_eq!(ask("mutation { publish(channel: \"mine.a\", event: {}) { id } }").await, Value::Null);
}
