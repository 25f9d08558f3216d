//! A subscriber that leaves in the middle and comes back with its cursor sees exactly the rest.

use crate::clients::{Subscriber, received, run};
use crate::event::{assert_complete, assert_same};
use crate::place::Place;

/// How many events are published, half of them while nobody listens.
const COUNT: u64 = 2_000;
/// How many events a subscriber takes before it leaves.
const TAKEN: usize = 700;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_with_a_cursor_sees_exactly_the_rest() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    let start = node.api.cursor(&tenant).await;
    let subscribe =
        |kind: Subscriber, after: &str, count| kind.start(&node.api, &tenant, "load.*", Some(after), count);

    let early =
        [Subscriber::GraphqlWs, Subscriber::EventSource].map(|kind| (kind, subscribe(kind, &start, TAKEN)));
    let mut first_half = place.publisher(&tenant, "load.amqplib", COUNT / 2);
    run("publish_amqplib.mjs", &first_half).succeed().await;
    let mut left = Vec::new();
    for (kind, subscriber) in early {
        let seen = received(&subscriber.succeed().await);
        assert_eq!(seen.len(), TAKEN);
        left.push((kind, seen));
    }

    first_half["first"] = (COUNT / 2 + 1).into();
    let publishing = run("publish_amqplib.mjs", &first_half);
    let rest = usize::try_from(COUNT).expect("a small number") - TAKEN;
    for (kind, mut seen) in left {
        let cursor = seen.last().expect("some events").cursor.clone();
        let later = received(&subscribe(kind, &cursor, rest).succeed().await);
        assert_same("history", &node.api.history(&tenant, "load.*", Some(&cursor)).await, &later);
        seen.extend(later);
        assert_complete(&seen, "load.amqplib", COUNT);
    }
    publishing.succeed().await;
    assert_complete(&node.api.history(&tenant, "load.*", Some(&start)).await, "load.amqplib", COUNT);
}
