//! Publishers and subscribers as they come from their registries: every event, once, in order, on every way.

use serde_json::json;

use crate::clients::{Subscriber, received, run};
use crate::event::{assert_complete, assert_same};
use crate::place::Place;
use crate::program::Program;

/// How many events each publisher sends.
const COUNT: u64 = 10_000;

/// Starts publishers on channels of their own, with subscribers to all of them, and compares what everybody saw.
async fn everyone_sees_the_same(publishers: &[(&str, &str, &str)]) {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    let start = node.api.cursor(&tenant).await;
    let total = publishers.len() * usize::try_from(COUNT).expect("a small number");
    let subscribe = |kind: Subscriber| kind.start(&node.api, &tenant, "load.#", Some(&start), total);
    let (socket, stream) = (subscribe(Subscriber::GraphqlWs), subscribe(Subscriber::EventSource));
    let publishing: Vec<Program> = publishers
        .iter()
        .map(|(channel, script, form)| {
            let mut options = place.publisher(&tenant, channel, COUNT);
            options["form"] = json!(form);
            run(script, &options)
        })
        .collect();
    for publisher in publishing {
        publisher.succeed().await;
    }
    let (socket, stream) = (socket.succeed().await, stream.succeed().await);
    let log = node.api.history(&tenant, "load.#", Some(&start)).await;
    for (channel, ..) in publishers {
        assert_complete(&log, channel, COUNT);
    }
    assert_eq!(log.len(), total);
    assert_same("graphql-ws", &received(&socket), &log);
    assert_same("EventSource", &received(&stream), &log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_of_pika_and_of_amqplib() {
    everyone_sees_the_same(&[
        ("load.pika", "publish_pika.py", ""),
        ("load.amqplib", "publish_amqplib.mjs", ""),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cloudevents_in_each_form_of_the_sdk() {
    everyone_sees_the_same(&[
        ("load.structured", "publish_cloudevents.py", "structured"),
        ("load.amqp-binary", "publish_cloudevents.py", "amqp_binary"),
        ("load.http-binary", "publish_cloudevents.py", "http_binary"),
    ])
    .await;
}
