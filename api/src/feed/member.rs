//! A member of a group: a place in a project's log that moves on as its owner takes what there is.

use std::sync::Arc;

use nuncio_model::{Code, Cursor, Pattern};

use super::Feeds;
use super::error::{FeedError, Lost};
use super::page::{MOST_EVENTS, Pages};
use super::start::Place;
use crate::hub::{Entry, Page, Seat, Tip, Took};

/// A member of a group: it holds a place, and at most one page of older events, however slow its owner is.
#[derive(Debug)]
pub struct Member {
    feeds: Feeds,
    seat: Seat,
    place: Place,
    page: Option<Arc<Page>>,
    /// How many events the next page should hold.
    stride: usize,
}

/// What comes after [`Member::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left. The bell rings when there is more.
    Idle,
    /// The owner had enough; there may be more at once.
    More,
    /// What is next is not in memory: [`Member::fetch`] it.
    Behind,
}

impl Member {
    pub(super) fn new(feeds: Feeds, seat: Seat, place: Place) -> Self {
        Self { feeds, seat, place, page: None, stride: MOST_EVENTS }
    }

    /// The place: everything up to here has been taken.
    pub fn cursor(&self) -> Cursor {
        let Place { epoch, position, .. } = self.place;
        Cursor { project: self.seat.stream().project(), epoch, position }
    }

    /// What it reads.
    pub fn patterns(&self) -> &[Pattern] {
        self.seat.group().patterns()
    }

    /// Gives what is in memory to `sink`, oldest first, until that says that it has enough.
    pub fn take(&mut self, mut sink: impl FnMut(&Entry) -> bool) -> Next {
        if let Some(page) = &self.page
            && page.purges != self.seat.stream().purges()
        {
            // Some of it may have been purged since.
            self.page = None;
        }
        if let Some(page) = &self.page {
            let first = page.entries.partition_point(|entry| entry.position <= self.place.position);
            for entry in &page.entries[first..] {
                self.place.position = entry.position;
                if !sink(entry) {
                    return Next::More;
                }
            }
            self.place.position = page.through.max(self.place.position);
            self.page = None;
        }
        let Place { epoch, position, forgiven } = self.place;
        // Memory may still hold what has been removed; the log gives out only what is left of it.
        if position < forgiven {
            return Next::Behind;
        }
        match self.seat.take(Tip { epoch, position }, sink) {
            Took::All(position) => {
                self.place.position = position;
                Next::Idle
            }
            Took::Enough(position) => {
                self.place.position = position;
                Next::More
            }
            Took::NotHere => Next::Behind,
        }
    }

    /// Finds the page that comes next, for [`Self::turn_to`]. While the database is away it waits.
    pub fn fetch(&self) -> impl Future<Output = Result<Arc<Page>, FeedError>> + Send + use<> {
        let (feeds, stream, group) =
            (self.feeds.clone(), self.seat.stream().clone(), self.seat.group().clone());
        let (place, pages) = (self.place, Pages { feeds, stream, group, stride: self.stride });
        async move { pages.fetch(place).await }
    }

    /// Goes on with a page that was fetched.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where events that were still to come have been removed. [`Self::skip`] goes on after that.
    pub fn turn_to(&mut self, page: Arc<Page>) -> Result<(), FeedError> {
        let Place { position, forgiven, .. } = self.place;
        if page.removed > position.max(forgiven) {
            let at = |position| Cursor { project: self.seat.stream().project(), epoch: page.epoch, position };
            let (oldest, newest) = (at(page.removed), at(page.head));
            let lost = Lost { reason: Code::CursorExpired, from: Some(self.cursor()), oldest, newest };
            return Err(lost.into());
        }
        self.place.epoch = page.epoch;
        self.stride = page.stride;
        self.page = Some(page);
        Ok(())
    }

    /// Goes on after a place that could not be honoured, as the owner was told of it.
    pub fn skip(&mut self, lost: &Lost) {
        self.place = lost.place_after();
        self.page = None;
    }
}
