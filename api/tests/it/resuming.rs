//! Resume ids: a client that sends the same variables again goes on where it is known to be, at whichever node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_model::{Cursor, Event};
use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};
use crate::node::SOON;

const QUERY: &str = "subscription($after: Cursor, $resume: ID, $channel: String = \"a\") {
    events(channel: $channel, after: $after, resume: $resume) { data } }";

fn payload(variables: &Value) -> Value {
    json!({ "query": QUERY, "variables": variables })
}

/// A client that subscribes under the id `tab`, as operation `1`.
async fn subscribed(address: &str, token: &str, after: Option<&str>) -> Client {
    let mut client = Client::ready(address, token).await;
    client.start("1", &payload(&json!({ "after": after, "resume": "tab" }))).await;
    client
}

async fn takes(client: &mut Client, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        assert_eq!(client.event().await, ("1".to_owned(), json!({ "events": { "data": n } })));
    }
}

impl Node {
    async fn publish_numbers(&self, numbers: std::ops::RangeInclusive<u32>) -> Vec<Arc<Event>> {
        self.publish("a", &numbers.map(|n| n.to_string()).collect::<Vec<_>>()).await
    }

    /// Waits until the database knows where a client began.
    async fn until_known(&self) {
        self.until("select count(position) from resumes", "1").await;
    }

    /// Waits until the database knows that a client has received everything up to this event.
    async fn until_received(&self, event: &Event) {
        self.until("select max(position) from resumes", &event.position.to_string()).await;
    }

    async fn until(&self, question: &str, answer: &str) {
        let known = async {
            let mut looks = tokio::time::interval(Duration::from_millis(10));
            while self.database.run(question).await.expect("an answer").trim() != answer {
                looks.tick().await;
            }
        };
        tokio::time::timeout(SOON, known).await.expect("it is written in time");
    }
}

#[tokio::test]
async fn what_was_received_does_not_come_again_at_another_node() {
    let node = Node::start().await;
    let other = node.beside().await;
    let events = node.publish_numbers(1..=5).await;
    let start = Cursor { position: events[0].position - 1, ..events[0].cursor() }.to_string();
    let mut client = subscribed(&node.address, &node.key, Some(&start)).await;
    takes(&mut client, 1..=5).await;
    client.answer_ping().await;
    node.until_received(&events[4]).await;
    drop(client);

    node.publish_numbers(6..=8).await;
    let mut again = subscribed(&other.site.address, &node.key, Some(&start)).await;
    takes(&mut again, 6..=8).await;
}

#[tokio::test]
async fn what_is_not_known_to_have_been_received_comes_again() {
    let node = Node::start().await;
    let first = node.publish_numbers(1..=2).await;
    let start = first[0].cursor().to_string();
    let mut client = subscribed(&node.address, &node.key, Some(&start)).await;
    takes(&mut client, 2..=2).await;
    client.answer_ping().await;
    node.until_received(&first[1]).await;
    let second = node.publish_numbers(3..=4).await;
    takes(&mut client, 3..=4).await;
    // A pong that nobody asked for confirms nothing, of a client that sends numbers back.
    client.send(r#"{"type":"pong"}"#).await;
    client.settle().await;
    drop(client);
    let mut again = subscribed(&node.address, &node.key, Some(&start)).await;
    takes(&mut again, 3..=4).await;
    again.answer_ping().await;
    node.until_received(&second[1]).await;
}

#[tokio::test]
async fn a_client_that_answers_without_numbers_is_believed_too() {
    let node = Node::start().await;
    let events = node.publish_numbers(1..=3).await;
    let mut client = subscribed(&node.address, &node.key, Some(&events[0].cursor().to_string())).await;
    takes(&mut client, 2..=3).await;
    while !client.any_text().await.starts_with(r#"{"type":"ping""#) {}
    client.send(r#"{"type":"pong"}"#).await;
    node.until_received(&events[2]).await;
}

#[tokio::test]
async fn who_listened_live_misses_nothing_of_its_absence() {
    let node = Node::start().await;
    let client = subscribed(&node.address, &node.key, None).await;
    node.until_listeners("a", 1).await;
    // Until the place where it began is known nothing could be gone on from.
    node.until_known().await;
    drop(client);
    node.until_listeners("a", 0).await;
    node.publish_numbers(1..=3).await;
    let mut again = subscribed(&node.address, &node.key, None).await;
    takes(&mut again, 1..=3).await;
}

#[tokio::test]
async fn a_client_that_is_further_than_it_is_known_to_be_goes_on_there() {
    let node = Node::start().await;
    let events = node.publish_numbers(1..=5).await;
    let cursor = |n: usize| events[n - 1].cursor().to_string();
    let mut client = subscribed(&node.address, &node.key, Some(&cursor(1))).await;
    takes(&mut client, 2..=5).await;
    drop(client);
    let mut again = subscribed(&node.address, &node.key, Some(&cursor(4))).await;
    takes(&mut again, 5..=5).await;
    // A cursor that is none is not passed over because something else is known.
    let mut bad = subscribed(&node.address, &node.key, Some("made-up")).await;
    assert_eq!(bad.error_code("1").await, "CURSOR_INVALID");
}

#[tokio::test]
async fn whoever_takes_up_an_id_ends_the_one_before_at_this_node_and_at_others() {
    let node = Node::start().await;
    let other = node.beside().await;
    let mut first = subscribed(&node.address, &node.key, None).await;
    node.until_listeners("a", 1).await;
    let mut second = subscribed(&node.address, &node.key, None).await;
    assert_eq!(first.error_code("1").await, "RESUMED_ELSEWHERE");
    let mut third = subscribed(&other.site.address, &node.key, None).await;
    assert_eq!(second.error_code("1").await, "RESUMED_ELSEWHERE");
    node.publish_numbers(1..=1).await;
    takes(&mut third, 1..=1).await;
    // The connection stays, and so does what else runs on it.
    second.start("2", &payload(&json!({ "resume": "other" }))).await;
    second.settle().await;
}

#[tokio::test]
async fn ids_of_others_and_of_other_operations_are_others() {
    let node = Node::start().await;
    let minute = Duration::from_secs(60);
    let (ada, bob) = (node.token_of("ada", &["#"], minute), node.token_of("bob", &["#"], minute));
    let events = node.publish_numbers(1..=2).await;
    let start = events[0].cursor().to_string();
    let mut of_ada = subscribed(&node.address, &ada, Some(&start)).await;
    takes(&mut of_ada, 2..=2).await;
    of_ada.answer_ping().await;
    node.until_received(&events[1]).await;
    let mut of_bob = subscribed(&node.address, &bob, Some(&start)).await;
    takes(&mut of_bob, 2..=2).await;
    let variables = json!({ "after": start, "resume": "tab", "channel": "a.#" });
    of_ada.start("2", &payload(&variables)).await;
    assert_eq!(of_ada.event().await, ("2".to_owned(), json!({ "events": { "data": 2 } })));
    of_ada.start("3", &payload(&json!({ "after": start, "resume": "7" }))).await;
    assert_eq!(of_ada.event().await, ("3".to_owned(), json!({ "events": { "data": 2 } })));
}

#[tokio::test]
async fn what_cannot_be_resumed_is_refused() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    for (n, id) in ["".to_owned(), "x".repeat(129)].into_iter().enumerate() {
        let id_of_operation = n.to_string();
        client.start(&id_of_operation, &payload(&json!({ "resume": id }))).await;
        assert_eq!(client.error_code(&id_of_operation).await, "INVALID_REQUEST");
    }
    let alone = "subscription { events(channel: \"a\", resume: \"x\") { id @skip(if: false) } }";
    client.subscribe("alone", alone).await;
    let message = client.message().await;
    assert_eq!(message["payload"][0]["extensions"]["code"], "INVALID_REQUEST", "{message}");
    assert!(message["payload"][0]["message"].as_str().is_some_and(|text| text.contains("directives")));
}

#[tokio::test]
async fn while_the_database_is_away_a_client_that_comes_back_waits() {
    let (node, mut proxy) = Node::proxied().await;
    let events = node.publish_numbers(1..=2).await;
    let start = events[0].cursor().to_string();
    let mut client = subscribed(&node.address, &node.key, Some(&start)).await;
    takes(&mut client, 2..=2).await;
    client.answer_ping().await;
    node.until_received(&events[1]).await;
    drop(client);
    proxy.vanish().await;
    let mut again = subscribed(&node.address, &node.key, Some(&start)).await;
    again.settle().await;
    proxy.accept().await.expect("its port is free");
    node.until_listeners("a", 1).await;
    node.publish_numbers(3..=3).await;
    takes(&mut again, 3..=3).await;
}

/// What was published right after the database's return came before its answer to where the log ends, and was missed.
#[tokio::test]
async fn who_begins_to_listen_while_the_database_is_away_misses_nothing_that_comes_after() {
    let (node, mut proxy) = Node::proxied().await;
    let other = node.beside().await;
    let mut early = node.ready().await;
    early.subscribe("1", "subscription { events(channel: \"a\") { data } }").await;
    node.until_listeners("a", 1).await;
    proxy.vanish().await;
    let (mut late, away) = (node.ready().await, Instant::now());
    late.subscribe("plain", "subscription { events(channel: \"a\") { data } }").await;
    late.start("resumed", &payload(&json!({ "resume": "tab" }))).await;
    late.settle().await;
    // The other node has its own way to the database.
    let publish = other.site.request(reqwest::Method::POST, "/v1/channels/a/events", &node.key);
    let answer = publish.json(&json!({ "data": 1 })).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    takes(&mut early, 1..=1).await;
    // An answer that comes at once is about now, whatever came a moment before it.
    while away.elapsed() < Duration::from_millis(500) {
        late.settle().await;
    }
    proxy.accept().await.expect("its port is free");
    let mut heard = [late.event().await, late.event().await];
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let event = json!({ "events": { "data": 1 } });
    assert_eq!(heard, [("plain".to_owned(), event.clone()), ("resumed".to_owned(), event)]);
}
