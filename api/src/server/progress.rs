//! The body of a request, which must come forward.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// How many bytes a millisecond are enough, however large the body is.
const ENOUGH: u64 = 16;

/// A body that fell too far behind.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request's body came too slowly")]
pub(crate) struct TooSlow;

/// Fails when the body is further behind than the patience for it: who sends a byte now and then would keep what was
/// made for the request for ever.
pub(super) struct Progress {
    body: Incoming,
    patience: Duration,
    /// When it was asked for first: until then its sender may be waiting for us.
    asked: Option<Instant>,
    /// How many bytes have come.
    count: u64,
    /// Runs while nothing comes.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Whether its end has come; of chunks the library does not tell before.
    ended: bool,
    unread: Unread,
}

/// Whether a body was let go of before its end. The library then closes the connection, which the answer must say
/// (RFC 9112, section 9.6): a client that keeps connections would send its next request into it.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let is_whole = self.ended || self.body.is_end_stream();
        self.unread.0.store(!is_whole, Ordering::Release);
    }
}

impl Progress {
    pub(super) fn of(body: Incoming, patience: Duration, unread: Unread) -> Self {
        Self { body, patience, asked: None, count: 0, waiting: None, ended: false, unread }
    }

    /// Ready once it is too late for what has come so far.
    fn overdue(&mut self, asked: Instant, context: &mut Context<'_>) -> Poll<()> {
        let due = asked + self.patience + Duration::from_millis(self.count / ENOUGH);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if waiting.deadline() != due {
            waiting.as_mut().reset(due);
        }
        waiting.as_mut().poll(context)
    }
}

impl Body for Progress {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let asked = *self.asked.get_or_insert_with(Instant::now);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => return self.overdue(asked, context).map(|()| Some(Err(TooSlow.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                self.count += frame.data_ref().map_or(0, |data| data.len() as u64)
            }
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(Err(_))) => {}
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
