//! What comes by RabbitMQ counts towards what a project uses.

use chrono::TimeDelta;
use nuncio_devstack::testkit::{database, vhost};
use nuncio_model::Clock;

use crate::stage::{Stage, TEMPLATE, prepare, publish_until_confirmed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_counts_once_however_often_it_comes() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let worker = stage.worker("one");
    publish_until_confirmed(&stage.broker, &stage.names, 0..10).await;
    // The same ids once more, and one that is new behind them.
    publish_until_confirmed(&stage.broker, &stage.names, 0..11).await;
    stage.eventually_stored(&(0..11).collect::<Vec<_>>()).await;
    worker.stop().await;
    stage.meter.write(&stage.store).await.expect("written");
    let now = Clock::system().now();
    let (first, last) = ((now - TimeDelta::days(1)).date_naive(), now.date_naive());
    let days = stage.store.usage(stage.project, first, last).await.expect("it is read");
    let events: i64 = days.iter().map(|day| day.events).sum();
    let bytes: i64 = days.iter().map(|day| day.event_bytes).sum();
    assert_eq!((events, bytes), (11, 10 + 2));
}
