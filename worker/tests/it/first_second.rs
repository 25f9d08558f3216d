//! A project's first second: publishers may come before anything is ready for them.

use std::time::Duration;

use nuncio_broker::Names;
use nuncio_devstack::testkit::{database, vhost};
use nuncio_model::ProjectName;
use reqwest::Method;
use tokio::time::Instant;

use crate::stage::{Stage, TEMPLATE, make_project, prepare, publish_until_confirmed};

/// Two workers, so that for half of the projects the one that declares is not the one that reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_confirmed_right_after_creation_is_stored() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let mut stage = Stage::set(&database.url, &vhost.url).await;
    let workers = [stage.worker("one"), stage.worker("two")];
    publish_until_confirmed(&stage.broker, &stage.names, 0..1).await;
    for name in ["second", "third"] {
        stage.project = make_project(&stage.store, name).await;
        let (made, names) = (Instant::now(), Names::of(&ProjectName::parse(name).expect("a good name")));
        publish_until_confirmed(&stage.broker, &names, 0..100).await;
        assert!(made.elapsed() < Duration::from_secs(10), "{:?}", made.elapsed());
        stage.eventually_stored(&(0..100).collect::<Vec<_>>()).await;
    }
    for worker in workers {
        worker.stop().await;
    }
}

/// Somebody deletes the queue, and then the binding: what is published meanwhile is confirmed, so it is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_without_a_queue_or_a_binding_is_stored_in_order() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    stage.declared().await.close().await;
    let delete = async |path: &[&str]| vhost.management.call(Method::DELETE, path, None).await.expect("gone");
    delete(&["queues", &vhost.name, &stage.names.ingest]).await;
    publish_until_confirmed(&stage.broker, &stage.names, 0..1_500).await;
    stage.declared().await.close().await;
    delete(&["bindings", &vhost.name, "e", &stage.names.exchange, "q", &stage.names.ingest, "%23"]).await;
    publish_until_confirmed(&stage.broker, &stage.names, 1_500..1_600).await;
    let worker = stage.worker("one");
    stage.eventually_stored(&(0..1_600).collect::<Vec<_>>()).await;
    // The queue goes once more, under the worker's hands: it makes it anew and goes on.
    delete(&["queues", &vhost.name, &stage.names.ingest]).await;
    publish_until_confirmed(&stage.broker, &stage.names, 1_600..1_700).await;
    stage.eventually_stored(&(0..1_700).collect::<Vec<_>>()).await;
    worker.stop().await;
}
