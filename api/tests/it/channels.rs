//! Channels as administrators see them, and what readers notice of a purge.

use std::sync::Arc;

use nuncio_api::feed::{FeedError, OnGap, Reader, Start};
use nuncio_model::Pattern;
use nuncio_store::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{Node, SOON, Setup, Tenant};

const CHANNELS: &str = "/admin/v1/projects/shop/channels";

async fn names(node: &Node, query: &str) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("{CHANNELS}?limit=2{query}{token}"), &node.admin).await.expect(200);
        let items = page["items"].as_array().expect("a list").clone();
        names.extend(items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()));
        let Some(next) = page["nextPageToken"].as_str() else { return names };
        token = format!("&pageToken={next}");
    }
}

async fn rows(node: &Node) -> usize {
    let count = node.database.run("select count(*) from events").await.expect("the database answers");
    count.trim().parse().expect("a number")
}

async fn data(node: &Node, tenant: &Tenant, channel: &str) -> Vec<Value> {
    let page = node.get(&format!("/v1/channels/{channel}/events"), &tenant.key).await.expect(200);
    page["events"].as_array().expect("a list").iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test]
async fn channels_are_listed_and_looked_into() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    for channel in ["orders", "orders.eu.1", "orders.eu.2", "orders.us", "Stock", "ordersx"] {
        node.publish(&shop, channel, 0..3).await;
    }
    node.publish(&bank, "secret", 0..3).await;
    let all = ["Stock", "orders", "orders.eu.1", "orders.eu.2", "orders.us", "ordersx"];
    assert_eq!(names(&node, "").await, all);
    assert_eq!(names(&node, "&prefix=orders.").await, all[2..5]);
    assert_eq!(names(&node, "&namespace=orders").await, all[1..5]);
    assert_eq!(names(&node, "&pattern=orders.*.1").await, all[2..3]);
    assert_eq!(names(&node, "&pattern=orders.%23").await, all[1..5]);
    assert_eq!(names(&node, "&pattern=orders.%23&prefix=ord").await, all[1..5]);
    assert_eq!(names(&node, "&pattern=%23&prefix=orders.u").await, all[4..5]);
    for (query, field) in
        [("prefix=%00", "prefix"), ("pattern=a..b", "pattern"), ("namespace=%25", "namespace")]
    {
        let problem = node.get(&format!("{CHANNELS}?{query}"), &node.admin).await;
        assert_eq!(problem.expect_problem(400, "INVALID_REQUEST")["errors"][0]["field"], field);
    }
    let shown = node.get(&format!("{CHANNELS}/orders.us"), &node.admin).await.expect(200);
    assert_eq!(
        (&shown["namespace"], &shown["sequence"], &shown["events"], &shown["subscribers"]),
        (&json!("orders"), &json!(3), &json!(3), &json!(0))
    );
    let page = format!("{CHANNELS}/orders.us/events");
    let events = node.get(&format!("{page}?last=2&filter=data%3D%3D2"), &node.admin).await.expect(200);
    assert_eq!((&events["events"][0]["data"], &events["events"][0]["sequence"]), (&json!(2), &json!("3")));
    let after = format!("{page}?after={}", shown["cursor"].as_str().expect("a cursor"));
    assert_eq!(node.get(&after, &node.admin).await.expect(200)["events"], json!([]));
    node.get(&format!("{page}?wait=1"), &node.admin).await.expect_problem(400, "INVALID_REQUEST");
    node.get(&page, &shop.key).await.expect_problem(401, "UNAUTHENTICATED");
    for path in ["secret", "nothing", "a..b", "$system.x"] {
        node.get(&format!("{CHANNELS}/{path}"), &node.admin).await.expect_problem(404, "NOT_FOUND");
        node.get(&format!("{CHANNELS}/{path}/events"), &node.admin).await.expect_problem(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_purge_takes_events_out_of_one_channel_of_one_project() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    let cursors = node.publish(&shop, "orders", 0..10).await;
    node.publish(&shop, "stock", 0..3).await;
    node.publish(&bank, "orders", 0..3).await;
    let purge = format!("{CHANNELS}/orders:purge");
    for (wanted, code) in [
        (json!({"through": "x"}), "CURSOR_INVALID"),
        (json!({"through": cursors[0], "before": "2026-01-01T00:00:00Z"}), "INVALID_REQUEST"),
        (json!({"up": 1}), "INVALID_REQUEST"),
    ] {
        node.post(&purge, &node.admin, &wanted).await.expect_problem(400, code);
    }
    let purged = node.post(&purge, &node.admin, &json!({"through": cursors[3]})).await.expect(200);
    assert_eq!(purged, json!({"removed": 4, "oldest": cursors[3], "pending": false}));
    assert_eq!((data(&node, &shop, "orders").await.len(), rows(&node).await), (6, 12));
    let path = "/v1/channels/orders/events";
    let expired = node.get(&format!("{path}?after={}", cursors[2]), &shop.key).await;
    expired.expect_problem(410, "CURSOR_EXPIRED");
    node.get(&format!("{path}?after={}", cursors[3]), &shop.key).await.expect(200);
    let old = json!({"before": "2026-01-01T00:00:00Z"});
    assert_eq!(node.post(&purge, &node.admin, &old).await.expect(200)["removed"], 0);
    // Without a body: everything.
    let all = node.request(Method::POST, &purge, &node.admin).send().await.expect("an answer");
    assert_eq!(all.json::<Value>().await.expect("JSON")["removed"], 6);
    assert_eq!((data(&node, &shop, "stock").await.len(), data(&node, &bank, "orders").await.len()), (3, 3));
    assert_eq!(rows(&node).await, 6, "the rows are gone too");
    let next = node.post(path, &shop.key, &json!({"data": 1})).await.expect(201);
    assert_eq!(next["events"][0]["sequence"], 11, "sequences go on");
    let noted = node.get("/admin/v1/audit-log?resource=channels", &node.admin).await.expect(200);
    assert_eq!(
        (
            &noted["items"][0]["action"],
            &noted["items"][0]["resourceId"],
            &noted["items"][0]["after"]["removedEvents"]
        ),
        (&json!("purged"), &json!("orders"), &json!(6)),
        "{noted}"
    );
    let viewer = node.app.store.create_admin_key("v", Role::Viewer).await.expect("a key");
    node.refresh().await;
    node.post(&purge, viewer.expose(), &json!({})).await.expect_problem(403, "FORBIDDEN");
    let none = node.post(&format!("{CHANNELS}/orders"), &node.admin, &json!({})).await;
    assert_eq!(none.header("allow"), "GET,HEAD,DELETE");
    none.expect_problem(405, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_deleted_channel_comes_back_with_the_next_sequence() {
    let node = Node::start().await;
    let shop = node.tenant("shop").await;
    let cursors = node.publish(&shop, "orders", 0..5).await;
    node.publish(&shop, "stock", 0..1).await;
    let one = format!("{CHANNELS}/orders");
    node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect(204);
    assert_eq!((names(&node, "").await, rows(&node).await), (vec!["stock".to_owned()], 1));
    for method in [Method::GET, Method::DELETE] {
        node.send(method, &one, &node.admin, &json!({})).await.expect_problem(404, "NOT_FOUND");
    }
    let path = "/v1/channels/orders/events";
    node.get(&format!("{path}?after={}", cursors[1]), &shop.key).await.expect_problem(410, "CURSOR_EXPIRED");
    let next = node.post(path, &shop.key, &json!({"data": 1})).await.expect(201);
    assert_eq!(next["events"][0]["sequence"], 6);
    let shown = node.get(&one, &node.admin).await.expect(200);
    assert_eq!((&shown["events"], &shown["firstEventAt"]), (&json!(1), &shown["lastEventAt"]));
    node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect(204);
    node.send(Method::DELETE, &format!("{CHANNELS}/stock"), &node.admin, &json!({})).await.expect(204);
    assert_eq!(names(&node, "").await, [""; 0]);
}

async fn reader(node: &Node, app: &nuncio_api::App, tenant: &Tenant, start: &Start) -> Reader {
    let patterns: Arc<[Pattern]> = Arc::new([Pattern::parse("orders.#").expect("a good pattern")]);
    let project = node.project(&tenant.name).id;
    app.feeds.open(project, patterns, start, OnGap::Fail).await.expect("a place").0
}

/// What the reader is given until it has seen the event with this number, and what it is told is missing.
async fn read_through(reader: &mut Reader, last: u32) -> (Vec<String>, usize) {
    let (mut seen, mut gaps) = (Vec::new(), 0);
    while seen.last() != Some(&last.to_string()) {
        match timeout(SOON, reader.next(2)).await.expect("something comes in time") {
            Ok(chunk) => seen.extend(
                chunk.events.iter().map(|e| String::from_utf8_lossy(e.draft.data.bytes()).into_owned()),
            ),
            Err(FeedError::Lost(lost)) => {
                gaps += 1;
                reader.skip(&lost);
            }
            Err(error) => panic!("{error}"),
        }
    }
    (seen, gaps)
}

/// What a node holds in memory would be given out long after a purge: to those who are slow, and to those who come back.
#[tokio::test]
async fn nothing_purged_is_given_out_of_memory_on_any_node() {
    let node = Node::build(Setup::default()).await;
    let shop = node.tenant("shop").await;
    let peer = node.beside().await;
    let first = node.publish(&shop, "orders.eu", 0..1).await.remove(0);
    let mut readers = Vec::new();
    for app in [&node.app, &peer.app] {
        for start in [Start::Now, Start::After(first.clone())] {
            readers.push(reader(&node, app, &shop, &start).await);
        }
    }
    node.publish(&shop, "orders.eu", 1..7).await;
    // All of them have it in memory now, and have taken no more than two of the six; one of each node holds a page.
    for reader in &mut readers {
        assert_eq!(read_through(reader, 2).await, (vec!["1".to_owned(), "2".to_owned()], 0));
    }
    node.publish(&shop, "orders.us", 7..8).await;
    let purged = node.post(&format!("{CHANNELS}/orders.eu:purge"), &node.admin, &json!({})).await.expect(200);
    assert_eq!(purged["removed"], 7);
    let project = node.project(&shop.name).id;
    let head = node.app.store.head(project).await.expect("asked");
    assert_eq!((head.purges, head.trims), (1, 1));
    // The other node learns of it by a wake.
    let learned = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
        while peer.app.feeds.purges(project) != Some(1) {
            looks.tick().await;
        }
    };
    timeout(SOON, learned).await.expect("it learns of the purge in time");
    node.publish(&shop, "orders.eu", 8..9).await;
    for reader in &mut readers {
        assert_eq!(
            read_through(reader, 8).await,
            (vec!["7".to_owned(), "8".to_owned()], 1),
            "one gap is told"
        );
    }
    // Who comes back finds nothing of it either.
    for app in [&node.app, &peer.app] {
        let patterns: Arc<[Pattern]> = Arc::new([Pattern::parse("orders.#").expect("a good pattern")]);
        let opened = app.feeds.open(project, patterns, &Start::After(first.clone()), OnGap::Skip).await;
        let (mut reader, gap) = opened.expect("a place, or a gap");
        assert!(gap.is_some());
        assert_eq!(read_through(&mut reader, 8).await, (vec!["7".to_owned(), "8".to_owned()], 0));
    }
}
