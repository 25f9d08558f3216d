//! Whether a node knows what is in force: what it delivers by the rights of long ago, it may have to have stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How old the last confirmation may be. What is revoked is to end everywhere within 5 seconds.
const LIMIT: Duration = Duration::from_secs(4);

/// When the settings of a node were last known to be those in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Freshness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    /// Milliseconds from `origin`.
    confirmed: AtomicU64,
    /// Whether anybody keeps the settings up to date. Where nobody does, they are as fresh as their owner wants them.
    kept: AtomicBool,
    stale: watch::Sender<bool>,
}

impl Default for Freshness {
    /// Confirmed now.
    fn default() -> Self {
        let (confirmed, kept) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Inner { origin: Instant::now(), confirmed, kept, stale: watch::Sender::new(false) }))
    }
}

impl Freshness {
    /// Whether the last confirmation is too old. It looks at the clock, so that a process that was frozen knows it
    /// before it does anything else.
    pub fn is_stale(&self) -> bool {
        self.0.kept.load(Ordering::SeqCst) && self.limit() <= Instant::now()
    }

    /// Tells when that changes. It may tell so more often than [`Self::is_stale`] could be seen to change, and never
    /// less often than it was seen.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.0.stale.subscribe()
    }

    /// The settings were those in force at this time, or after it.
    pub(crate) fn confirm(&self, at: Instant) {
        let at = at.saturating_duration_since(self.0.origin).as_millis() as u64;
        let before = self.0.confirmed.fetch_max(at, Ordering::SeqCst);
        // Whoever has seen that it was stale has done so by the confirmation before, and waits to be told.
        let was_stale = self.time(before) + LIMIT <= Instant::now();
        if before < at && (was_stale || *self.0.stale.borrow()) && !self.is_stale() {
            self.0.stale.send_replace(false);
        }
    }

    /// From now on the settings are kept up to date.
    pub(crate) fn keep(&self) {
        self.0.kept.store(true, Ordering::SeqCst);
    }

    /// Tells when the last confirmation has become too old, for as long as it is polled.
    pub(crate) async fn watch(&self) {
        loop {
            sleep_until(self.limit()).await;
            if self.is_stale() {
                self.0.stale.send_replace(true);
                let mut changes = self.changes();
                if changes.wait_for(|stale| !stale).await.is_err() {
                    return;
                }
            }
        }
    }

    fn limit(&self) -> Instant {
        self.time(self.0.confirmed.load(Ordering::SeqCst)) + LIMIT
    }

    fn time(&self, milliseconds: u64) -> Instant {
        self.0.origin + Duration::from_millis(milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn both_edges_are_told() {
        let freshness = Freshness::default();
        freshness.keep();
        let watching = tokio::spawn({
            let freshness = freshness.clone();
            async move { freshness.watch().await }
        });
        let mut changes = freshness.changes();
        for _ in 0..5 {
            advance(3 * SECOND).await;
            freshness.confirm(Instant::now());
        }
        assert!(!freshness.is_stale() && !changes.has_changed().expect("open"));
        let began = Instant::now();
        assert!(*changes.wait_for(|stale| *stale).await.expect("open") && freshness.is_stale());
        assert!(began.elapsed() >= LIMIT && began.elapsed() < LIMIT + SECOND / 10);
        // One that was asked for long ago confirms nothing.
        freshness.confirm(began);
        assert!(freshness.is_stale());
        freshness.confirm(Instant::now());
        assert!(!*changes.wait_for(|stale| !stale).await.expect("open") && !freshness.is_stale());
        watching.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_saw_a_stale_moment_that_nobody_watched_is_told_of_its_end() {
        let freshness = Freshness::default();
        let mut changes = freshness.changes();
        advance(LIMIT).await;
        assert!(!freshness.is_stale(), "nobody keeps it");
        freshness.keep();
        assert!(freshness.is_stale());
        freshness.confirm(Instant::now());
        timeout(SECOND, changes.changed()).await.expect("in time").expect("open");
        assert!(!freshness.is_stale());
    }
}
