//! What clients keep open: seen and ended by administrators, on all nodes.

use std::time::Duration;

use nuncio_model::rights::RightsText;
use nuncio_store::{NodeCard, NodeState, Role};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::graphql_kit::{Client, Node};
use crate::node::{Answer, SOON, Site};
use crate::socket_raw::Raw;
use crate::sse_kit::Source;
use crate::streams_kit::{Events, ask, numbers_of};

const LIST: &str = "/admin/v1/projects/demo/connections";
const DISCONNECT: &str = "/admin/v1/projects/demo/connections:disconnect";
/// How long a token is good: longer than any test takes on a busy machine.
const LONG: Duration = Duration::from_secs(600);
const SUBSCRIPTION: &str = r#"subscription { events(channel: "room.a") { data } }"#;

async fn list(node: &Node, query: &str) -> Value {
    node.get(&format!("{LIST}{query}"), &node.admin).await.expect(200)
}

/// Lists until that shows something.
async fn list_until(node: &Node, query: &str, shows: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let listed = list(node, query).await;
            if shows(&listed) {
                return listed;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, look).await.expect("it shows that in time")
}

/// The values of one field of all items, sorted.
fn all(listed: &Value, field: &str) -> Vec<String> {
    let items = listed["items"].as_array().expect("a list");
    let mut values: Vec<_> =
        items.iter().map(|item| item[field].as_str().unwrap_or("-").to_owned()).collect();
    values.sort();
    values
}

async fn disconnect(node: &Node, order: &Value) -> Answer {
    node.send(Method::POST, DISCONNECT, &node.admin, order).await
}

async fn subscribed(address: &str, credentials: &str) -> Client {
    let mut client = Client::ready(address, credentials).await;
    client.subscribe("1", SUBSCRIPTION).await;
    client.settle().await;
    client
}

async fn streaming(site: &Site, credentials: &str) -> Source {
    let mut source = Source::open(site, "/v1/stream?channel=room.a", credentials, "").await;
    source.expect("nuncio.ready").await;
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_shows_what_is_open_on_every_node() {
    let node = Node::start().await;
    let peer = node.beside().await;
    let ada = node.token_of("ada", &["room.#"], LONG);
    let bob = node.token_of("bob", &["room.#"], LONG);
    let _socket = subscribed(&node.address, &ada).await;
    let _elsewhere = subscribed(&peer.site.address, &ada).await;
    let mut source = streaming(&peer.site, &bob).await;
    let request = ask(&node, Method::POST, &bob).header("accept", "text/event-stream");
    let _events = Events::of(request.json(&numbers_of("room.a"))).await;
    let poll = node.request(Method::GET, "/v1/channels/room.a/events?wait=60", &node.key);
    let poll = tokio::spawn(poll.header("user-agent", "x".repeat(300)).send());

    let listed = list_until(&node, "", |listed| listed["total"] == 5).await;
    assert_eq!(all(&listed, "kind"), ["graphql-sse", "long-poll", "sse", "websocket", "websocket"]);
    assert_eq!(all(&listed, "subject"), ["-", "ada", "ada", "bob", "bob"]);
    assert_eq!((&listed["incomplete"], &listed["nextPageToken"]), (&json!([]), &Value::Null));
    let items = listed["items"].as_array().expect("a list");
    assert!(items.iter().all(|item| item["address"] == "127.0.0.1" && item["waitingSeconds"] == 0.0));
    let polling = items.iter().find(|item| item["kind"] == "long-poll").expect("it is there");
    assert_eq!(polling["userAgent"].as_str().map(str::len), Some(200));
    assert!(node.key.starts_with(polling["key"].as_str().expect("a prefix")), "{polling}");

    // Every page has two at most, and together they are all.
    for sort in ["slowest", "newest", "oldest"] {
        let (mut token, mut seen) = (String::new(), Vec::new());
        loop {
            let page = list(&node, &format!("?limit=2&sort={sort}&pageToken={token}")).await;
            seen.extend(all(&page, "id"));
            match page["nextPageToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        seen.sort();
        assert_eq!(seen, all(&listed, "id"), "{sort}");
    }
    let here = items.iter().find(|item| item["kind"] == "long-poll").expect("it is there")["node"].clone();
    for (query, count) in [
        ("?subject=ada".to_owned(), 2),
        ("?kind=sse".to_owned(), 1),
        (format!("?key={}", polling["key"].as_str().expect("a prefix")), 1),
        (format!("?node={}", here.as_str().expect("a name")), 3),
        ("?node=nobody".to_owned(), 0),
        ("?subject=ada&kind=sse".to_owned(), 0),
    ] {
        assert_eq!(list(&node, &query).await["total"], count, "{query}");
    }

    node.publish("room.a", &["1".to_owned(), "2".to_owned()]).await;
    assert_eq!(source.numbers(2).await, [1, 2]);
    let answer = poll.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), 200);
    let told = |listed: &Value| listed["items"][0]["sentEvents"] == 2;
    let listed = list_until(&node, "?kind=sse", told).await;
    assert!(listed["items"][0]["sentBytes"].as_u64().expect("a number") > 200, "{listed}");
    list_until(&node, "?kind=long-poll", |listed| listed["total"] == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_is_the_first_of_the_slowest() {
    let node = Node::start().await;
    let mut good = subscribed(&node.address, &node.token_of("good", &["#"], LONG)).await;
    let mut stalled = Raw::ready(&node).await;
    stalled.text(&json!({"id": "1", "type": "subscribe", "payload": {"query": SUBSCRIPTION}})).await;
    node.until_listeners("room.a", 2).await;
    let large = format!("\"{}\"", "x".repeat(200_000));
    // More than the system holds for a socket, on both sides.
    for _ in 0..60 {
        node.publish("room.a", std::slice::from_ref(&large)).await;
        good.event().await;
    }
    let stuck = |listed: &Value| listed["items"][0]["waitingSeconds"].as_f64() > Some(0.2);
    let listed = list_until(&node, "?sort=slowest", stuck).await;
    let first = &listed["items"][0];
    assert!(first["pendingBytes"].as_u64() > Some(0) && first["behindEvents"].as_i64() > Some(0), "{first}");
    assert_eq!((&first["subject"], &first["operations"]), (&Value::Null, &json!(1)));
    let second = &listed["items"][1];
    assert_eq!((&second["subject"], &second["pendingBytes"]), (&json!("good"), &json!(0)));
    assert_eq!((&second["sentEvents"], &second["behindEvents"]), (&json!(60), &Value::Null));
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_is_cut_on_every_node_and_others_go_on() {
    let node = Node::start().await;
    let peer = node.beside().await;
    let (ada, bob) = (node.token_of("ada", &["room.#"], LONG), node.token_of("bob", &["room.#"], LONG));
    let mut here = subscribed(&node.address, &ada).await;
    let mut there = subscribed(&peer.site.address, &ada).await;
    let mut source = streaming(&peer.site, &ada).await;
    let request = ask(&node, Method::POST, &ada).header("accept", "text/event-stream");
    let mut events = Events::of(request.json(&numbers_of("room.a"))).await;
    let poll = node.request(Method::GET, "/v1/channels/room.a/events?wait=60", &ada);
    let poll = tokio::spawn(poll.send());
    let mut others = [subscribed(&node.address, &bob).await, subscribed(&peer.site.address, &bob).await];
    list_until(&node, "", |listed| listed["total"] == 7).await;

    let cut = disconnect(&node, &json!({"subject": "ada", "reason": "a test"})).await.expect(200);
    assert_eq!((&cut["disconnected"], &cut["unanswered"]), (&json!(5), &json!([])));
    assert_eq!(cut["nodes"].as_array().map(Vec::len), Some(2));
    let noted = node.get("/admin/v1/audit-log?action=disconnected", &node.admin).await.expect(200);
    assert_eq!(
        (&noted["items"][0]["after"]["subject"], &noted["items"][0]["project"]),
        (&json!("ada"), &json!("demo"))
    );
    assert_eq!((here.close_code().await, there.close_code().await), (1001, 1001));
    assert_eq!(source.expect("nuncio.goaway").await["reason"], "DISCONNECTED");
    assert!(source.next().await.is_none());
    while events.next().await.is_some() {}
    let page: Value = poll.await.expect("no panic").expect("an answer").json().await.expect("a page");
    assert_eq!((&page["events"], &page["hasMore"]), (&json!([]), &json!(false)));

    let left = list_until(&node, "", |listed| listed["total"] == 2).await;
    assert_eq!(all(&left, "subject"), ["bob", "bob"]);
    node.publish("room.a", &["7".to_owned()]).await;
    for other in &mut others {
        assert_eq!(other.event().await.1["events"]["data"], 7);
    }
    // One by its id, asked for at a node that does not hold it.
    let ids = all(&list(&node, "").await, "id");
    assert_eq!(disconnect(&node, &json!({ "ids": ids })).await.expect(200)["disconnected"], 2);
    for other in &mut others {
        assert_eq!(other.close_code().await, 1001);
    }
    // Nobody is kept out.
    let mut back = subscribed(&node.address, &ada).await;
    node.publish("room.a", &["8".to_owned()]).await;
    assert_eq!(back.event().await.1["events"]["data"], 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_answer_is_named_and_not_waited_for_forever() {
    let node = Node::start().await;
    let _client = subscribed(&node.address, &node.key).await;
    let (id, host) = ("api-frozen".to_owned(), String::new());
    let card = NodeCard { id, role: "api", version: "0", host, listen: None };
    let is_heard_of = async || {
        node.app.store.heartbeat_node(&card, &NodeState::default()).await.expect("noted");
    };
    is_heard_of().await;
    let begin = Instant::now();
    let listed = list(&node, "").await;
    assert_eq!((&listed["total"], &listed["incomplete"]), (&json!(1), &json!(["api-frozen"])));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    is_heard_of().await;
    let cut = disconnect(&node, &json!({"subject": "nobody"})).await.expect(200);
    assert_eq!((&cut["disconnected"], &cut["unanswered"]), (&json!(0), &json!(["api-frozen"])));
    // It is none of those that are asked about one of this node.
    is_heard_of().await;
    let ids = all(&listed, "id");
    let cut = disconnect(&node, &json!({ "ids": ids })).await.expect(200);
    assert_eq!((&cut["disconnected"], &cut["unanswered"]), (&json!(1), &json!([])));
    // Nothing of all that is kept.
    let left =
        node.database.run("select (select count(*) from errands) + (select count(*) from errand_answers)");
    assert_eq!(left.await.expect("an answer").trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_projects_connections_are_neither_seen_nor_ended() {
    let node = Node::start().await;
    let other = node.tenant("other").await;
    let mut client = subscribed(&node.address, &node.key).await;
    let ids = all(&list(&node, "").await, "id");
    let elsewhere = node.get("/admin/v1/projects/other/connections", &node.admin).await.expect(200);
    assert_eq!((&elsewhere["total"], &elsewhere["items"]), (&json!(0), &json!([])));
    let key = &node.key[..8];
    for order in [json!({ "ids": ids }), json!({ "key": key })] {
        let path = "/admin/v1/projects/other/connections:disconnect";
        let cut = node.send(Method::POST, path, &node.admin, &order).await.expect(200);
        assert_eq!(cut["disconnected"], 0, "{order}");
    }
    client.settle().await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_only_look_ends_nothing_and_what_is_wrong_is_named() {
    let node = Node::start().await;
    let viewer = node.app.store.create_admin_key("viewer", Role::Viewer).await.expect("a key");
    node.refresh().await;
    node.get(LIST, viewer.expose()).await.expect(200);
    let order = json!({"subject": "ada"});
    node.send(Method::POST, DISCONNECT, viewer.expose(), &order).await.expect_problem(403, "FORBIDDEN");
    node.send(Method::POST, DISCONNECT, "", &order).await.expect_problem(401, "UNAUTHENTICATED");
    for (order, field) in [
        (json!({}), "ids"),
        (json!({"ids": []}), "ids"),
        (json!({"key": ""}), "key"),
        (json!({"subject": "ada", "reason": "x".repeat(257)}), "reason"),
        (json!({"subjects": ["ada"]}), "subjects"),
    ] {
        let problem = disconnect(&node, &order).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let query = format!("{LIST}?sort=fastest&kind=fax&limit=201&pageToken=x");
    let problem = node.get(&query, &node.admin).await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(4), "{problem}");
    let nobody = RightsText::default();
    let key = node.key(&node.project.name, nobody).await;
    node.get(LIST, &key).await.expect_problem(401, "UNAUTHENTICATED");
}
