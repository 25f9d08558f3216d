//! Where a reader begins: `after` a cursor, `since` a time, the `last` n events, or now.

use chrono::{DateTime, Utc};
use nuncio_model::limits::MAX_PAGE;
use nuncio_model::{Code, Cursor, Epoch, Pattern, Position, ProjectId};
use nuncio_store::{Head, Store};

use super::Feeds;
use super::error::{FeedError, Lost};
use crate::error::ApiError;
use crate::hub::{Seat, Stream, Tip};

/// Where a reader begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the head: only what comes from now on.
    #[default]
    Now,
    /// Strictly after the cursor, as the client wrote it.
    After(String),
    /// With the first event stored at or after the time.
    Since(DateTime<Utc>),
    /// So many matching events back.
    Last(usize),
}

/// What to do where a cursor cannot be honoured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// End with `CURSOR_EXPIRED` or `CURSOR_INVALID`.
    #[default]
    Fail,
    /// Tell the gap and go on after it.
    Skip,
}

/// Events that are missing between two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// `CURSOR_EXPIRED` or `CURSOR_INVALID`.
    pub reason: Code,
    /// The place the reader wanted to go on from; none where its cursor could not be read.
    pub from: Option<Cursor>,
    /// The place after which nothing is missing.
    pub to: Cursor,
}

/// A place in the log to read on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The epoch of the position.
    pub epoch: Epoch,
    /// Everything after this is to come.
    pub position: Position,
    /// What has been removed up to here is no gap: the reader does not expect it, or was told.
    pub forgiven: Position,
}

impl Start {
    /// Reads the three ways of saying where to begin; at most one may be given.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where more than one is given, or `last` is not from 0 to 1,000.
    pub fn parse(
        after: Option<String>,
        since: Option<DateTime<Utc>>,
        last: Option<i64>,
    ) -> Result<Self, ApiError> {
        match (after, since, last) {
            (None, None, None) => Ok(Self::Now),
            (Some(cursor), None, None) => Ok(Self::After(cursor)),
            (None, Some(time), None) => Ok(Self::Since(time)),
            (None, None, Some(n)) => match usize::try_from(n) {
                Ok(n) if n <= MAX_PAGE => Ok(Self::Last(n)),
                _ => Err(ApiError::invalid(format!("last must be from 0 to {MAX_PAGE}"))),
            },
            _ => Err(ApiError::invalid("at most one of after, since and last may be given")),
        }
    }

    /// Finds the place in the log.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where the cursor cannot be honoured; it has then not been ignored, whatever is done about it.
    pub async fn resolve(
        &self,
        store: &Store,
        project: ProjectId,
        patterns: &[Pattern],
    ) -> Result<Place, FeedError> {
        let head = store.head(project).await?;
        let position = match self {
            Self::Now => {
                return Ok(Place { epoch: head.epoch, position: head.position, forgiven: head.position });
            }
            Self::After(text) => return resolve_cursor(store, project, patterns, head, text).await,
            Self::Since(time) => store.position_before_time(project, *time).await?,
            Self::Last(n) => store.position_before_last(project, patterns, *n).await?,
        };
        // Who asks for a time or a number asks for what there is of it.
        let removed = store.removed_after(project, patterns, position).await?;
        Ok(Place { epoch: head.epoch, position, forgiven: removed.unwrap_or(position) })
    }
}

async fn resolve_cursor(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    head: Head,
    text: &str,
) -> Result<Place, FeedError> {
    let cursor = Cursor::parse(text, project).ok();
    match cursor {
        Some(cursor) if head.accepts(&cursor) => {
            let place = Place { epoch: head.epoch, position: cursor.position, forgiven: cursor.position };
            check_kept(store, project, patterns, head, place).await.map(|()| place)
        }
        _ => Err(lost(store, project, patterns, head, Code::CursorInvalid, cursor).await?.into()),
    }
}

impl Start {
    /// Finds the place for a member of a group, from what is known in memory wherever that is enough: a thousand who
    /// come back to a busy channel do not each ask the database.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(super) async fn resolve_for(&self, feeds: &Feeds, seat: &Seat) -> Result<Place, FeedError> {
        let (stream, group) = (seat.stream(), seat.group());
        let (store, project) = (feeds.store(), stream.project());
        match self {
            Self::After(text) => {
                let cursor = Cursor::parse(text, project).ok();
                let newest = newest_for(feeds, stream, cursor.as_ref()).await?;
                // Asked for after the head, whoever waited for it: one statement for all of them.
                let removed = feeds.removed(stream, group).await?;
                let (Tip { epoch, position: head }, is_place) = newest;
                let lost = |reason| {
                    let at = |position| Cursor { project, epoch, position };
                    Lost { reason, from: cursor, oldest: at(removed), newest: at(head) }.into()
                };
                match cursor {
                    Some(Cursor { position, .. }) if is_place => {
                        let place = Place { epoch, position, forgiven: position };
                        if removed > position { Err(lost(Code::CursorExpired)) } else { Ok(place) }
                    }
                    _ => Err(lost(Code::CursorInvalid)),
                }
            }
            Self::Now | Self::Since(_) | Self::Last(_) => {
                // Pages are shared only once the epoch is known.
                if stream.tip().epoch == 0 {
                    feeds.head(stream).await?;
                }
                self.resolve(store, project, group.patterns()).await
            }
        }
    }
}

/// The newest place there is, and whether the cursor is one too: as far as is known in memory, else as the database says.
async fn newest_for(
    feeds: &Feeds,
    stream: &Stream,
    cursor: Option<&Cursor>,
) -> Result<(Tip, bool), FeedError> {
    let tip = stream.tip();
    if cursor.is_some_and(|cursor| cursor.epoch == tip.epoch && cursor.position <= tip.position) {
        return Ok((tip, true));
    }
    let head = feeds.head(stream).await?;
    let tip = Tip { epoch: head.epoch, position: head.position };
    Ok((tip, cursor.is_some_and(|cursor| head.accepts(cursor))))
}

/// Makes sure that nothing a reader at this place still expects has been removed.
pub(super) async fn check_kept(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    head: Head,
    place: Place,
) -> Result<(), FeedError> {
    let Place { position, forgiven, .. } = place;
    let removed = store.removed_after(project, patterns, position.max(forgiven)).await?;
    let Some(newest_removed) = removed else { return Ok(()) };
    let at = |position| Cursor { project, epoch: head.epoch, position };
    let (from, oldest) = (Some(at(position)), at(newest_removed));
    Err(Lost { reason: Code::CursorExpired, from, oldest, newest: at(head.position) }.into())
}

/// Describes a place that cannot be honoured.
pub(super) async fn lost(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    head: Head,
    reason: Code,
    from: Option<Cursor>,
) -> Result<Lost, FeedError> {
    let oldest = store.removed_after(project, patterns, 0).await?.unwrap_or(0);
    let at = |position| Cursor { project, epoch: head.epoch, position };
    Ok(Lost { reason, from, oldest: at(oldest), newest: at(head.position) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_way_of_beginning_is_given() {
        let time = "2026-01-31T12:00:00Z".parse().expect("a time");
        assert_eq!(Start::parse(None, None, None).expect("live only"), Start::Now);
        assert_eq!(Start::parse(None, None, Some(3)).expect("a number"), Start::Last(3));
        assert_eq!(Start::parse(None, Some(time), None).expect("a time"), Start::Since(time));
        for (after, since, last) in [
            (Some("x".to_owned()), Some(time), None),
            (Some("x".to_owned()), None, Some(1)),
            (None, Some(time), Some(1)),
            (None, None, Some(-1)),
            (None, None, Some(1_001)),
        ] {
            let error = Start::parse(after, since, last).expect_err("two at once, or out of range");
            assert_eq!(error.code, Code::InvalidRequest);
        }
    }
}
