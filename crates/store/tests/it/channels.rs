//! Purges beside appends and sweeps, and what is left of a channel.

use std::sync::Arc;

use nuncio_model::{Channel, NamespaceSettings};
use nuncio_store::{Error, PurgeThrough};

use crate::kit::{Kit, add_project, entry, kit, patterns};

fn channel(name: &str) -> Channel {
    Channel::parse(name).expect("a good channel")
}

async fn left(kit: &Kit) -> String {
    kit.database.run("select count(*) from events").await.expect("the database answers").trim().to_owned()
}

#[tokio::test]
async fn a_large_purge_is_done_in_steps_and_leaves_other_channels_alone() {
    let kit = kit().await;
    kit.fill("large", 12_000).await;
    kit.fill("small", 3).await;
    let other = add_project(&kit.store, "other").await;
    kit.store.append(other, vec![entry(0, "large", "1", "1")]).await.expect("the database is there");
    let purged =
        kit.store.purge_channel(kit.project, &channel("large"), PurgeThrough::Now).await.expect("purged");
    assert_eq!((purged.events, purged.through, purged.pending), (12_000, 12_000, false));
    assert_eq!(left(&kit).await, "4");
    let again =
        kit.store.purge_channel(kit.project, &channel("large"), PurgeThrough::Now).await.expect("purged");
    assert_eq!((again.events, again.through, again.head.purges), (0, 12_000, 1));
    let unknown = kit.store.purge_channel(kit.project, &channel("unknown"), PurgeThrough::Now).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
}

/// Whoever purged may have been killed before the rows were gone.
#[tokio::test]
async fn a_sweep_removes_what_a_purge_left_behind() {
    let kit = kit().await;
    kit.fill("a", 20).await;
    let mark = "update channels set trimmed_sequence = 15, trimmed_position = 15, purge_position = 15";
    kit.database.run(mark).await.expect("the database answers");
    kit.store.sweep_purges().await.expect("the sweep ends well");
    assert_eq!(left(&kit).await, "5");
    let due = kit.database.run("select max(purge_position) from channels").await.expect("asked");
    assert_eq!(due.trim(), "0");
}

#[tokio::test]
async fn what_was_stored_before_a_time_goes() {
    let kit = kit().await;
    kit.fill("a", 4).await;
    kit.age("events", 60, "position <= 3").await;
    let before = PurgeThrough::Time(nuncio_model::Clock::system().now() - chrono::TimeDelta::seconds(30));
    let purged = kit.store.purge_channel(kit.project, &channel("a"), before).await.expect("purged");
    assert_eq!((purged.events, purged.through), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_purges_deletions_and_sweeps_do_not_get_in_each_others_way() {
    let kit = Arc::new(kit().await);
    let few = NamespaceSettings { retention_events: Some(5), ..Default::default() };
    kit.store.create_namespace(kit.project, "a", &few).await.expect("it is new");
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..3 {
        let kit = kit.clone();
        tasks.spawn(async move {
            for n in 0..40 {
                let id = |channel: &str| format!("{channel}-{writer}-{n}");
                let entries = ["a.x", "b", "c"].map(|name| entry(0, name, &id(name), "1")).to_vec();
                kit.store.append(kit.project, entries).await.expect("appended");
            }
        });
    }
    for name in ["a.x", "b", "c"] {
        let kit = kit.clone();
        tasks.spawn(async move {
            for n in 0..15 {
                let done = match n % 3 {
                    0 => kit.store.delete_channel(kit.project, &channel(name)).await,
                    _ => kit.store.purge_channel(kit.project, &channel(name), PurgeThrough::Now).await,
                };
                assert!(matches!(done, Ok(_) | Err(Error::NotFound(_))), "{done:?}");
                kit.store.sweep_retention().await.expect("the sweep ends well");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task failed");
    }
    let statement = "select name, sequence, trimmed_sequence from channels order by name";
    let channels = kit.database.run(statement).await.expect("the database answers");
    assert!(channels.lines().all(|line| line.split('|').nth(1) == Some("120")), "{channels}");
    let page = kit.store.page(kit.project, &patterns(&["#"]), 0, 1_000).await.expect("it is read");
    for line in channels.lines() {
        let (name, trimmed) = (line.split('|').next(), line.split('|').nth(2).expect("three columns"));
        let trimmed: i64 = trimmed.parse().expect("a number");
        let seen: Vec<i64> = page
            .events
            .iter()
            .filter(|e| Some(e.draft.channel.as_str()) == name)
            .map(|e| e.sequence)
            .collect();
        assert_eq!(seen, (trimmed + 1..=120).collect::<Vec<_>>(), "{line}");
    }
    let fresh = kit.append(&[("b", "last", "1")]).await;
    assert_eq!(fresh.events[0].sequence, 121);
}
