//! How long a reader that takes nothing is waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Tells a slow reader from one that takes nothing at all. It has a timer only while one keeps us waiting.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    timer: Pin<Box<Sleep>>,
    /// When the reader last took something, or began to keep us waiting.
    since: Instant,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// Nobody keeps us waiting.
    pub(super) fn rest(&mut self) {
        self.waiting = None;
    }

    /// Waits on, anew where the reader has `moved`; ready when patience is at its end.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>, moved: bool) -> Poll<()> {
        let now = Instant::now();
        let begin = || Waiting { timer: Box::pin(sleep(self.limit)), since: now };
        let waiting = self.waiting.get_or_insert_with(begin);
        if moved {
            waiting.since = now;
        }
        // The timer is not set anew for each byte: it looks when it was to end, and goes on from the last one taken.
        loop {
            ready!(waiting.timer.as_mut().poll(context));
            let end = waiting.since + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            waiting.timer.as_mut().reset(end);
        }
    }
}
