//! A reader: a place in a project's log that moves on as it is asked.

use std::sync::Arc;

use nuncio_model::{Code, Cursor, Event, Position};
use nuncio_store::Store;
use tokio::sync::watch;

use super::error::{FeedError, patiently};
use super::start::{Place, check_kept, lost};
use crate::hub::{Read, Seat, Tip};

/// Reads one project's events that match some patterns, from a place on, for as long as it is asked.
///
/// It buffers nothing: however slow its owner is, it holds a place and no events.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    seat: Seat,
    bell: watch::Receiver<Tip>,
    place: Place,
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
    pub(super) fn new(store: Store, seat: Seat, place: Place) -> Self {
        let bell = seat.stream().bell();
        Self { store, seat, bell, place }
    }

    /// The place: everything up to here has been given out.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            project: self.seat.stream().project(),
            epoch: self.place.epoch,
            position: self.place.position,
        }
    }

    /// Waits until the place moves, and gives the matching events it moved over: at most so many.
    ///
    /// While the database is away it waits. It may be dropped while it waits, and asked again.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where events it still had to give out have been removed, or the log was replaced by an older
    /// copy of itself. [`Self::skip`] goes on after that.
    pub async fn next(&mut self, max_events: usize) -> Result<Chunk, FeedError> {
        loop {
            // Whatever rings from here on is noticed below.
            self.bell.borrow_and_update();
            let Place { epoch, position, forgiven } = self.place;
            // The ring may still hold what has been removed; the log gives out only what is left of it.
            let read = match position < forgiven {
                true => Read::NotHere,
                false => self.seat.stream().read(epoch, position, self.seat.patterns(), max_events),
            };
            let (events, through) = match read {
                Read::Chunk { events, through } => (events, through),
                Read::AtTail => (Vec::new(), position),
                Read::NotHere => self.read_log(max_events).await?,
            };
            if through > position {
                self.place.position = through;
                return Ok(Chunk { events, cursor: self.cursor() });
            }
            self.bell.changed().await.expect("the seat holds the stream, and the stream holds the bell");
        }
    }

    /// Goes on after a place that could not be honoured, as its owner was told of it.
    pub fn skip(&mut self, lost: &super::Lost) {
        self.place = lost.place_after();
    }

    /// The next page of the log, and whether what it should hold is still there.
    async fn read_log(&mut self, max_events: usize) -> Result<(Vec<Arc<Event>>, Position), FeedError> {
        let (store, stream, patterns) = (&self.store, self.seat.stream(), self.seat.patterns());
        let project = stream.project();
        let (place, cursor) = (self.place, self.cursor());
        let page = patiently(|| async {
            let page = store.page(project, patterns, place.position, max_events).await?;
            if !page.head.accepts(&cursor) {
                let lost =
                    lost(store, project, patterns, page.head, Code::CursorInvalid, Some(cursor)).await?;
                return Err(lost.into());
            }
            // Asked after the page was read, so that nothing is removed between the two unnoticed.
            check_kept(store, project, patterns, page.head, place).await?;
            Ok(page)
        })
        .await?;
        self.place.epoch = page.head.epoch;
        stream.learn_head(page.head.epoch, page.head.position);
        Ok((page.events, page.through))
    }
}
