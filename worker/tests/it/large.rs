//! A backlog of large messages: the prefetch counts messages alone, so that a worker once held all of them at once.

use nuncio_broker::{MAX_HELD_BYTES, Properties};
use nuncio_devstack::testkit::{database, vhost};

use crate::stage::{Stage, TEMPLATE, eventually, prepare, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_among_small_ones_are_put_aside_and_the_order_stays() {
    const SIZE: usize = 8 << 20;
    const LARGE: usize = 2 * MAX_HELD_BYTES / SIZE;
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let link = stage.declared().await;
    let publisher = link.publisher().await.expect("a channel");
    for number in 0..LARGE as u64 {
        let confirm = send(&publisher, &stage.names, number).await.expect("it is sent");
        confirm.wait().await.expect("a confirm");
        let large =
            publisher.publish(&stage.names.exchange, "orders.eu", Properties::default(), &[b'1'; SIZE]);
        large.await.expect("a confirm");
    }
    let worker = stage.worker("one");
    stage.eventually_stored(&(0..LARGE as u64).collect::<Vec<_>>()).await;
    eventually("all large ones to be put aside", async || stage.dead_letters().await.len() >= LARGE).await;
    let letters = stage.dead_letters().await;
    // None came twice, as it would where the connection was lost.
    assert_eq!(letters.len(), LARGE);
    assert!(letters.iter().all(|letter| letter.reason == "too_large" && letter.body.len() == SIZE));
    eventually("the queue to be empty", async || {
        link.waiting(&stage.names.ingest).await.expect("a queue") == 0
    })
    .await;
    worker.stop().await;
}
