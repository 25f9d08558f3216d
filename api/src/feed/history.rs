//! One page of what is stored, for GraphQL's `history` and REST's.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nuncio_model::limits::{DEFAULT_PAGE, MAX_PAGE};
use nuncio_model::{Code, Cursor, Event, Pattern, ProjectId};
use nuncio_store::Store;

use super::error::FeedError;
use super::start::{Place, Start, check_kept, lost};
use crate::error::ApiError;

/// Which page is asked for, as the client wrote it.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// Oldest first, strictly after this cursor.
    pub after: Option<String>,
    /// Oldest first, from this time on.
    pub since: Option<DateTime<Utc>>,
    /// The newest ones, strictly before the event of this cursor.
    pub before: Option<String>,
    /// At most so many.
    pub first: Option<i64>,
    /// The newest ones, at most so many.
    pub last: Option<i64>,
}

/// A page that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSpec {
    from: From,
    limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    Oldest,
    Start(Start),
    Newest,
    Before(String),
}

/// A page of history, always oldest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Its events; there may be none although there is more.
    pub events: Vec<Arc<Event>>,
    /// Where to go on in the direction of reading: as `after`, or, where the newest were asked for, as `before`.
    pub cursor: Cursor,
    /// Whether there is more in that direction.
    pub has_more: bool,
}

impl PageRequest {
    /// Checks that the arguments go together: `after` or `since` with `first`, `before` with either, or `last` alone.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, saying which do not.
    pub fn check(self) -> Result<PageSpec, ApiError> {
        let Self { after, since, before, first, last } = self;
        if first.is_some() && last.is_some() {
            return Err(ApiError::invalid("first and last exclude each other"));
        }
        let limit = first.or(last).map_or(Ok(DEFAULT_PAGE), |n| match usize::try_from(n) {
            Ok(n) if (1..=MAX_PAGE).contains(&n) => Ok(n),
            _ => Err(ApiError::invalid(format!("first and last must be from 1 to {MAX_PAGE}"))),
        })?;
        let forward = after.is_some() || since.is_some();
        if forward && (before.is_some() || last.is_some()) {
            return Err(ApiError::invalid("after and since go forward from the oldest; before and last go back"));
        }
        let from = match (before, Start::parse(after, since, None)?) {
            (Some(cursor), _) => From::Before(cursor),
            (None, Start::Now) if last.is_some() => From::Newest,
            (None, Start::Now) => From::Oldest,
            (None, start) => From::Start(start),
        };
        Ok(PageSpec { from, limit })
    }
}

impl PageSpec {
    /// Reads the page.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where a cursor cannot be honoured.
    pub async fn read(
        &self,
        store: &Store,
        project: ProjectId,
        patterns: &[Pattern],
    ) -> Result<HistoryPage, FeedError> {
        let position = match &self.from {
            From::Oldest => 0,
            From::Start(start) => {
                return self.read_on(store, project, patterns, start.resolve(store, project, patterns).await?).await;
            }
            From::Newest => return self.read_back(store, project, patterns, i64::MAX).await,
            From::Before(text) => {
                let head = store.head(project).await?;
                let cursor = Cursor::parse(text, project).ok();
                let Some(cursor) = cursor.filter(|cursor| head.accepts(cursor)) else {
                    return Err(lost(store, project, patterns, head, Code::CursorInvalid, cursor).await?.into());
                };
                return self.read_back(store, project, patterns, cursor.position).await;
            }
        };
        let head = store.head(project).await?;
        let removed = store.removed_after(project, patterns, position).await?;
        let place = Place { epoch: head.epoch, position, forgiven: removed.unwrap_or(position) };
        self.read_on(store, project, patterns, place).await
    }

    async fn read_on(
        &self,
        store: &Store,
        project: ProjectId,
        patterns: &[Pattern],
        place: Place,
    ) -> Result<HistoryPage, FeedError> {
        let page = store.page(project, patterns, place.position, self.limit).await?;
        // Something may have been removed between finding the place and reading from it.
        check_kept(store, project, patterns, page.head, place).await?;
        let cursor = Cursor { project, epoch: page.head.epoch, position: page.through };
        Ok(HistoryPage { events: page.events, cursor, has_more: page.has_more })
    }

    async fn read_back(
        &self,
        store: &Store,
        project: ProjectId,
        patterns: &[Pattern],
        before: i64,
    ) -> Result<HistoryPage, FeedError> {
        let page = store.page_before(project, patterns, before, self.limit).await?;
        let cursor = Cursor { project, epoch: page.head.epoch, position: page.through };
        Ok(HistoryPage { events: page.events, cursor, has_more: page.has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_contradict_each_other_are_refused() {
        let text = || Some("c".to_owned());
        let since = Some("2026-01-31T12:00:00Z".parse().expect("a time"));
        for request in [
            PageRequest { first: Some(1), last: Some(1), ..Default::default() },
            PageRequest { first: Some(0), ..Default::default() },
            PageRequest { last: Some(1_001), ..Default::default() },
            PageRequest { after: text(), before: text(), ..Default::default() },
            PageRequest { after: text(), last: Some(1), ..Default::default() },
            PageRequest { after: text(), since, ..Default::default() },
        ] {
            let error = request.clone().check().expect_err("contradictory");
            assert_eq!(error.code, Code::InvalidRequest, "{request:?}");
        }
    }

    #[test]
    fn last_and_before_read_from_the_newest() {
        let spec = |request: PageRequest| request.check().expect("good arguments");
        assert_eq!(spec(PageRequest::default()), PageSpec { from: From::Oldest, limit: 100 });
        let last = PageRequest { last: Some(7), ..Default::default() };
        assert_eq!(spec(last), PageSpec { from: From::Newest, limit: 7 });
        let before = PageRequest { before: Some("c".to_owned()), first: Some(3), ..Default::default() };
        assert_eq!(spec(before), PageSpec { from: From::Before("c".to_owned()), limit: 3 });
    }
}
