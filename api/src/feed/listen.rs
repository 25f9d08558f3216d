//! The tasks that keep the rings whole: one takes wakes, one looks at the heads, and each hole is read by one reader.

use std::sync::{Arc, Weak};
use std::time::Duration;

use nuncio_broker::{Wake, WakeBus, WakeReceiver};
use nuncio_model::Pattern;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{FeedError, Inner, patiently};
use crate::hub::{Accepted, Segment, Stream};

/// How long a hole is left open: the wakes of two writers may cross.
const HOLE_WAIT: Duration = Duration::from_millis(20);
/// How often the heads are looked at where wakes come over a bus: the last one may have been lost.
const POLL_WITH_BUS: Duration = Duration::from_secs(1);
/// How often they are looked at where there is no bus between the nodes.
const POLL_ALONE: Duration = Duration::from_millis(50);
/// How long a project without readers stays in memory.
const IDLE: Duration = Duration::from_secs(60);
/// How long a page of older events is kept that nobody needs any more, at the least.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How many events one page of a hole holds.
const HOLE_PAGE: usize = 1_000;
/// Everything there is in a log: `#` alone does not stand for the channels that Nuncio writes itself.
const EVERYTHING: [&str; 3] = ["#", "$system.#", "$presence.#"];

/// Takes wakes into the rings until the node has stopped and its readers have left.
pub(super) async fn listen(inner: Arc<Inner>, mut wakes: WakeReceiver) {
    loop {
        tokio::select! {
            wake = wakes.next() => match wake {
                Some(wake) => inner.take(&wake),
                // The bus is gone; the heads tell, if later.
                None => break,
            },
            () = inner.is_over() => break,
        }
    }
}

/// Gives what comes into a project's ring to its groups, until the project is let go of or the node has stopped.
pub(super) async fn pump(inner: Arc<Inner>, stream: Weak<Stream>, advanced: Arc<Notify>) {
    loop {
        tokio::select! {
            () = advanced.notified() => {}
            () = inner.is_over() => return,
        }
        loop {
            let Some(stream) = stream.upgrade() else { return };
            if !stream.pump() {
                break;
            }
            drop(stream);
            yield_now().await;
        }
    }
}

/// Looks at the heads of the projects that have readers, all in one statement, and lets go of those without.
pub(super) async fn poll(inner: Arc<Inner>) {
    let period = if matches!(inner.bus, WakeBus::Polling(_)) { POLL_ALONE } else { POLL_WITH_BUS };
    let idle_sweeps = (IDLE.as_millis() / period.as_millis()) as u32;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut away, mut tidied) = (false, Instant::now());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = inner.is_over() => break,
        }
        for project in inner.hub.sweep(idle_sweeps) {
            inner.heads.lock().remove(&project);
            inner.bus.unbind(project);
        }
        if tidied.elapsed() >= TIDY_EVERY {
            tidied = Instant::now();
            inner.hub.tidy();
        }
        let failed = inner.look_at_heads().await.err();
        if let (Some(error), false) = (&failed, away) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the heads of the projects cannot be read"
            );
        }
        away = failed.is_some();
    }
}

impl Inner {
    fn take(self: &Arc<Self>, wake: &Wake) {
        let Some(stream) = self.hub.get(wake.project) else { return };
        if wake.events.is_empty() {
            self.look_soon();
        }
        let whole = wake.last - wake.first + 1 == wake.events.len() as i64;
        let accepted = if whole {
            let (after, through, events) = (wake.first - 1, wake.last, wake.events.clone());
            stream.accept(Segment { epoch: wake.epoch, after, through, events })
        } else {
            stream.learn_head(wake.epoch, wake.last)
        };
        if accepted == Accepted::Hole {
            // A wake without its events leaves a hole that no other wake will fill.
            self.fill(stream, if whole { HOLE_WAIT } else { Duration::ZERO });
        }
    }

    /// A wake without events may tell of a purge, of which the heads know more.
    fn look_soon(self: &Arc<Self>) {
        let inner = self.clone();
        self.tasks.spawn(async move {
            // A failure is told of by the looks to come.
            let _ = inner.stop.run_until_cancelled(inner.look_at_heads()).await;
        });
    }

    async fn look_at_heads(self: &Arc<Self>) -> nuncio_store::Result<()> {
        let projects = self.hub.active();
        if projects.is_empty() {
            return Ok(());
        }
        for (project, head) in self.store.heads(&projects).await? {
            let Some(stream) = self.hub.get(project) else { continue };
            stream.learn_trims(head.trims);
            stream.learn_purges(head.epoch, head.position, head.purges);
            stream.learn_head(head.epoch, head.position);
            if stream.hole().is_some() {
                let alone = matches!(self.bus, WakeBus::Polling(_));
                self.fill(stream, if alone { Duration::ZERO } else { HOLE_WAIT });
            }
        }
        Ok(())
    }

    /// Has the hole read from the log, unless it is being read already or closes by itself in time.
    fn fill(self: &Arc<Self>, stream: Arc<Stream>, wait: Duration) {
        if !stream.start_filling() {
            return;
        }
        let inner = self.clone();
        self.tasks.spawn(async move {
            sleep(wait).await;
            let filled = inner.stop.run_until_cancelled(inner.read_hole(&stream)).await;
            stream.stop_filling();
            if let Some(Err(error)) = filled {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a hole cannot be read from the log"
                );
            }
        });
    }

    async fn read_hole(&self, stream: &Stream) -> Result<(), FeedError> {
        let everything = EVERYTHING.map(|text| Pattern::parse(text).expect("these are good patterns"));
        while let Some((_, after, _)) = stream.hole() {
            let project = stream.project();
            let page =
                patiently(|| async { Ok(self.store.page(project, &everything, after, HOLE_PAGE).await?) })
                    .await?;
            if page.through <= after {
                break;
            }
            metrics::counter!("nuncio_feed_hole_pages_total").increment(1);
            let (epoch, through, events) = (page.head.epoch, page.through, page.events);
            // Positions have no holes: what is missing has been removed, and whoever waited for it is to be told.
            if events.len() as i64 == through - after {
                stream.accept(Segment { epoch, after, through, events });
            } else {
                stream.skip_to(epoch, through);
            }
        }
        Ok(())
    }

    /// Waits until the node is to stop and nobody reads any more.
    async fn is_over(&self) {
        self.stop.cancelled().await;
        let mut ticks = interval(Duration::from_millis(100));
        while self.hub.is_read() {
            ticks.tick().await;
        }
    }
}
