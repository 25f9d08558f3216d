//! What is over a rate limit of its project waits: it is not lost, keeps its order, and keeps no worker from stopping.

use std::time::Duration;

use nuncio_devstack::testkit::{database, vhost};
use nuncio_model::{Limited, RateLimitSettings, Scope};
use tokio::time::{Instant, timeout};

use crate::stage::{Stage, TEMPLATE, eventually, prepare, publish_until_confirmed};

const EVENTS: u64 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slowed_worker_stops_in_time_and_the_next_goes_on_in_order() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let (scope, action) = (Scope::Project, Limited::Publish);
    let limit =
        RateLimitSettings { scope, action, limit: 20, period_seconds: 1, burst: Some(10), target: None };
    let made = stage.store.create_rate_limit(stage.project, &limit).await.expect("there is room");
    stage.directory.refresh().await.expect("settings");
    publish_until_confirmed(&stage.broker, &stage.names, 0..EVENTS).await;
    let (worker, start) = (stage.worker("one"), Instant::now());
    eventually("some events to be stored", async || stage.stored().await.len() > 20).await;
    let stopped = timeout(Duration::from_secs(5), worker.stop()).await;
    assert!(stopped.is_ok(), "what is held back held up the end");
    let stored = stage.stored().await;
    assert!((stored.len() as u64) < EVENTS, "it was not slowed");
    assert_eq!(stored, (0..stored.len() as u64).collect::<Vec<_>>());

    let next = stage.worker("two");
    eventually("more events to be stored", async || stage.stored().await.len() > stored.len() + 15).await;
    // At most a burst for each of the two, and the rate: it is looked at too late rather than too soon.
    let (count, elapsed) = (stage.stored().await.len(), start.elapsed());
    assert!(count as f64 <= 20.0 + elapsed.as_secs_f64() * 20.0 + 1.0, "{count} in {elapsed:?}");
    // Without the limit, what is left goes at once.
    stage.store.delete_rate_limit(stage.project, made.id, None).await.expect("it is there");
    stage.eventually_stored(&(0..EVENTS).collect::<Vec<_>>()).await;
    assert!(stage.dead_letters().await.is_empty());
    next.stop().await;
}
