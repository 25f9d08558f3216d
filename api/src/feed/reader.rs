//! A reader: a member that is given the events as they are, and waits for them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use nuncio_model::{Cursor, Event};

use super::error::{FeedError, Lost};
use super::member::{Member, Next};
use crate::hub::{Bell, Content};

/// Reads one project's events that match some patterns, from a place on, for as long as it is asked.
///
/// However slow its owner is, it holds a place and a page at most.
#[derive(Debug)]
pub struct Reader {
    member: Member,
    bell: Arc<Bell>,
}

/// What is next.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The matching events, oldest first. There may be none: the place has moved on all the same.
    pub events: Vec<Arc<Event>>,
    /// The place the reader is at now.
    pub cursor: Cursor,
}

impl Reader {
    pub(super) fn new(member: Member, bell: Arc<Bell>) -> Self {
        Self { member, bell }
    }

    /// The place: everything up to here has been given out.
    pub fn cursor(&self) -> Cursor {
        self.member.cursor()
    }

    /// Waits until the place moves, and gives the matching events it moved over: at most so many.
    ///
    /// While the database is away it waits. It may be dropped while it waits, and asked again.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where events it still had to give out have been removed, or the log was replaced by an older
    /// copy of itself. [`Self::skip`] goes on after that.
    pub async fn next(&mut self, max_events: usize) -> Result<Chunk, FeedError> {
        let begin = self.cursor();
        loop {
            let mut events = Vec::new();
            let next = self.member.take(|entry| {
                if let Content::Event(event) = &entry.content {
                    events.push(event.clone());
                }
                events.len() < max_events
            });
            if self.cursor() != begin {
                return Ok(Chunk { events, cursor: self.cursor() });
            }
            match next {
                Next::Behind => {
                    let page = self.member.fetch().await?;
                    self.member.turn_to(page)?;
                }
                Next::Idle => self.rung().await,
                Next::More => {}
            }
        }
    }

    /// Goes on after a place that could not be honoured, as its owner was told of it.
    pub fn skip(&mut self, lost: &Lost) {
        self.member.skip(lost);
    }

    async fn rung(&self) {
        let mut causes = Vec::new();
        poll_fn(|context| {
            self.bell.register(context.waker());
            self.bell.take(&mut causes);
            if causes.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}
