//! The wake bus over a real RabbitMQ.

use std::sync::Arc;

use nuncio_broker::{Wake, WakeBus, WakeReceiver};
use nuncio_devstack::testkit::{Proxy, vhost};
use nuncio_model::{ProjectId, Secret};
use tokio_util::sync::CancellationToken;

use crate::eventually;

fn wake(project: i32, position: i64) -> Wake {
    Wake { project: ProjectId(project), epoch: 1, first: position, last: position, events: Vec::new() }
}

/// Sends wakes until one arrives, since a binding is made in the background; answers with that one.
async fn first_of(bus: &WakeBus, receiver: &mut WakeReceiver, project: i32, position: i64) -> Arc<Wake> {
    let mut arrived = None;
    eventually("a wake to arrive", async || {
        bus.send(wake(project, position));
        let next = tokio::time::timeout(std::time::Duration::from_millis(50), receiver.next()).await;
        arrived = next.ok().flatten();
        arrived.is_some()
    })
    .await;
    arrived.expect("it has just arrived")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_of_its_projects_alone_and_hears_again_after_a_cut() {
    let vhost = vhost().await.expect("a virtual host");
    let target = vhost.url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let proxy = Proxy::start(target).await.expect("a proxy");
    let stop = CancellationToken::new();
    let sender = WakeBus::amqp(Secret::new(&vhost.url), stop.clone());
    let node = WakeBus::amqp(Secret::new(proxy.rewrite(&vhost.url)), stop.clone());
    let mut receiver = node.receive();
    node.bind(ProjectId(1));
    assert_eq!(*first_of(&sender, &mut receiver, 1, 1).await, wake(1, 1));
    // Wakes of one sender keep their order, so what comes next is not of the project that nobody bound here.
    sender.send(wake(2, 1));
    loop {
        sender.send(wake(1, 2));
        let next = receiver.next().await.expect("the bus is open");
        assert_eq!(next.project, ProjectId(1));
        if next.first == 2 {
            break;
        }
    }
    proxy.cut();
    loop {
        if first_of(&sender, &mut receiver, 1, 3).await.first == 3 {
            break;
        }
    }
    // What a node sends itself, it has at once and once.
    node.send(wake(1, 4));
    loop {
        if receiver.next().await.expect("the bus is open").first == 4 {
            break;
        }
    }
    stop.cancel();
}
