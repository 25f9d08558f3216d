//! Publishing, consuming, settling, and the errors that tell what to do.

use std::time::Duration;

use nuncio_broker::{Broker, Error, MAX_HELD_BYTES, Properties};
use nuncio_devstack::testkit::vhost;
use nuncio_model::{ProjectName, Secret};
use serde_json::json;

use crate::eventually;

fn demo() -> ProjectName {
    ProjectName::parse("demo").expect("a good name")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_through_unchanged_and_come_again_until_acknowledged() {
    let vhost = vhost().await.expect("a virtual host");
    let broker = Broker::new(Secret::new(&vhost.url), "test");
    let link = broker.connect("one").await.expect("a connection");
    let names = link.declare_project(&demo()).await.expect("a topology");
    let publisher = link.publisher().await.expect("a channel");
    for number in 0..3 {
        let properties = Properties::default()
            .with_message_id(&format!("m-{number}"))
            .and_then(|p| p.with_header("n", &json!(number)))
            .expect("short texts");
        publisher.publish(&names.exchange, "a.b", properties, b"body").await.expect("a confirm");
    }
    let mut consumer = link.consume(&names.ingest, 10).await.expect("a consumer");
    let first = consumer.next().await.expect("a message");
    assert_eq!(
        (first.exchange.as_str(), first.routing_key.as_str(), first.returns()),
        ("nuncio.demo", "a.b", 0)
    );
    assert_eq!((first.properties.message_id(), first.properties.header("n")), (Some("m-0"), Some(json!(0))));
    link.ack_through(first.tag).await.expect("acknowledged");
    let second = consumer.next().await.expect("a message");
    assert_eq!(second.properties.message_id(), Some("m-1"));
    // The broker answers after it has taken the acknowledgement: one that is lost with its connection counts for nothing.
    link.waiting(&names.ingest).await.expect("a queue");
    drop((consumer, publisher));
    link.close().await;

    let again = broker.connect("two").await.expect("a connection");
    eventually("two messages to be back", async || again.waiting(&names.ingest).await.expect("a queue") == 2)
        .await;
    let mut consumer = again.consume(&names.ingest, 10).await.expect("a consumer");
    let second = consumer.next().await.expect("a message");
    assert_eq!((second.properties.message_id(), second.returns()), (Some("m-1"), 1));
    let third = consumer.next().await.expect("a message");
    again.ack_through(third.tag).await.expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_say_whether_to_try_again_and_keep_the_password() {
    let vhost = vhost().await.expect("a virtual host");
    let failure =
        async |url: &str| Broker::new(Secret::new(url), "test").connect("x").await.expect_err("refused");
    let no_url = failure("secret://").await;
    assert!(matches!(no_url, Error::Url) && no_url.is_final());
    let (before, host) = vhost.url.split_once('@').expect("a URL with a password");
    let (_, password) = before.rsplit_once(':').expect("a URL with a password");
    let wrong = failure(&format!("amqp://nobody:{password}x@{host}")).await;
    assert!(wrong.is_final() && !format!("{wrong:?} {wrong}").contains(password), "{wrong:?}");
    let nowhere = failure(&format!("{}-not", vhost.url)).await;
    assert!(nowhere.is_final(), "{nowhere:?}");
    assert!(!failure("amqp://127.0.0.1:1").await.is_final());

    let link = Broker::new(Secret::new(&vhost.url), "test").connect("x").await.expect("a connection");
    let publisher = link.publisher().await.expect("a channel");
    let long = publisher.send("nuncio.demo", &"x".repeat(256), Properties::default(), b"").await;
    assert!(long.is_err_and(|error| error.is_final()));
    let lost =
        publisher.publish("nuncio.nothing", "x", Properties::default(), b"").await.expect_err("no exchange");
    assert!(!lost.is_final(), "the exchange may be made yet: {lost:?}");
}

/// A prefetch counts messages alone: twenty of 16 MiB were once all held at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_are_taken_as_there_is_room_on_one_connection_that_lives_on() {
    const SIZE: usize = 6 << 20;
    let vhost = vhost().await.expect("a virtual host");
    // Heartbeats of a second: the connection would end after two of silence.
    let broker = Broker::new(Secret::new(format!("{}?heartbeat=1", vhost.url)), "test");
    let link = broker.connect("one").await.expect("a connection");
    let names = link.declare_project(&demo()).await.expect("a topology");
    let other = broker.connect("publisher").await.expect("a connection");
    let publisher = other.publisher().await.expect("a channel");
    for number in 0..20 {
        let body = vec![number; SIZE];
        publisher.publish(&names.exchange, "a.b", Properties::default(), &body).await.expect("a confirm");
    }
    // Whoever ends with full hands keeps nothing.
    let first = broker.connect("first").await.expect("a connection");
    let consumer = first.consume(&names.ingest, 2_000).await.expect("a consumer");
    eventually("its hands to be full", async || first.held() + SIZE > MAX_HELD_BYTES).await;
    first.close().await;
    let back = async || other.waiting(&names.ingest).await.expect("a queue") == 20;
    eventually("all to be back", back).await;
    drop(consumer);

    let mut consumer = link.consume(&names.ingest, 2_000).await.expect("a consumer");
    eventually("its hands to be full", async || link.held() + SIZE > MAX_HELD_BYTES).await;
    assert!(link.unless_full(link.waiting(&names.ingest)).await.is_none(), "no answer can come");
    // Much longer than the library bears to hear nothing.
    let began = tokio::time::Instant::now();
    eventually("five seconds to pass", async || began.elapsed() > Duration::from_secs(5)).await;
    for number in 0..20 {
        let message = consumer.next().await.expect("a message, on the same connection");
        assert_eq!((message.body.len(), message.body[0], message.returns()), (SIZE, number, 1));
        assert!(link.held() <= MAX_HELD_BYTES, "{}", link.held());
        link.ack_through(message.tag).await.expect("acknowledged");
    }
    eventually("nothing to be in hand", async || link.held() == 0).await;
    let waiting = link.unless_full(link.waiting(&names.ingest)).await.expect("an answer");
    assert_eq!(waiting.expect("a queue"), 0);
}
