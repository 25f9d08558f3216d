//! Subscriptions without a WebSocket, by unmodified clients: graphql-sse in both modes, and Apollo Client by multipart.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::clients::{member, received, run};
use crate::event::{assert_complete, assert_same};
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::Program;

const COUNT: u64 = 2_000;

/// A client of each kind at the first node; the single connection mode sends its requests to both in turn.
fn subscribe(nodes: [&Node; 2], tenant: &Tenant, start: &str, count: u64) -> Vec<(&'static str, Program)> {
    let urls = nodes.map(|node| node.api.url.as_str());
    let options = |more: Value| {
        let mut options = json!({
            "api": urls[0], "token": tenant.key, "channel": "load.#", "after": start, "count": count,
        });
        more.as_object().into_iter().flatten().for_each(|(name, value)| options[name] = value.clone());
        options
    };
    vec![
        ("distinct", run("subscribe_graphql_sse.mjs", &options(json!({})))),
        ("single", run("subscribe_graphql_sse.mjs", &options(json!({ "mode": "single", "apis": urls })))),
        ("multipart", run("subscribe_apollo_multipart.mjs", &options(json!({})))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_events_come_in_order_by_each_way() {
    let place = Place::new().await;
    let (first, second) = tokio::join!(place.start("api"), place.start("api"));
    let worker = place.start("worker").await;
    let tenant = place.make_project(&first, "shop").await;
    let start = first.api.cursor(&tenant).await;
    // Half of them is stored before anybody subscribes, the other half comes live.
    for n in (1..=COUNT / 2).step_by(100) {
        first.api.publish(&tenant, "load.all", n..=n + 99).await;
    }
    let mut subscribers = subscribe([&first, &second], &tenant, &start, COUNT);
    for (_, subscriber) in &mut subscribers {
        subscriber.out.find("an event", member("event")).await;
    }
    for n in (COUNT / 2 + 1..=COUNT).step_by(50) {
        second.api.publish(&tenant, "load.all", n..=n + 49).await;
    }
    let log = first.api.history(&tenant, "load.#", Some(&start)).await;
    assert_complete(&log, "load.all", COUNT);
    for (name, subscriber) in subscribers {
        let subscriber = subscriber.succeed().await;
        assert_same(name, &received(&subscriber), &log);
        assert!(!subscriber.out.text().contains("closed"), "{name} was interrupted");
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_breaks_the_streams_and_completes_none() {
    let place = Place::new().await;
    let (mut first, second) = tokio::join!(place.start("all"), place.start("api"));
    let tenant = place.make_project(&first, "shop").await;
    let start = first.api.cursor(&tenant).await;
    first.api.publish(&tenant, "load.all", 1..=10).await;
    let mut subscribers = subscribe([&first, &first], &tenant, &start, 0);
    for (_, subscriber) in &mut subscribers {
        subscriber.out.find("an event", member("event")).await;
    }
    first.program.signal(Signal::TERM);
    assert_eq!(first.program.code().await, 0);
    for (name, subscriber) in &mut subscribers {
        // What these clients take for broken they open again; an end that is told they take for final.
        subscriber.out.find("a broken connection", member("closed")).await;
        let said = subscriber.out.text();
        assert!(!said.contains("\"complete\"") && !said.contains("\"error\""), "{name}: {said}");
    }
    drop(second);
}

/// What a client cannot mend is told as an error, and ends its subscription.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mended_is_an_error_to_each_client() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    for (name, mut subscriber) in subscribe([&node, &node], &tenant, "made up", 0) {
        let told = subscriber.out.find("an error", member("error")).await;
        assert_eq!(told[0]["extensions"]["code"], "CURSOR_INVALID", "{name}: {told}");
        assert_eq!(subscriber.code().await, 1, "{name}");
    }
}
