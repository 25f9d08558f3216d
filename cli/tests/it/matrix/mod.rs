//! The client matrix: unmodified clients, all at once, through the crash of every server and a drain.

mod cast;
mod judge;
mod listener;
mod report;
mod stage;

use listener::Listener;
use stage::{Fault, Stage};

use crate::event::assert_complete;

/// How many events are published around each fault; a little over 10,000 in all.
const EACH: u64 = 1_430;
/// How many of them all clients have when the fault comes.
const BEFORE: u64 = 300;
/// So the publisher is still at work when the clients are back.
const PER_SECOND: u64 = 250;

/// Starts the clients at both nodes in turn, and waits until they are joined to what is live.
async fn seat(stage: &Stage) -> Vec<Listener> {
    let api = &stage.api(0).api;
    let start = api.cursor(&stage.tenant).await;
    let seats = cast::all().into_iter().zip([0, 1].into_iter().cycle());
    let mut listeners: Vec<_> =
        seats.map(|(kind, node)| Listener::start(kind, stage, node, &start)).collect();
    api.publish(&stage.tenant, "load.first", 1..=1).await;
    for listener in &mut listeners {
        listener.until("load.first", 1).await;
    }
    listeners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_hears_everything_through_the_crash_of_every_server() {
    let mut stage = Stage::start().await;
    let start = stage.api(0).api.cursor(&stage.tenant).await;
    let mut listeners = seat(&stage).await;
    let mut outages = Vec::new();
    for (fault, before) in Fault::ALL.into_iter().zip((0..).step_by(EACH as usize)) {
        let publisher = stage.publish(before + 1, EACH, PER_SECOND);
        for listener in &mut listeners {
            listener.until("load.steady", before + BEFORE).await;
        }
        outages.push(stage.suffer(fault).await);
        publisher.succeed().await;
        for listener in &mut listeners {
            listener.until("load.steady", before + EACH).await;
        }
    }
    // Whatever came too often has come before this.
    let api = &stage.api(0).api;
    api.publish(&stage.tenant, "load.last", 1..=1).await;
    let log = api.history(&stage.tenant, "load.*", Some(&start)).await;
    assert_complete(&log, "load.steady", Fault::ALL.len() as u64 * EACH);
    for listener in &mut listeners {
        listener.until("load.last", 1).await;
        let repeats = judge::judge(listener.kind.way, &listener.heard, &outages, &log);
        let repeats = repeats.unwrap_or_else(|wrong| panic!("{}: {wrong}", listener.kind.name));
        report::report(listener, &outages, repeats);
    }
}
