//! Pages of what is older than a group's line: from the ring while that has it, else from the log; read once for all
//! members of the group who need the same.

use std::sync::Arc;

use nuncio_model::{Code, Cursor, Event, Position};
use nuncio_store::Head;

use super::Feeds;
use super::error::{FeedError, patiently};
use super::start::{Place, lost};
use crate::hub::{Counted, Entry, Group, Page, Read, Removed, Stream};

/// How many events a page holds at most. Pages begin at multiples of it, so that members at different places near each
/// other need the same.
pub(super) const MOST_EVENTS: usize = 64;
/// How many bytes a page holds, about; one event at least.
const PAGE_BYTES: usize = 256 << 10;

/// Where a group's pages come from.
pub(super) struct Pages {
    pub(super) feeds: Feeds,
    pub(super) stream: Arc<Stream>,
    pub(super) group: Arc<Group>,
    /// How many events a page is to hold.
    pub(super) stride: usize,
}

impl Pages {
    /// The page with what comes after the place.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where the place is none of this log's.
    pub(super) async fn fetch(&self, place: Place) -> Result<Arc<Page>, FeedError> {
        let Self { stream, group, stride, .. } = self;
        let Place { epoch, position, forgiven } = place;
        // A gap that was told of is read by who was told, from what the log has left; so is the way out of an old epoch.
        if position >= forgiven && epoch == stream.tip().epoch {
            let aligned = position - position.rem_euclid(MOST_EVENTS as Position);
            let starts = if *stride == MOST_EVENTS { [aligned, position] } else { [position, position] };
            for start in starts {
                let Some(slot) = group.shelf().slot(start, position) else { continue };
                let read = || self.read(Place { position: start, ..place }, position);
                let page = slot.get_or_try_init(read).await?;
                if page.epoch == epoch && page.serves(position) && page.purges == stream.purges() {
                    return Ok(page.clone());
                }
            }
        }
        self.read_log(place).await
    }

    /// Reads the page that begins at `start`, or at `position` where the ring has no more than that.
    async fn read(&self, start: Place, position: Position) -> Result<Arc<Page>, FeedError> {
        let Self { stream, group, stride, .. } = self;
        let (stride, purges) = (*stride, stream.purges());
        for after in [start.position, position] {
            if let Read::Chunk { events, through } = stream.read(start.epoch, after, group.patterns(), stride)
            {
                let head = stream.tip().position;
                // What is in memory is whole, whatever has been removed from the log since.
                let (epoch, removed, entries, counted) = (start.epoch, 0, Vec::new(), Counted::page());
                let page = Page { epoch, after, through, removed, head, purges, stride, entries, counted };
                return Ok(Arc::new(fill(page, group, &events)));
            }
        }
        self.read_log(start).await
    }

    /// Reads the page that begins at the place from the log, and what has been removed by then.
    async fn read_log(&self, place: Place) -> Result<Arc<Page>, FeedError> {
        let Self { feeds, stream, group, stride } = self;
        let (store, project, patterns, stride) = (feeds.store(), stream.project(), group.patterns(), *stride);
        let Place { epoch, position, .. } = place;
        let (page, removed) = patiently(|| async {
            let page = store.page(project, patterns, position, stride).await?;
            let cursor = Cursor { project, epoch, position };
            if !page.head.accepts(&cursor) {
                return Err(lost(store, project, patterns, page.head, Code::CursorInvalid, Some(cursor))
                    .await?
                    .into());
            }
            // Asked after the page was read, so that nothing is removed between the two unnoticed.
            let removed = store.removed_after(project, patterns, 0).await?.unwrap_or(0);
            Ok((page, removed))
        })
        .await?;
        metrics::counter!("nuncio_feed_log_pages_total").increment(1);
        let Head { epoch, position: head, trims, .. } = page.head;
        // The head was read before the page: a purge that it does not know of may have come between.
        stream.learn_purges(epoch, head, page.head.purges);
        let purges = page.head.purges;
        *group.removed().lock().await = Some(Removed { epoch, trims, through: removed });
        stream.learn_trims(trims);
        stream.learn_head(epoch, head);
        // Where that began an epoch, the groups begin it too, before anybody looks for this place in their lines.
        stream.pump();
        let (after, through) = (position, page.through);
        let (entries, counted) = (Vec::new(), Counted::page());
        let empty = Page { epoch, after, through, removed, head, purges, stride, entries, counted };
        Ok(Arc::new(fill(empty, group, &page.events)))
    }
}

/// Adds what the group makes of the events; where that is too much, the page ends early and the next one is smaller.
fn fill(mut page: Page, group: &Group, events: &[Arc<Event>]) -> Page {
    let mut bytes = 0;
    for (taken, event) in events.iter().enumerate() {
        let entry = group.entry(event);
        bytes += entry.as_ref().map_or(0, Entry::cost);
        if bytes > PAGE_BYTES && taken > 0 {
            page.through = events[taken - 1].position;
            page.stride = taken;
            return page;
        }
        page.entries.extend(entry);
    }
    page.stride = (page.stride * 2).min(MOST_EVENTS);
    page
}
