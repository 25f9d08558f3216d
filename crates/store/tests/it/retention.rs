//! Retention by age and by count, and what it leaves for readers to notice.

use nuncio_model::NamespaceSettings;

use crate::kit::{Kit, kit, patterns};

async fn ids(kit: &Kit, text: &str) -> Vec<String> {
    let page = kit.store.page(kit.project, &patterns(&[text]), 0, 1_000).await.expect("it is read");
    page.events.iter().map(|event| event.draft.id.clone()).collect()
}

async fn keep(kit: &Kit, namespace: &str, settings: NamespaceSettings) {
    kit.store.create_namespace(kit.project, namespace, &settings).await.expect("it is new");
}

/// Makes the events of a channel older; retention goes by the order of times, so all before them must be as old.
async fn age(kit: &Kit, up_to: i64, seconds: i64) {
    kit.age("events", seconds, &format!("position <= {up_to}")).await;
}

#[tokio::test]
async fn old_events_go_and_readers_are_told() {
    let kit = kit().await;
    keep(&kit, "short", NamespaceSettings { retention_seconds: Some(60), ..Default::default() }).await;
    kit.append(&[("short.a", "1", "1"), ("long", "1", "1"), ("short.a", "2", "1"), ("short.b", "1", "1")])
        .await;
    age(&kit, 3, 61).await;
    kit.store.sweep_retention().await.expect("the sweep ends well");
    assert_eq!(ids(&kit, "short.a").await, [""; 0]);
    assert_eq!(
        (ids(&kit, "short.#").await, ids(&kit, "long").await),
        (vec!["1".to_owned()], vec!["1".to_owned()])
    );
    let removed = async |text, after| {
        kit.store.removed_after(kit.project, &patterns(&[text]), after).await.expect("asked")
    };
    assert_eq!((removed("short.a", 0).await, removed("short.a", 2).await), (Some(3), Some(3)));
    assert_eq!(removed("short.a", 3).await, None, "nothing of it was removed after this place");
    assert_eq!(
        (removed("#", 0).await, removed("short.b", 0).await, removed("long", 0).await),
        (Some(3), None, None)
    );
    let next = kit.append(&[("short.a", "3", "1")]).await;
    assert_eq!(next.events[0].sequence, 3, "sequences go on after what was removed");
    assert_eq!(ids(&kit, "short.a").await, ["3"]);
}

#[tokio::test]
async fn a_channel_keeps_so_many_events_and_no_more() {
    let kit = kit().await;
    keep(&kit, "few", NamespaceSettings { retention_events: Some(3), ..Default::default() }).await;
    kit.fill("few.a", 10).await;
    kit.fill("few.b", 2).await;
    kit.fill("many", 10).await;
    for _ in 0..2 {
        kit.store.sweep_retention().await.expect("the sweep ends well");
        let head = kit.store.head(kit.project).await.expect("asked");
        assert_eq!(head.trims, 1, "counted when something is removed, and only then");
        assert_eq!(ids(&kit, "few.a").await, ["few.a-8", "few.a-9", "few.a-10"]);
        assert_eq!((ids(&kit, "few.b").await.len(), ids(&kit, "many").await.len()), (2, 10));
    }
    let left = kit.database.run("select count(*) from events").await.expect("the database answers");
    assert_eq!(left.trim(), "15", "the rows are gone too");
    let repeat = kit.append(&[("few.a", "few.a-1", "1")]).await;
    assert!(repeat.events.is_empty(), "a repeat of what was removed is still a repeat");
}

#[tokio::test]
async fn partitions_are_dropped_once_nothing_in_them_is_read() {
    let kit = kit().await;
    keep(&kit, "short", NamespaceSettings { retention_seconds: Some(60), ..Default::default() }).await;
    // A partition two days back, with one event that has outlived its time.
    let partition = "
        create table events_days_0 (like events_days including defaults);
        alter table events_days attach partition events_days_0
            for values from (to_timestamp(0)) to (to_timestamp(21600));";
    kit.database.run(partition).await.expect("the database answers");
    kit.append(&[("short.a", "1", "1")]).await;
    kit.database
        .run("update events set stored_at = to_timestamp(60), class = 0")
        .await
        .expect("the database answers");
    let there =
        async || kit.database.run("select to_regclass('events_days_0') is not null").await.expect("asked");
    assert_eq!(kit.store.drop_partitions().await.expect("the drops end well"), 0, "its event is still read");
    kit.store.sweep_retention().await.expect("the sweep ends well");
    assert_eq!(there().await.trim(), "f");
    kit.append(&[("short.a", "2", "1")]).await;
    assert_eq!(ids(&kit, "short.a").await, ["2"]);
}

#[tokio::test]
async fn a_missing_partition_is_made_when_it_is_needed() {
    let kit = kit().await;
    let all = kit
        .database
        .run("select inhrelid::regclass from pg_inherits where inhparent in ('events_weeks'::regclass, 'dedupe'::regclass)")
        .await
        .expect("the database answers");
    for partition in all.lines() {
        kit.database.run(&format!("drop table {partition}")).await.expect("the database answers");
    }
    kit.append(&[("a", "1", "1")]).await;
    assert_eq!(ids(&kit, "a").await, ["1"]);
}
