//! A node that cannot tell who may still have what gives nobody anything, and goes on where it was.

use std::time::Duration;

use nuncio_broker::Wake;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::graphql_kit::{Client, Node};
use crate::node::SOON;
use crate::sse_kit::Source;
use crate::streams_kit::{self, numbers_of};

/// How long a test looks for what must not come.
const QUIET: Duration = Duration::from_millis(500);

fn events(more: &str) -> String {
    format!("subscription {{ events(channel: \"a\") {{ data {more} }} }}")
}

async fn until_paused(node: &Node, paused: bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let reached = async {
        while node.app.is_paused() != paused {
            looks.tick().await;
        }
    };
    timeout(SOON, reached).await.expect("in time");
}

/// The database is a black hole, and wakes still come in, with the events in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_while_it_is_not_known_who_may_have_it() {
    let (node, proxy) = Node::proxied().await;
    let settings = tokio::spawn(node.app.directory.clone().run(node.app.drain.clone()));
    let peer = node.beside().await;
    let cut = node.another_key().await;
    let path = {
        let keys = node.app.store.list_api_keys(node.project.id, 0, 100).await.expect("the keys");
        let id = keys.iter().find(|known| cut.starts_with(&known.prefix)).expect("the key").id;
        format!("/admin/v1/projects/demo/keys/{id}:revoke")
    };
    let mut socket = node.ready().await;
    socket.subscribe("shared", &events("")).await;
    socket.subscribe("alone", &events("@skip(if: false)")).await;
    let mut stream = Source::open(&node, "/v1/stream?channel=a", &node.key, "").await;
    stream.expect("nuncio.ready").await;
    let mut graphql = node.events(&numbers_of("a")).await;
    let mut revoked = Client::ready(&node.address, &cut).await;
    revoked.subscribe("1", &events("")).await;
    node.until_listeners("a", 5).await;
    let poll = {
        let request = node.request(Method::GET, "/v1/channels/a/events?wait=60", &node.key);
        tokio::spawn(async move { streams_kit::answer(request).await })
    };
    node.until_listeners("a", 6).await;

    let began = Instant::now();
    proxy.stall();
    until_paused(&node, true).await;
    let paused_after = began.elapsed();
    assert!(
        paused_after > Duration::from_secs(2) && paused_after < Duration::from_secs(5),
        "{paused_after:?}"
    );
    // Through a node that is not cut off.
    let revoke = peer.site.request(Method::POST, &path, &node.admin).json(&json!({}));
    streams_kit::answer(revoke).await.expect(200);
    let publish =
        peer.site.request(Method::POST, "/v1/channels/a/events", &node.key).json(&json!({"data": 7}));
    streams_kit::answer(publish).await.expect(201);
    // The client of the socket hears that it is still there, and nothing else.
    assert!(timeout(QUIET, socket.message()).await.is_err());
    socket.settle().await;
    assert!(timeout(QUIET / 5, stream.block()).await.is_err());
    assert!(timeout(QUIET / 5, graphql.next()).await.is_err());
    assert!(timeout(QUIET / 5, revoked.message()).await.is_err());
    assert!(!poll.is_finished() && node.app.is_paused());

    proxy.resume();
    let mut seen = [socket.event().await, socket.event().await];
    seen.sort_by_key(|(id, _)| id.clone());
    let seven = json!({"events": {"data": 7}});
    assert_eq!(seen, [("alone".to_owned(), seven.clone()), ("shared".to_owned(), seven)]);
    assert_eq!(stream.numbers(1).await, [7]);
    assert_eq!(graphql.numbers(1).await, [7]);
    let page: Value = timeout(SOON, poll).await.expect("in time").expect("no panic").expect(200);
    assert_eq!(page["events"][0]["data"], 7, "{page}");
    let ended = revoked.text_or_close().await;
    assert!(ended.starts_with("KEY_REVOKED"), "what was revoked meanwhile is given nothing: {ended}");
    assert!(!node.app.is_paused());
    settings.abort();
}

/// A look that takes long is no reason to hold anything back: only one that is not answered in time is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_silence_of_the_database_pauses_nothing() {
    let (node, proxy) = Node::proxied().await;
    let settings = tokio::spawn(node.app.directory.clone().run(node.app.drain.clone()));
    let mut socket = node.ready().await;
    socket.subscribe("1", &events("")).await;
    node.until_listeners("a", 1).await;
    let stored = node.append("a", &["1".to_owned()]).await;
    proxy.stall();
    // That long is the silence that this is about.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!node.app.is_paused());
    node.bus.send(Wake::of(stored).expect("there are events"));
    assert_eq!(socket.event().await.0, "1");
    proxy.resume();
    settings.abort();
}

/// A node that is stopped and goes on finds requests in its sockets. It answered them by the rights of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_on_after_a_while_lets_nobody_in_by_what_it_knew() {
    let node = Node::start().await;
    let settings = tokio::spawn(node.app.directory.clone().run(node.app.drain.clone()));
    let peer = node.beside().await;
    let cut = node.another_key().await;
    let mut socket = Client::ready(&node.address, &cut).await;
    // From here on it does not look, as one that is stopped.
    settings.abort();
    let keys = node.app.store.list_api_keys(node.project.id, 0, 100).await.expect("the keys");
    let id = keys.iter().find(|known| cut.starts_with(&known.prefix)).expect("the key").id;
    let path = format!("/admin/v1/projects/demo/keys/{id}:revoke");
    let revoke = peer.site.request(Method::POST, &path, &node.admin).json(&json!({}));
    streams_kit::answer(revoke).await.expect(200);
    until_paused(&node, true).await;
    socket
        .start("1", &json!({"query": "mutation { publish(channel: \"a\", event: {data: 1}) { cursor } }"}))
        .await;
    let refused = socket.message().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "UNAVAILABLE", "{refused}");
    let ask = async |method: Method, key: &str| {
        let request = node.request(method, "/v1/channels/a/events", key).json(&json!({"data": 1}));
        streams_kit::answer(request).await
    };
    ask(Method::POST, &cut).await.expect_problem(401, "UNAUTHENTICATED");
    ask(Method::GET, &cut).await.expect_problem(401, "UNAUTHENTICATED");
    assert!(!node.app.is_paused(), "it has looked");
    ask(Method::POST, &node.key).await.expect(201);
}
