//! Many writers at once, killed and frozen in the middle.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nuncio_store::{Outcome, Store};

use crate::kit::{assert_gapless, entry, kit, options, patterns};

/// Ten writers with overlapping channels and ids; each id is published by two of them.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_writers_leave_no_hole_no_repeat_and_no_deadlock() {
    let kit = kit().await;
    let writers = (0..10_u32).map(|writer| {
        let (store, project) = (kit.store.clone(), kit.project);
        tokio::spawn(async move {
            for round in 0..20_u32 {
                let entries = (0..15_u32).map(|n| {
                    // The order of channels differs from writer to writer: rows locked as they come would deadlock.
                    let channel = (n * (writer + 3)) % 7;
                    entry(
                        n,
                        &format!("c.{channel}"),
                        &format!("{}-{round}-{n}", writer / 2 * 7 + channel),
                        "1",
                    )
                });
                store.append(project, entries.collect()).await.expect("no append fails");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no writer panics");
    }
    let log = kit.dump().await;
    assert_gapless(&log);
    let distinct: HashSet<(&String, &String)> = log.iter().map(|(_, channel, _, id)| (channel, id)).collect();
    assert_eq!(distinct.len(), log.len(), "no (channel, id) is there twice");
}

/// A reader that always asks for what comes after its place must see every position once: were positions committed out
/// of order, it would pass over the one committed late.
#[tokio::test(flavor = "multi_thread")]
async fn commit_order_is_cursor_order() {
    let kit = kit().await;
    let writers = (0..6_u32).map(|writer| {
        let (store, project) = (kit.store.clone(), kit.project);
        tokio::spawn(async move {
            for n in 0..60 {
                let entries = vec![entry(0, &format!("w{writer}"), &n.to_string(), "1")];
                store.append(project, entries).await.expect("no append fails");
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut after, mut seen) = (0, Vec::new());
    while seen.len() < 360 {
        let page = kit.store.page(kit.project, &patterns(&["#"]), after, 1_000).await.expect("it is read");
        seen.extend(page.events.iter().map(|event| event.position));
        after = page.through;
    }
    assert_eq!(seen, (1..=360).collect::<Vec<_>>());
    for writer in writers {
        writer.await.expect("no writer panics");
    }
}

/// A writer whose process stands still in the middle of its transaction holds the project's lock: the server must end
/// that transaction, and the next writer must go on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_does_not_stop_its_project() {
    let kit = kit().await;
    kit.fill("a", 3).await;
    let frozen = kit.hold_the_lock().await;
    let begun = Instant::now();
    let appended = kit.append(&[("a", "next", "1")]).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    assert!(matches!(appended.outcomes[..], [Outcome::Stored(place)] if place.position == 4));
    drop(frozen);
    assert_gapless(&kit.dump().await);
}

/// Backends are ended again and again while writers go on; what was confirmed must be there, once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_writers_lose_nothing_that_was_confirmed() {
    let kit = kit().await;
    let store = Store::connect(&options(&kit.database.url)).await.expect("the database is there");
    let project = kit.project;
    let writer = tokio::spawn(async move {
        let (mut confirmed, mut failures) = (Vec::new(), 0);
        for n in 0..300 {
            let id = n.to_string();
            // Trying again with the same id until it is confirmed is what every caller does.
            while let Err(error) = store.append(project, vec![entry(0, "a", &id, "1")]).await {
                assert!(error.is_unavailable(), "{error:?}");
                failures += 1;
            }
            confirmed.push(id);
        }
        (confirmed, failures)
    });
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid() and query like '%dedupe%'";
    while !writer.is_finished() {
        kit.database.run(kill).await.expect("the database answers");
    }
    let (confirmed, failures) = writer.await.expect("the writer does not panic");
    assert!(failures > 0, "nothing was killed in the middle");
    let log = kit.dump().await;
    assert_gapless(&log);
    let ids: Vec<String> = log.into_iter().map(|(_, _, _, id)| id).collect();
    assert_eq!(ids, confirmed);
}
