//! A private RabbitMQ: starting, coming back, crashing.

use std::pin::pin;
use std::time::Duration;

use nuncio_devstack::{Rabbit, RabbitOptions};
use reqwest::Method;
use serde_json::json;

use crate::listens;

#[tokio::test]
async fn a_killed_node_comes_back_on_its_port_with_its_durable_queues() {
    let mut node = Rabbit::start(RabbitOptions::scratch()).await.unwrap();
    node.create_vhost("v").await.unwrap();
    let management = node.management().unwrap();
    let queue = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}});
    management.call(Method::PUT, &["queues", "v", "q"], Some(queue)).await.unwrap();
    let (address, url) = (node.address(), node.url("v"));

    node.kill().await.unwrap();
    assert!(!listens(&address).await);
    node.restart().await.unwrap();

    assert_eq!(node.url("v"), url);
    assert!(node.pid().is_some());
    let found = management.queue("v", "q").await.unwrap();
    assert_eq!(found["type"], "quorum");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn two_nodes_run_side_by_side() {
    let (one, two) = tokio::join!(
        Rabbit::start(RabbitOptions::scratch()),
        Rabbit::start(RabbitOptions::scratch().management(false))
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.address(), two.address());
    assert!(two.create_vhost("v").await.is_err(), "there is no management API on the second");
    let (one, two) = tokio::join!(one.stop(), two.stop());
    one.and(two).unwrap();
}

#[tokio::test]
async fn a_frozen_node_answers_nobody_until_it_is_thawed() {
    let mut node = Rabbit::start(RabbitOptions::scratch()).await.unwrap();
    let management = node.management().unwrap();
    node.freeze();
    let (mut asked, mut noticed) =
        (pin!(management.create_vhost("v")), pin!(tokio::time::sleep(Duration::from_secs(1))));
    tokio::select! {
        answer = &mut asked => panic!("a frozen node answered: {answer:?}"),
        () = &mut noticed => {}
    }
    node.thaw();
    asked.await.unwrap();
    node.stop().await.unwrap();
}
