//! Pages through a filter: more is looked through than is given out, within bounds.

use std::sync::Arc;

use nuncio_model::{Event, Pattern, Position, ProjectId};
use nuncio_store::{Page, Result, Store};

use crate::filter::Filter;

/// How many events are read at a time.
const CHUNK: usize = 256;
/// How often that is done for one page: a rare filter gets empty pages rather than a long wait.
const MOST_CHUNKS: usize = 8;
/// After so many events others have their turn: each may take a hostile filter most of a millisecond.
const TURN: usize = 16;

/// Holds back what is not wanted.
pub(super) struct Sieve<'a> {
    filter: Option<&'a Filter>,
    /// How many are wanted at most.
    pub(super) limit: usize,
    /// What is wanted of what came so far.
    pub(super) found: Vec<Arc<Event>>,
    looked_at: usize,
}

impl<'a> Sieve<'a> {
    /// Lets everything through where there is no filter.
    pub(super) fn new(filter: Option<&'a Filter>, limit: usize) -> Self {
        Self { filter, limit, found: Vec::new(), looked_at: 0 }
    }

    /// Takes an event if it is wanted, and tells whether there are enough now.
    pub(super) async fn is_full_with(&mut self, event: Arc<Event>) -> bool {
        if let Some(filter) = self.filter {
            self.looked_at += 1;
            if self.looked_at.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
            if !filter.matches(&event) {
                return false;
            }
        }
        self.found.push(event);
        self.found.len() >= self.limit
    }
}

/// The first events after a position that the sieve lets through.
///
/// # Errors
/// Where the database cannot be asked.
pub(super) async fn scan_on(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    after: Position,
    mut sieve: Sieve<'_>,
) -> Result<Page> {
    if sieve.filter.is_none() {
        return store.page(project, patterns, after, sieve.limit).await;
    }
    let mut page = store.page(project, patterns, after, CHUNK).await?;
    for chunk in 1.. {
        for event in std::mem::take(&mut page.events) {
            let position = event.position;
            if sieve.is_full_with(event).await {
                let has_more = position < page.head.position;
                return Ok(Page { events: sieve.found, through: position, has_more, head: page.head });
            }
        }
        if chunk == MOST_CHUNKS || !page.has_more {
            break;
        }
        let next = store.page(project, patterns, page.through, CHUNK).await?;
        if next.head.epoch != page.head.epoch {
            // The log was replaced: whoever goes on after this page is told.
            break;
        }
        page = next;
    }
    Ok(Page { events: sieve.found, ..page })
}

/// The newest events before a position that the sieve lets through, oldest first.
///
/// # Errors
/// Where the database cannot be asked.
pub(super) async fn scan_back(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    before: Position,
    mut sieve: Sieve<'_>,
) -> Result<Page> {
    if sieve.filter.is_none() {
        return store.page_before(project, patterns, before, sieve.limit).await;
    }
    let mut page = store.page_before(project, patterns, before, CHUNK).await?;
    'chunks: for chunk in 1.. {
        while let Some(event) = page.events.pop() {
            let position = event.position;
            if sieve.is_full_with(event).await {
                page.has_more |= !page.events.is_empty();
                page.through = position;
                break 'chunks;
            }
        }
        if chunk == MOST_CHUNKS || !page.has_more {
            break;
        }
        let next = store.page_before(project, patterns, page.through, CHUNK).await?;
        if next.head.epoch != page.head.epoch {
            break;
        }
        page = next;
    }
    sieve.found.reverse();
    Ok(Page { events: sieve.found, ..page })
}
