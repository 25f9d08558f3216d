//! Workers that die again and again with messages in hand, under a delivery limit of three.
//!
//! RabbitMQ counts each return of an unacknowledged message, and throws it out over the limit. With a large prefetch,
//! four such deaths would cost all that was in hand. Here the events are healthy, and none may be lost.

use nuncio_devstack::testkit::{database, vhost};
use reqwest::Method;
use serde_json::json;

use crate::stage::{Stage, TEMPLATE, eventually, prepare, publish_until_confirmed};

const EVENTS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_throws_no_healthy_event_away() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let policy = json!({"pattern": ".*", "apply-to": "queues", "definition": {"delivery-limit": 3}});
    let path = ["policies", &vhost.name, "limit"];
    vhost.management.call(Method::PUT, &path, Some(policy)).await.expect("a policy");
    let link = stage.declared().await;
    publish_until_confirmed(&stage.broker, &stage.names, 0..EVENTS).await;
    let waiting = async || {
        let ingest = link.waiting(&stage.names.ingest).await.expect("a queue");
        u64::from(ingest + link.waiting(&stage.names.dead).await.expect("a queue"))
    };
    // Nothing can be committed while this table has another name, so each worker dies with what it has in hand.
    database.run("alter table heads rename to hidden").await.expect("SQL");
    for _ in 0..5 {
        eventually("all to be back in the queues", async || waiting().await == EVENTS).await;
        let worker = stage.worker("one");
        eventually("something to be in hand", async || waiting().await < EVENTS).await;
        worker.kill().await;
    }
    database.run("alter table hidden rename to heads").await.expect("SQL");
    let worker = stage.worker("one");
    eventually("all events to be stored", async || stage.stored().await.len() as u64 == EVENTS).await;
    let mut stored = stage.stored().await;
    stored.sort_unstable();
    assert_eq!(stored, (0..EVENTS).collect::<Vec<_>>());
    assert!(stage.dead_letters().await.is_empty());
    worker.stop().await;
}
