//! Servers and workers are killed while a publisher waits for its confirms: nothing is lost, nothing doubled, and the
//! order stays.

use std::time::Duration;

use nuncio_devstack::testkit::{database, database_in, vhost, vhost_in};
use nuncio_devstack::{Postgres, PostgresOptions, Rabbit, RabbitOptions};
use tokio::time::Instant;

use crate::stage::{Stage, TEMPLATE, eventually, prepare, publish_until_confirmed};

const EVENTS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_is_killed_and_comes_back() {
    let (database, rabbit) =
        tokio::join!(database(TEMPLATE, prepare), Rabbit::start(RabbitOptions::scratch()));
    let (database, mut rabbit) = (database.expect("a database"), rabbit.expect("a broker"));
    let vhost = vhost_in(&rabbit).await.expect("a virtual host");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let worker = stage.worker("one");
    let publishing = tokio::spawn({
        let (broker, names) = (stage.broker.clone(), stage.names.clone());
        async move { publish_until_confirmed(&broker, &names, 0..EVENTS).await }
    });
    eventually("some events to be stored", async || stage.stored().await.len() > 200).await;
    rabbit.kill().await.expect("a dead broker");
    rabbit.restart().await.expect("a live broker");
    publishing.await.expect("all confirmed");
    stage.eventually_stored(&(0..EVENTS).collect::<Vec<_>>()).await;
    worker.stop().await;
    drop(vhost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_killed_and_comes_back() {
    let (vhost, postgres) = tokio::join!(vhost(), Postgres::start(PostgresOptions::scratch()));
    let (vhost, mut postgres) = (vhost.expect("a virtual host"), postgres.expect("a server"));
    let database = database_in(&postgres, TEMPLATE, prepare).await.expect("a database");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let worker = stage.worker("one");
    let publishing = tokio::spawn({
        let (broker, names) = (stage.broker.clone(), stage.names.clone());
        async move { publish_until_confirmed(&broker, &names, 0..EVENTS).await }
    });
    for _ in 0..2 {
        let before = stage.stored().await.len();
        eventually("more events to be stored", async || stage.stored().await.len() > before + 200).await;
        postgres.kill().await.expect("a dead server");
        postgres.restart().await.expect("a live server");
    }
    publishing.await.expect("all confirmed");
    stage.eventually_stored(&(0..EVENTS).collect::<Vec<_>>()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_takes_over_within_ten_seconds() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let mut workers = vec![stage.worker("one"), stage.worker("two")];
    publish_until_confirmed(&stage.broker, &stage.names, 0..100).await;
    stage.eventually_stored(&(0..100).collect::<Vec<_>>()).await;
    // Which of the two has the project is for them to decide; in the end each has been killed once.
    for round in 1..=2 {
        workers.remove(0).kill().await;
        let killed = Instant::now();
        publish_until_confirmed(&stage.broker, &stage.names, round * 100..round * 100 + 100).await;
        stage.eventually_stored(&(0..round * 100 + 100).collect::<Vec<_>>()).await;
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
        workers.push(stage.worker(["three", "four"][round as usize - 1]));
    }
    for worker in workers {
        worker.stop().await;
    }
}

/// A worker that took suspect messages one by one once gave the last one back when it was told to stop. RabbitMQ puts
/// such a message behind all others that have come back, so that it was stored after two thousand later ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_in_a_backlog_hands_it_over_in_order() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let all: Vec<u64> = (0..2_500).collect();
    publish_until_confirmed(&stage.broker, &stage.names, all.iter().copied()).await;
    let mut workers = vec![stage.worker("one"), stage.worker("two")];
    for number in 3..9 {
        let before = stage.stored().await.len();
        let moves = async || stage.stored().await.len() > before.min(all.len() - 1);
        eventually("more events to be stored", moves).await;
        workers.push(stage.worker(&format!("number {number}")));
        workers.remove(0).stop().await;
    }
    stage.eventually_stored(&all).await;
    for worker in workers {
        worker.stop().await;
    }
}
