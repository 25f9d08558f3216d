//! When a stream has been silent for long, and when its reader has taken nothing for long.

use std::time::Duration;

use tokio::time::Instant;

use crate::clockwork::Watched;

/// The times of one stream. Of each kind at most one appointment is made with the clock at a time.
#[derive(Debug)]
pub(super) struct Timing {
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
    pub(super) fn new(watched: Watched, keep_alive: Duration, patience: Duration) -> Self {
        let spoke = Instant::now();
        let listen_at = spoke + keep_alive;
        watched.ring_at(listen_at);
        Self { watched, keep_alive, patience, spoke, listen_at, stuck: None, stuck_at: None }
    }

    /// Has the bell rung at the time, too.
    pub(super) fn ring_at(&self, time: Instant) {
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
    pub(super) fn is_silent(&mut self) -> bool {
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
