//! What cannot be an event becomes a dead letter with a reason, and holds up nothing.

use nuncio_broker::Properties;
use nuncio_devstack::testkit::{database, vhost};
use nuncio_model::NamespaceSettings;
use serde_json::{Value, json};

use crate::stage::{Stage, TEMPLATE, eventually, prepare};

fn headers(all: Value) -> Properties {
    let all = all.as_object().expect("a table of headers").clone();
    all.iter().fold(Properties::default(), |properties, (name, value)| {
        properties.with_header(name, value).expect("a short name")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_kinds_of_poison_and_the_good_event_behind_them() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let link = stage.declared().await;
    let publisher = link.publisher().await.expect("a channel");
    let id = || Properties::default().with_message_id("same").expect("a short text");
    let structured =
        Properties::default().with_content_type("application/cloudevents+json").expect("a short text");
    let disagree =
        json!({"ce-specversion": "1.0", "ce-id": "1", "ce_id": "2", "ce-source": "/s", "ce-type": "t"});
    let deep = (0..100).fold(json!(1), |inner, _| json!({ "t": inner }));
    let large = vec![b'x'; 262_145];
    for (key, properties, body) in [
        ("orders..eu", headers(json!({ "deep": deep })), b"1".as_slice()),
        ("orders.eu", structured, b"{\"specversion\":\"1.0\"}"),
        ("orders.eu", headers(disagree), b"1"),
        ("orders.eu", Properties::default(), &large),
        ("orders.eu", Properties::default().with_content_encoding("gzip").expect("a short text"), b"1"),
        ("orders.eu", id(), b"7"),
        ("orders.eu", id(), b"8"),
        ("orders.eu", Properties::default(), b"9"),
    ] {
        publisher.publish(&stage.names.exchange, key, properties, body).await.expect("a confirm");
    }
    let worker = stage.worker("one");
    stage.eventually_stored(&[7, 9]).await;
    eventually("six dead letters", async || stage.dead_letters().await.len() == 6).await;
    let letters = stage.dead_letters().await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "bad_channel",
            "bad_event",
            "conflicting_headers",
            "too_large",
            "unsupported_encoding",
            "id_conflict"
        ]
    );
    assert_eq!(
        (letters[0].routing_key.as_str(), letters[0].exchange.as_str()),
        ("orders..eu", "nuncio.demo")
    );
    assert_eq!((letters[3].body.len(), letters[5].body.as_slice()), (262_145, b"8".as_slice()));
    assert_eq!(letters[2].properties["headers"]["ce_id"], "2");
    eventually("all to be acknowledged", async || {
        link.waiting(&stage.names.ingest).await.expect("a queue") == 0
    })
    .await;
    worker.stop().await;
    assert_eq!(link.waiting(&stage.names.ingest).await.expect("a queue"), 0);
}

/// PostgreSQL itself may refuse what passed every check here. Then that one message is a dead letter, not the batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgresql_refuses_is_kept_alone() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let link = stage.declared().await;
    database
        .run("alter table events add constraint test check (convert_from(data, 'UTF8') <> '2')")
        .await
        .expect("SQL");
    crate::stage::publish_until_confirmed(&stage.broker, &stage.names, 1..=3).await;
    let worker = stage.worker("one");
    stage.eventually_stored(&[1, 3]).await;
    eventually("a dead letter", async || stage.dead_letters().await.len() == 1).await;
    assert_eq!(stage.dead_letters().await[0].reason, "not_storable");
    worker.stop().await;
    drop(link);
}

/// A namespace may ask for more than the rules that hold for all events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_namespace_does_not_take_is_kept_with_its_reason() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let settings =
        |more: Value| -> NamespaceSettings { serde_json::from_value(more).expect("good settings") };
    let schema = settings(json!({"schemas": {"made": {"type": "integer"}, "*": false}}));
    let apps = settings(json!({"publishers": ["keys", "tokens"]}));
    stage.store.create_namespace(stage.project, "orders", &schema).await.expect("it is new");
    stage.store.create_namespace(stage.project, "chat", &apps).await.expect("it is new");
    stage.directory.refresh().await.expect("settings");
    let link = stage.declared().await;
    let publisher = link.publisher().await.expect("a channel");
    let made = || Properties::default().with_type("made").expect("a short text");
    let batch =
        Properties::default().with_content_type("application/cloudevents-batch+json").expect("a short text");
    let two = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"made","data":1},
                  {"specversion":"1.0","id":"2","source":"/s","type":"made","data":"2"}]"#;
    for (key, properties, body) in [
        ("orders.eu", made(), "\"1\""),
        ("orders.eu", Properties::default(), "1"),
        ("chat.a", made(), "1"),
        ("orders.eu", batch, two),
        ("orders.eu", made(), "7"),
        ("stock", Properties::default(), "8"),
    ] {
        publisher.publish(&stage.names.exchange, key, properties, body.as_bytes()).await.expect("a confirm");
    }
    let worker = stage.worker("one");
    stage.eventually_stored(&[7, 8]).await;
    eventually("four dead letters", async || stage.dead_letters().await.len() == 4).await;
    let letters = stage.dead_letters().await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["schema_mismatch", "schema_mismatch", "forbidden", "schema_mismatch"]);
    assert!(letters[0].detail.contains("value is not of type \"integer\""), "{}", letters[0].detail);
    worker.stop().await;
}
