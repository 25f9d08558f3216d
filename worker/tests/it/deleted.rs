//! Deleting a project once left its exchanges and queues: publishers went on filling a queue that nobody read.

use nuncio_broker::{Broker, Error, Link, Properties};
use nuncio_devstack::testkit::{Proxy, TestVhost, database, vhost};
use nuncio_model::{ProjectName, Secret};

use crate::stage::{Stage, TEMPLATE, eventually, make_project, prepare, publish_until_confirmed};

/// What RabbitMQ has of the project `demo`.
async fn left(vhost: &TestVhost) -> Vec<String> {
    let mut names = Vec::new();
    for kind in ["exchanges", "queues"] {
        let all = vhost.management.call(Default::default(), &[kind, &vhost.name], None).await;
        let all = all.expect("a list");
        let of = |item: &serde_json::Value| item["name"].as_str().map(str::to_owned);
        names.extend(all.as_array().expect("a list").iter().filter_map(of));
    }
    names.retain(|name| name.ends_with("demo") && !name.starts_with("nuncio.claim."));
    names
}

async fn publish_once(link: &Link, exchange: &str) -> Result<(), Error> {
    link.publisher().await?.publish(exchange, "orders.eu", Properties::default(), b"1").await
}

async fn delete(stage: &Stage) {
    stage.store.delete_project(stage.project, None).await.expect("it is deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_are_refused_once_a_project_is_deleted() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let workers = [stage.worker("one"), stage.worker("two")];
    publish_until_confirmed(&stage.broker, &stage.names, 0..10).await;
    stage.eventually_stored(&(0..10).collect::<Vec<_>>()).await;
    delete(&stage).await;
    let link = stage.broker.connect("publisher").await.expect("a connection");
    let mut refused = None;
    eventually("publishers to be refused", async || {
        refused = publish_once(&link, &stage.names.exchange).await.err();
        refused.is_some()
    })
    .await;
    assert!(refused.as_ref().is_some_and(Error::is_not_found), "{refused:?}");
    eventually("all to be gone", async || left(&vhost).await.is_empty()).await;
    eventually("nothing to be left to do", async || {
        stage.store.abandoned_topologies().await.expect("an answer").is_empty()
    })
    .await;
    // Nobody who was late to learn of it has made anything anew.
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(left(&vhost).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_outlives_workers_that_were_down_and_a_broker_that_was_away() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let target = vhost.url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let mut proxy = Proxy::start(target).await.expect("a proxy");
    let stage = Stage::set(&database.url, &proxy.rewrite(&vhost.url)).await;
    stage.declared().await.close().await;
    publish_until_confirmed(&stage.broker, &stage.names, 0..10).await;
    delete(&stage).await;
    stage.directory.refresh().await.expect("settings");
    proxy.refuse().await;
    stage.worker("one").kill().await;
    let worker = stage.worker("two");
    assert_eq!(left(&vhost).await.len(), 7, "the broker cannot be reached");
    proxy.accept().await.expect("a port");
    eventually("all to be gone", async || left(&vhost).await.is_empty()).await;
    worker.stop().await;
}

/// The same name is given again at once, while two workers remove what the last one has left: whatever is confirmed
/// from then on is the new project's, and there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_of_the_same_name_loses_nothing() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let mut stage = Stage::set(&database.url, &vhost.url).await;
    let workers = [stage.worker("one"), stage.worker("two")];
    for round in 0..8 {
        let numbers = round * 200..round * 200 + 200;
        publish_until_confirmed(&stage.broker, &stage.names, numbers.clone()).await;
        eventually("all events to be stored", async || stage.stored().await.len() >= 200).await;
        // A worker that still served the last project has given some of them back.
        let mut stored = stage.stored().await;
        stored.sort_unstable();
        assert_eq!(stored, numbers.collect::<Vec<_>>());
        delete(&stage).await;
        if round % 2 == 1 {
            // In every other round the removal has begun.
            eventually("something to be gone", async || left(&vhost).await.len() < 7).await;
        }
        stage.project = make_project(&stage.store, "demo").await;
    }
    eventually("the topology to be whole", async || left(&vhost).await.len() == 7).await;
    eventually("nothing to be left to do", async || {
        stage.store.abandoned_topologies().await.expect("an answer").is_empty()
    })
    .await;
    assert_eq!(left(&vhost).await.len(), 7);
    for worker in workers {
        worker.stop().await;
    }
}

/// A process that was frozen while it removed a topology must do no harm when it wakes: its claim is its connection's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_its_connection_loses_the_claim_and_does_nothing_more() {
    let vhost = vhost().await.expect("a virtual host");
    let target = vhost.url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let proxy = Proxy::start(target).await.expect("a proxy");
    let demo = ProjectName::parse("demo").expect("a good name");
    let connect = async |url: &str| Broker::new(Secret::new(url), "test").connect("x").await.expect("a link");
    let (frozen, other) = (connect(&proxy.rewrite(&vhost.url)).await, connect(&vhost.url).await);
    let lost = frozen.claim(&demo).await.expect("the claim");
    let waiting = tokio::spawn(async move {
        let names = other.declare_project(&demo).await.expect("a topology");
        (other, names)
    });
    lost.close_entrance().await.expect("nothing is there");
    assert!(!waiting.is_finished(), "the claim is one connection's");
    proxy.cut();
    let (other, names) = waiting.await.expect("the claim is free");
    assert!(lost.remove().await.is_err());
    publish_once(&other, &names.exchange).await.expect("all is there");
    assert_eq!(left(&vhost).await.len(), 7);
}
