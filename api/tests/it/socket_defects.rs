//! What a client sees of a defect of the node: 1011, on its own connection alone.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::json;

use crate::graphql_kit::Node;

/// Counts nothing, and breaks where a filter is made ready: code that runs inside an operation.
struct Defect;

impl Recorder for Defect {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        assert_ne!(key.name(), "nuncio_filters_compiled_total", "a defect, made on purpose");
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// A panic while a message was dealt with ended the connection without a word, and clients came back to do it again.
#[tokio::test]
async fn a_defect_closes_its_connection_with_1011_and_no_other() {
    // A test runs on one thread with its node.
    let _counting = metrics::set_default_local_recorder(&Defect);
    let node = Node::start().await;
    let mut bystander = node.ready().await;
    bystander.subscribe("1", "subscription { events(channel: \"a\") { data } }").await;
    node.until_listeners("a", 1).await;
    for query in [
        // In the resolver of an operation that is executed alone, and where one that is shared is planned.
        "subscription { events(channel: \"a\", filter: \"true\") { data @skip(if: false) } }",
        "subscription { events(channel: \"a\", filter: \"true\") { data } }",
    ] {
        let mut client = node.ready().await;
        client.subscribe("1", query).await;
        assert_eq!(client.close_code().await, 1011, "{query}");
    }
    node.publish("a", &["1".to_owned()]).await;
    assert_eq!(bystander.event().await, ("1".to_owned(), json!({"events": {"data": 1}})));
}
