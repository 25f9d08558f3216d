//! When a stream has been silent for long, and when its reader has taken nothing for long.

use std::time::Duration;

use tokio::time::Instant;

use crate::clockwork::Watched;

/// The times of one stream. Of each kind at most one appointment is made with the clock at a time.
#[derive(Debug)]
pub(crate) struct Timing {
    watched: Watched,
    keep_alive: Duration,
    patience: Duration,
    /// When something was written last.
    spoke: Instant,
    /// When to look whether it is silent.
    listen_at: Instant,
    /// Since when what is to be written waits, without a byte of it being taken.
    stuck: Option<Instant>,
    /// When to look whether it still waits.
    stuck_at: Option<Instant>,
}

impl Timing {
    pub(crate) fn new(watched: Watched, keep_alive: Duration, patience: Duration) -> Self {
        let spoke = Instant::now();
        let listen_at = spoke + keep_alive;
        watched.ring_at(listen_at);
        Self { watched, keep_alive, patience, spoke, listen_at, stuck: None, stuck_at: None }
    }

    /// Has the bell rung at the time, too.
    pub(crate) fn ring_at(&self, time: Instant) {
        self.watched.ring_at(time);
    }

    /// Notes that something was taken.
    pub(super) fn taken(&mut self) {
        self.spoke = Instant::now();
        self.stuck = None;
    }

    /// Notes that something waits to be taken.
    pub(super) fn waits(&mut self) {
        let since = *self.stuck.get_or_insert_with(Instant::now);
        if self.stuck_at.is_none() {
            self.appoint_stuck(since);
        }
    }

    /// Whether nothing has been taken for too long.
    pub(super) fn is_stalled(&mut self) -> bool {
        let Some(at) = self.stuck_at.filter(|at| *at <= Instant::now()) else { return false };
        self.stuck_at = None;
        match self.stuck {
            Some(since) if since + self.patience <= at => true,
            Some(since) => {
                self.appoint_stuck(since);
                false
            }
            None => false,
        }
    }

    /// Whether it has been silent for so long that a sign of life is due. It is asked whenever the bell rings for time.
    pub(crate) fn is_silent(&mut self) -> bool {
        let now = Instant::now();
        if now < self.listen_at {
            return false;
        }
        let silent = self.spoke + self.keep_alive <= now;
        let last = if silent { now } else { self.spoke };
        self.listen_at = last + self.keep_alive;
        self.watched.ring_at(self.listen_at);
        silent
    }

    fn appoint_stuck(&mut self, since: Instant) {
        let at = since + self.patience;
        self.stuck_at = Some(at);
        self.watched.ring_at(at);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;

    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::clockwork::Clockwork;
    use crate::hub::Bell;

    const SECOND: Duration = Duration::from_secs(1);

    struct Kit {
        bell: Arc<Bell>,
        timing: Timing,
        _settings: (watch::Sender<i64>, watch::Sender<bool>),
    }

    impl Kit {
        fn new(keep_alive: Duration, patience: Duration) -> Self {
            let (settings, bell) = ((watch::Sender::new(0), watch::Sender::new(false)), Arc::default());
            let (changes, stale) = (settings.0.subscribe(), settings.1.subscribe());
            let clock = Clockwork::start(&TaskTracker::new(), changes, stale, CancellationToken::new());
            let timing = Timing::new(clock.watch(&bell), keep_alive, patience);
            Self { bell, timing, _settings: settings }
        }

        /// Waits until the bell rings.
        async fn rung(&self) {
            poll_fn(|context| {
                let mut causes = Vec::new();
                self.bell.register(context.waker());
                self.bell.take(&mut causes);
                if causes.is_empty() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_is_due_after_each_silence_and_not_while_something_is_taken() {
        let mut kit = Kit::new(15 * SECOND, 60 * SECOND);
        let begin = Instant::now();
        tokio::time::sleep(10 * SECOND).await;
        kit.timing.taken();
        for (due, silent) in [(15, false), (25, true), (40, true)] {
            kit.rung().await;
            assert_eq!(begin.elapsed().as_secs(), due);
            assert_eq!(kit.timing.is_silent(), silent, "{due}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_takes_nothing_at_all_is_stalled() {
        let mut kit = Kit::new(1_000 * SECOND, 60 * SECOND);
        kit.timing.waits();
        assert!(!kit.timing.is_stalled());
        tokio::time::sleep(50 * SECOND).await;
        kit.timing.taken();
        kit.timing.waits();
        kit.rung().await;
        assert!(!kit.timing.is_stalled(), "it took something ten seconds ago");
        let begin = Instant::now();
        kit.rung().await;
        assert!(kit.timing.is_stalled() && begin.elapsed().as_secs() == 50);
    }
}
