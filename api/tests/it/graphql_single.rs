//! GraphQL over SSE, single connection mode: rule by rule as PROTOCOL.md of graphql-sse has it, on several nodes.

use std::collections::HashSet;
use std::time::Duration;

use nuncio_api::ApiSettings;
use nuncio_model::Channel;
use nuncio_model::rights::RightsText;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::graphql_kit::Node;
use crate::node::ORIGIN;
use crate::streams_kit::{Client, EVENTS, Events, TOKEN, answer, ask, code, numbers_after, numbers_of};

const HOUR: Duration = Duration::from_secs(3_600);

/// "The client requests a reservation through a `PUT` HTTP request. The server accepts the reservation request by
/// responding with `201` (Created) and a one-time token in the body of the response."
#[tokio::test]
async fn a_reservation_is_a_token_of_its_own() {
    let node = Node::start().await;
    let (one, other) = (Client::reserve(&node, &node.key).await, Client::reserve(&node, &node.key).await);
    assert!(one.token != other.token && one.token.len() >= 32);
    // A client that comes back sends the token of the stream that broke.
    let again = answer(one.ask(Method::PUT)).await;
    assert_eq!(again.status, 201);
    assert!(again.text != one.token);
    assert_eq!(code(&answer(ask(&node, Method::PUT, "")).await), (401, json!("UNAUTHENTICATED")));
    let put = || ask(&node, Method::PUT, &node.key);
    assert_eq!(code(&answer(put().header("origin", "https://evil.example")).await).0, 403);
    assert_eq!(code(&answer(put().header("accept", "application/json")).await).0, 406);
    for accept in ["text/plain", "*/*", "text/*"] {
        assert_eq!(answer(put().header("accept", accept)).await.status, 201, "{accept}");
    }
}

/// "The token may be encoded in the URL's search parameters." "Only one SSE connection can fulfil a reservation at a time."
#[tokio::test]
async fn one_stream_is_opened_by_header_or_by_url() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    assert_eq!(stream.block().await.as_deref(), Some(":"), "the first bytes come at once");
    let second = client.ask(Method::GET).header("accept", EVENTS);
    assert_eq!(code(&answer(second).await), (409, json!("CONFLICT")));
    let peer = node.beside().await;
    let elsewhere = client.at(&peer.site).ask(Method::GET).header("accept", EVENTS);
    assert_eq!(code(&answer(elsewhere).await), (409, json!("CONFLICT")));
    client.start("1", &json!({ "query": "{ __typename }" })).await;
    assert_eq!(stream.expect("next").await["id"], "1", "the stream that is open is not disturbed");

    let token = node.token(&["#"], HOUR);
    let by_url = Client::reserve(&node, &token).await;
    let request = || ask(&node, Method::GET, "").query(&[("token", &by_url.token), ("access_token", &token)]);
    let mut stream = Events::of(request()).await;
    by_url.start("1", &json!({ "query": "{ __typename }" })).await;
    assert_eq!(stream.expect("next").await["id"], "1");
    let unknown = ask(&node, Method::GET, &node.key).header("accept", EVENTS).query(&[("token", "made up")]);
    assert_eq!(code(&answer(unknown).await), (404, json!("NOT_FOUND")));
    let nobody = ask(&node, Method::GET, "").header("accept", EVENTS).header(TOKEN, &client.token);
    assert_eq!(code(&answer(nobody).await), (401, json!("UNAUTHENTICATED")));
}

/// "Successful responses (execution results) are streamed through the single SSE connection", each with the id of its
/// operation; "after all results have been emitted, the `complete` event will follow".
#[tokio::test]
async fn operations_of_every_kind_give_their_results_on_the_one_stream() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    client.start("sub", &numbers_of("a")).await;
    node.until_listeners("a", 1).await;
    let mutation = r#"mutation { publish(channel: "b", event: { data: 7 }) { sequence } }"#;
    client.start("mutation", &json!({ "query": mutation })).await;
    let result = json!({"id": "mutation", "payload": {"data": {"publish": {"sequence": 1}}}});
    assert_eq!(stream.expect("next").await, result);
    assert_eq!(stream.expect("complete").await, json!({"id": "mutation"}));
    let query = "query($c: String!) { channel(name: $c) { sequence } }";
    client.start("query", &json!({ "query": query, "variables": {"c": "b"} })).await;
    let result = json!({"id": "query", "payload": {"data": {"channel": {"sequence": 1}}}});
    assert_eq!(stream.expect("next").await, result);
    assert_eq!(stream.expect("complete").await, json!({"id": "query"}));
    node.publish("a", &["1".to_owned()]).await;
    let result = json!({"id": "sub", "payload": {"data": {"events": {"data": 1}}}});
    assert_eq!(stream.expect("next").await, result);
    // A subscription that cannot begin has its error as a result.
    client.start("bad", &numbers_after("a", "made up")).await;
    let refused = stream.expect("next").await;
    assert_eq!(refused["payload"]["errors"][0]["extensions"]["code"], "CURSOR_INVALID", "{refused}");
    assert_eq!(stream.expect("complete").await, json!({"id": "bad"}));
}

/// "While having a single SSE connection (or reservation)": operations may come before the stream is open.
#[tokio::test]
async fn operations_may_be_started_before_the_stream_is_open() {
    let node = Node::start().await;
    let start = node.head().await;
    let client = Client::reserve(&node, &node.key).await;
    client.start("early", &numbers_after("a", &start)).await;
    client.start("stopped", &numbers_after("a", &start)).await;
    assert_eq!(client.stop("stopped").await.status, 200);
    let mutation = r#"mutation { publish(channel: "a", event: { data: 1 }) { sequence } }"#;
    client.start("mutation", &json!({ "query": mutation })).await;
    let mut stream = client.open().await;
    let mut seen = HashSet::new();
    while seen.len() < 2 {
        let event = stream.next().await.expect("the stream goes on");
        let id = event.data["id"].as_str().expect("an id").to_owned();
        assert_ne!(id, "stopped");
        seen.insert(id);
    }
}

/// "Validation issues and other request problems are handled as documented in the GraphQL over HTTP spec."
#[tokio::test]
async fn what_is_wrong_with_an_operation_is_told_to_whoever_asks_for_it() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    for (query, refused) in [
        ("{", "INVALID_REQUEST"),
        ("{ nothing }", "INVALID_REQUEST"),
        ("query A { cursor } query B { cursor }", "INVALID_REQUEST"),
        ("mutation { publish { cursor } }", "INVALID_REQUEST"),
        ("subscription { nothing }", "INVALID_REQUEST"),
        ("subscription { events(channel: \"a\", resume: \"mine\") { id } }", "INVALID_REQUEST"),
        ("subscription { events(channel: \"a..b\") { id } }", "INVALID_PATTERN"),
    ] {
        assert_eq!(
            code(&client.post("1", &json!({ "query": query })).await),
            (400, json!(refused)),
            "{query}"
        );
    }
    let deep = format!("{{ a(b: {}{}) }}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(code(&client.post("1", &json!({ "query": deep })).await), (400, json!("TOO_COMPLEX")));
    let no_id = answer(client.ask(Method::POST).json(&numbers_of("a"))).await;
    assert_eq!(code(&no_id), (400, json!("INVALID_REQUEST")));
    for id in [json!(7), json!(""), json!(null), json!("x".repeat(257))] {
        let body = json!({ "query": "{ __typename }", "extensions": { "operationId": id } });
        assert_eq!(code(&answer(client.ask(Method::POST).json(&body)).await).0, 400, "{id}");
    }
    let plain = client.ask(Method::POST).header("content-type", "text/plain").body("{}");
    assert_eq!(code(&answer(plain).await), (415, json!("INVALID_REQUEST")));
    for body in ["", "{", "[]", "{}", "[{\"query\":\"{ cursor }\"}]"] {
        let request =
            client.ask(Method::POST).header("content-type", "application/json").body(body.to_owned());
        assert_eq!(code(&answer(request).await).0, 400, "{body}");
    }
    let page = client.ask(Method::POST).header("origin", "https://evil.example").json(&numbers_of("a"));
    assert_eq!(code(&answer(page).await), (403, json!("FORBIDDEN")));
    let unknown = Client { site: &node, key: &node.key, token: "made up".to_owned() };
    assert_eq!(code(&unknown.post("1", &numbers_of("a")).await), (404, json!("NOT_FOUND")));
    // None of all this is on the stream.
    client.start("good", &json!({ "query": "{ __typename }" })).await;
    assert_eq!(stream.expect("next").await["id"], "good");
}

#[tokio::test]
async fn a_get_starts_queries_and_subscriptions_and_never_mutates() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    let get = |query: &str| {
        let extensions = json!({ "operationId": "1" }).to_string();
        client.ask(Method::GET).query(&[("query", query), ("extensions", extensions.as_str())])
    };
    let mutation = r#"mutation { publish(channel: "a", event: { data: 2 }) { sequence } }"#;
    assert_eq!(code(&answer(get(mutation)).await), (405, json!("INVALID_REQUEST")));
    assert_eq!(answer(get("{ __typename }")).await.status, 202);
    assert_eq!(stream.expect("next").await, json!({"id": "1", "payload": {"data": {"__typename": "Query"}}}));
}

/// "The unique operation ID": one that runs cannot be used again, and one that has ended can.
#[tokio::test]
async fn an_id_is_free_again_when_its_operation_has_ended() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    client.start("1", &numbers_of("a")).await;
    assert_eq!(code(&client.post("1", &numbers_of("a")).await), (409, json!("CONFLICT")));
    for (round, id) in ["constructor", "__proto__", "\0", "é\n\"", "constructor"].into_iter().enumerate() {
        let query = json!({ "query": "{ __typename }" });
        let again = async || loop {
            let taken = client.post(id, &query).await;
            if taken.status != StatusCode::CONFLICT {
                return taken.status;
            }
        };
        assert_eq!(again().await, 202, "{round} {id}");
        assert_eq!(stream.expect("next").await["id"], id);
        assert_eq!(stream.expect("complete").await, json!({ "id": id }));
    }
}

/// "This is done by sending a `DELETE` HTTP request encoding the unique operation ID inside the URL's search parameters."
#[tokio::test]
async fn a_stopped_operation_gives_nothing_more() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    client.start("1", &numbers_of("a")).await;
    client.start("2", &numbers_of("a")).await;
    node.until_listeners("a", 2).await;
    assert_eq!((client.stop("1").await.status.as_u16(), client.stop("1").await.text.as_str()), (200, ""));
    node.until_listeners("a", 1).await;
    node.publish("a", &["1".to_owned(), "2".to_owned()]).await;
    assert_eq!(stream.numbers_by_id(2).await, [("2".to_owned(), 1), ("2".to_owned(), 2)]);
    assert_eq!(client.stop("never").await.status, 200);
    assert_eq!(code(&answer(client.ask(Method::DELETE)).await), (400, json!("INVALID_REQUEST")));
    let unknown = Client { site: &node, key: &node.key, token: "made up".to_owned() };
    assert_eq!(code(&unknown.stop("2").await), (404, json!("NOT_FOUND")));
    let none = ask(&node, Method::DELETE, &node.key).query(&[("operationId", "2")]);
    assert_eq!(code(&answer(none).await), (404, json!("NOT_FOUND")));
    assert_eq!(code(&answer(ask(&node, Method::DELETE, "")).await), (401, json!("UNAUTHENTICATED")));
}

/// What is reserved at one node, opened at a second and asked for at a third is one stream.
#[tokio::test]
async fn any_node_serves_any_request() {
    let node = Node::start().await;
    let (second, third) = (node.beside().await, node.beside().await);
    let client = Client::reserve(&node, &node.key).await;
    client.at(&third.site).start("early", &numbers_of("a")).await;
    let mut stream = client.at(&second.site).open().await;
    client.start("here", &numbers_of("a")).await;
    client.at(&third.site).start("there", &numbers_of("a")).await;
    let channel = Channel::parse("a").expect("a good channel");
    let listeners = || second.app.feeds.listeners(node.project.id, &channel);
    let reach = async |count| {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while listeners() != count {
            looks.tick().await;
        }
    };
    tokio::time::timeout(crate::node::SOON, reach(3)).await.expect("all three run");
    node.publish("a", &["1".to_owned()]).await;
    let seen: HashSet<_> = stream.numbers_by_id(3).await.into_iter().collect();
    let expected = ["early", "here", "there"].map(|id| (id.to_owned(), 1));
    assert_eq!(seen, HashSet::from(expected));
    assert_eq!(client.at(&third.site).stop("early").await.status, 200);
    assert_eq!(client.stop("there").await.status, 200);
    tokio::time::timeout(crate::node::SOON, reach(1)).await.expect("two are stopped");
    node.publish("a", &["2".to_owned()]).await;
    assert_eq!(stream.numbers_by_id(1).await, [("here".to_owned(), 2)]);
    // When the stream has left, its reservation is gone on every node.
    drop(stream);
    tokio::time::timeout(crate::node::SOON, reach(0)).await.expect("it has left");
    let gone = async || {
        while client.post("late", &numbers_of("a")).await.status != StatusCode::NOT_FOUND {}
    };
    tokio::time::timeout(crate::node::SOON, gone()).await.expect("it is forgotten");
    let reopened = client.at(&third.site).ask(Method::GET).header("accept", EVENTS);
    assert_eq!(code(&answer(reopened).await), (404, json!("NOT_FOUND")));
}

/// R8: a token that was seen by others opens nothing to them, and neither does one of the same user that may do less.
#[tokio::test]
async fn a_reservation_is_of_no_use_to_others() {
    let node = Node::start().await;
    let other = node.tenant("other").await;
    let mine = node.token_of("ada", &["a.#"], HOUR);
    let client = Client::reserve(&node, &mine).await;
    let mut stream = client.open().await;
    let strangers = [
        other.key.clone(),
        node.key.clone(),
        node.token_of("eve", &["a.#"], HOUR),
        node.token_of("ada", &["a.b"], HOUR),
    ];
    for stranger in &strangers {
        let theirs = Client { site: &node, key: stranger, token: client.token.clone() };
        assert_eq!(code(&theirs.post("1", &json!({ "query": "{ __typename }" })).await).0, 404);
        assert_eq!(code(&theirs.stop("1").await).0, 404);
        assert_eq!(code(&answer(theirs.ask(Method::GET).header("accept", EVENTS)).await).0, 404);
    }
    // The same user with a renewed token is the same client.
    let renewed = node.token_of("ada", &["a.#"], 2 * HOUR);
    let again = Client { site: &node, key: &renewed, token: client.token.clone() };
    again.start("mine", &json!({ "query": "{ __typename }" })).await;
    assert_eq!(stream.expect("next").await["id"], "mine");
    assert_eq!(code(&client.post("no", &numbers_of("b")).await), (400, json!("FORBIDDEN")));
}

#[tokio::test]
async fn streams_and_reservations_are_bounded() {
    let mut settings = ApiSettings::default();
    settings.sockets.max_operations = 5;
    let node = Node::with(settings).await;
    let client = Client::reserve(&node, &node.key).await;
    let _stream = client.open().await;
    for n in 0..5 {
        client.start(&n.to_string(), &numbers_of("a")).await;
    }
    node.until_listeners("a", 5).await;
    assert_eq!(code(&client.post("5", &numbers_of("a")).await), (429, json!("TOO_MANY_OPERATIONS")));
    client.stop("0").await;
    node.until_listeners("a", 4).await;
    client.start("5", &numbers_of("a")).await;

    let waits = Client::reserve(&node, &node.key).await;
    let large = json!({ "query": format!("{{ __typename }} # {}", "x".repeat(600_000)) });
    waits.start("1", &large).await;
    assert_eq!(code(&waits.post("2", &large).await), (429, json!("TOO_MANY_OPERATIONS")));
    for _ in 1..100 {
        Client::reserve(&node, &node.key).await;
    }
    let one_more = answer(ask(&node, Method::PUT, &node.key)).await;
    assert_eq!(code(&one_more), (429, json!("TOO_MANY_OPERATIONS")));
    // Others have room, and so has whoever opens one.
    Client::reserve(&node, &node.token(&["#"], HOUR)).await;
    let _opened = waits.open().await;
    Client::reserve(&node, &node.key).await;
}

/// While PostgreSQL is away the stream goes on, and what is asked for is refused with a hint to try again.
#[tokio::test]
async fn a_stream_outlives_the_absence_of_the_database() {
    let (node, mut proxy) = Node::proxied().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    client.start("1", &numbers_of("a")).await;
    node.until_listeners("a", 1).await;
    proxy.vanish().await;
    let refused = client.post("2", &numbers_of("a")).await;
    assert_eq!(code(&refused), (503, json!("UNAVAILABLE")));
    assert!(!refused.header("retry-after").is_empty());
    proxy.accept().await.expect("the port is free");
    let peer = node.beside().await;
    let back = async || {
        while client.at(&peer.site).post("3", &numbers_of("a")).await.status != 202 {}
    };
    tokio::time::timeout(crate::node::SOON, back()).await.expect("the database is back");
    node.until_listeners("a", 2).await;
    node.publish("a", &["1".to_owned()]).await;
    let seen: HashSet<_> = stream.numbers_by_id(2).await.into_iter().collect();
    assert_eq!(seen, HashSet::from([("1".to_owned(), 1), ("3".to_owned(), 1)]));
}

#[tokio::test]
async fn a_stream_ends_with_its_credentials_and_when_its_node_drains() {
    let mut settings = ApiSettings::default();
    settings.sockets.drain_spread = Duration::from_millis(100);
    let node = Node::with(settings).await;
    let key = node.another_key().await;
    let revoked = Client::reserve(&node, &key).await;
    let mut ends = revoked.open().await;
    revoked.start("1", &numbers_of("a")).await;
    let stays = Client::reserve(&node, &node.key).await;
    let mut goes_on = stays.open().await;
    stays.start("1", &numbers_of("a")).await;
    node.until_listeners("a", 2).await;
    node.revoke(&key).await;
    assert_eq!(ends.next().await, None);
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(goes_on.numbers_by_id(1).await, [("1".to_owned(), 1)]);
    let peer = node.beside().await;
    node.app.drain.cancel();
    assert_eq!(goes_on.next().await, None, "and nothing is said of completion");
    let gone = async || {
        while stays.at(&peer.site).post("2", &numbers_of("a")).await.status != StatusCode::NOT_FOUND {}
    };
    tokio::time::timeout(crate::node::SOON, gone()).await.expect("its reservation is forgotten");
}

/// A page of an allowed origin may send what this mode needs; the answer to a preflight says so.
#[tokio::test]
async fn pages_may_reserve_and_stop() {
    let node = Node::start().await;
    for method in ["PUT", "DELETE"] {
        let preflight = ask(&node, Method::OPTIONS, "").header("origin", ORIGIN);
        let preflight = preflight.header("access-control-request-method", method);
        let preflight = answer(preflight.header("access-control-request-headers", TOKEN)).await;
        let allowed = |name: &str| preflight.header(name).to_ascii_lowercase();
        assert!(allowed("access-control-allow-methods").contains(&method.to_ascii_lowercase()));
        assert!(allowed("access-control-allow-headers").contains(TOKEN));
    }
}

/// A holder that was forgotten while it was frozen lets its streams go, so that their clients come back.
#[tokio::test]
async fn a_holder_that_others_have_forgotten_lets_its_streams_go() {
    let node = Node::start().await;
    let client = Client::reserve(&node, &node.key).await;
    let mut stream = client.open().await;
    client.start("1", &numbers_of("a")).await;
    node.until_listeners("a", 1).await;
    node.database.run("delete from stream_holders").await.expect("forgotten");
    assert_eq!(stream.next().await, None);
    let again = Client::reserve(&node, &node.key).await;
    let mut stream = again.open().await;
    again.start("1", &json!({ "query": "{ __typename }" })).await;
    assert_eq!(stream.expect("next").await["payload"], json!({"data": {"__typename": "Query"}}));
}

/// Rights that are the same in other words are the same.
#[tokio::test]
async fn rights_are_part_of_who_somebody_is() {
    let node = Node::start().await;
    let rights = RightsText { subscribe: vec!["a".to_owned()], ..RightsText::default() };
    let (one, other) =
        (node.key(&node.project.name, rights.clone()).await, node.key(&node.project.name, rights).await);
    let client = Client::reserve(&node, &one).await;
    let theirs = Client { site: &node, key: &other, token: client.token.clone() };
    assert_eq!(code(&theirs.post("1", &numbers_of("a")).await), (404, Value::from("NOT_FOUND")));
}
