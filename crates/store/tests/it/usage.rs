//! What projects use, added up over nodes and days.

use chrono::TimeDelta;
use nuncio_model::{Clock, ProjectId};
use nuncio_store::{DayUsage, Meter, Store, Used};

use crate::kit::{add_project, kit};

async fn total(store: &Store, project: ProjectId) -> DayUsage {
    let now = Clock::system().now();
    let (first, last) = ((now - TimeDelta::days(1)).date_naive(), now.date_naive());
    let days = store.usage(project, first, last).await.expect("it is read");
    days.iter().fold(DayUsage::default(), |sum, day| DayUsage {
        day: day.day,
        events: sum.events + day.events,
        event_bytes: sum.event_bytes + day.event_bytes,
        deliveries: sum.deliveries + day.deliveries,
        connections_opened: sum.connections_opened + day.connections_opened,
        peak_connections: sum.peak_connections.max(day.peak_connections),
    })
}

/// A node that does not hear whether its counts have arrived sends them again.
#[tokio::test]
async fn counts_that_are_sent_twice_are_added_once() {
    let kit = kit().await;
    let used =
        |events| Used { project: kit.project, events, event_bytes: 0, deliveries: 0, opened: 0, open: 0 };
    let elsewhere = Used { project: ProjectId(999), ..used(5) };
    for (node, number, events) in [("a", 1, 10), ("a", 1, 10), ("b", 1, 3), ("a", 2, 5), ("a", 2, 5)] {
        kit.store.add_usage(node, number, &[used(events), elsewhere]).await.expect("added");
    }
    assert_eq!(total(&kit.store, kit.project).await.events, 18);
    kit.store.tidy_usage("a").await.expect("tidied");
}

#[tokio::test]
async fn the_peak_is_that_of_all_nodes_together() {
    let kit = kit().await;
    let other = add_project(&kit.store, "other").await;
    let (one, two) = (Meter::new("one"), Meter::new("two"));
    let (here, there) = (one.of(kit.project), two.of(kit.project));
    for (tally, times) in [(&here, 3), (&there, 2)] {
        (0..times).for_each(|_| tally.opened());
    }
    one.of(other).opened();
    one.write(&kit.store).await.expect("written");
    two.write(&kit.store).await.expect("written");
    let expected = (5, 5);
    let day = total(&kit.store, kit.project).await;
    assert_eq!((day.connections_opened, day.peak_connections), expected);
    // They go, and others come: never more than five at a time.
    (0..3).for_each(|_| here.closed());
    one.write(&kit.store).await.expect("written");
    one.write(&kit.store).await.expect("written");
    (0..3).for_each(|_| there.opened());
    two.write(&kit.store).await.expect("written");
    let day = total(&kit.store, kit.project).await;
    assert_eq!((day.connections_opened, day.peak_connections), (8, 5));
    assert_eq!(total(&kit.store, other).await.peak_connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_writers() {
    let kit = kit().await;
    let meter = Meter::new("one");
    let tasks = (0..4).map(|_| {
        let (tally, meter, store) = (meter.of(kit.project), meter.clone(), kit.store.clone());
        tokio::spawn(async move {
            for _ in 0..50 {
                tally.delivered(3);
                meter.write(&store).await.expect("written");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    meter.finish(&kit.store).await.expect("written");
    assert_eq!(total(&kit.store, kit.project).await.deliveries, 600);
}
