//! Clients that come back with a resume id go on where they are known to be, at whichever node.
//!
//! Of each id that is in use on this node the newest place is kept in memory and written to the database a few times a
//! second, all of them by one statement. A claim in the database says whose an id is: whoever takes it up raises the
//! claim's number, and the one before learns of it within a second, or when it next writes.

mod book;

use std::sync::Arc;
use std::time::Duration;

use nuncio_model::{Code, Cursor, ResumeKey};
use nuncio_store::{Claim, Known, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::feed::{FeedError, Feeds, Gap, Member, Start, patiently, promptly};
use book::Book;

/// How often places are written.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// How often it is asked which ids have been taken up elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait after the database could not be asked.
const PAUSE: Duration = Duration::from_secs(2);
/// How many places one statement writes.
const AT_ONCE: usize = 2_000;

/// The resume ids that are in use on this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    book: Mutex<Book>,
}

/// An id in use: where its client is known to be is noted here. The id is no longer in use when this is dropped; the
/// place is kept.
#[derive(Debug)]
pub struct Resuming {
    resumes: Resumes,
    key: ResumeKey,
    claim: i64,
}

/// What a client that gave an id goes on with.
pub struct Resumed {
    /// Where it goes on.
    pub member: Member,
    /// What is missing there.
    pub gap: Option<Gap>,
    /// Takes the news of what the client has received.
    pub resuming: Resuming,
    /// Told when the id has been taken up by somebody else.
    pub lost: oneshot::Receiver<()>,
}

impl Resumes {
    /// No ids in use.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner { store, book: Mutex::default() }))
    }

    /// Takes the id up, and joins where its client is known to be, or at `start` where nothing is known or the client
    /// says that it is further. While the database is away this waits.
    ///
    /// # Errors
    /// As those of `join`; `TOO_MANY_OPERATIONS` where the subject has too many ids in use.
    pub async fn join(
        &self,
        (feeds, key): (&Feeds, ResumeKey),
        start: Start,
        join: impl AsyncFnOnce(Start) -> Result<(Member, Option<Gap>), FeedError>,
    ) -> Result<Resumed, ApiError> {
        let store = &self.0.store;
        let tip = feeds.tip(key.project);
        let (claim, late) =
            promptly(async || store.claim_resume(&key).await.map_err(FeedError::from)).await?;
        let Claim { number, place } = claim.ok_or_else(|| {
            let detail =
                "too many resume ids of this subject are in use; keep one for each client, and use it again";
            ApiError::new(Code::TooManyOperations, detail)
        })?;
        let (notice, lost) = oneshot::channel();
        self.0.book.lock().enter(key, number, place, notice);
        let resuming = Resuming { resumes: self.clone(), key, claim: number };
        let start = match (start, tip) {
            // What came while the database was away came after the client had asked.
            (Start::Now, Some(tip)) if late => Start::After(tip.to_string()),
            (start, _) => start,
        };
        let (member, gap) = join(later(start, place)).await?;
        if place.is_none() {
            // Before anything is sent: whoever comes back after a crash must find the place where it began.
            let begun = [Known { key, claim: number, place: member.cursor() }];
            patiently(async || store.save_resumes(&begun).await.map_err(FeedError::from)).await?;
            // Known from now on, and with it noted now and then that the id is in use.
            resuming.received(member.cursor());
        }
        Ok(Resumed { member, gap, resuming, lost })
    }

    /// Writes places and looks for ids that were lost, until the node drains and no id is in use any more.
    pub async fn keep(self, drain: CancellationToken) {
        let mut looked = Instant::now();
        while !(drain.is_cancelled() && self.0.book.lock().is_empty()) {
            sleep(SAVE_EVERY).await;
            let look = looked.elapsed() >= LOOK_EVERY && !self.0.book.lock().is_empty();
            let mut done = self.save().await;
            if look {
                looked = Instant::now();
                done = done.and(self.look().await);
            }
            if let Err(error) = done {
                tracing::warn!(%error, "how far clients have received could not be written; trying again");
                sleep(PAUSE).await;
            }
        }
    }

    async fn save(&self) -> Result<(), nuncio_store::Error> {
        let unsaved = self.0.book.lock().unsaved();
        for known in unsaved.chunks(AT_ONCE) {
            let saved = self.0.store.save_resumes(known).await?;
            self.0.book.lock().saved(known, &saved);
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), nuncio_store::Error> {
        let recent = self.0.store.recent_resumes().await?;
        self.0.book.lock().lose(&recent);
        Ok(())
    }
}

impl Resuming {
    /// The client is known to have received everything up to here.
    pub fn received(&self, place: Cursor) {
        self.resumes.0.book.lock().note(&self.key, self.claim, place);
    }
}

impl Drop for Resuming {
    fn drop(&mut self) {
        self.resumes.0.book.lock().leave(&self.key, self.claim);
    }
}

/// Where to begin: what the client asks for, unless it is known to be further than that. A cursor that cannot be read
/// is never passed over: the client is told.
fn later(start: Start, known: Option<Cursor>) -> Start {
    let Some(known) = known else { return start };
    if let Start::After(text) = &start {
        let order = |cursor: Cursor| (cursor.epoch, cursor.position);
        match Cursor::parse(text, known.project) {
            Ok(asked) if order(asked) <= order(known) => {}
            _ => return start,
        }
    }
    Start::After(known.to_string())
}

#[cfg(test)]
mod tests {
    use nuncio_model::ProjectId;

    use super::*;

    fn cursor(epoch: i32, position: i64) -> Cursor {
        Cursor { project: ProjectId(1), epoch, position }
    }

    #[test]
    fn the_later_of_two_places_is_gone_on_from() {
        let after = |cursor: Cursor| Start::After(cursor.to_string());
        let known = cursor(2, 10);
        for (start, expected) in [
            (Start::Now, after(known)),
            (Start::Last(5), after(known)),
            (after(cursor(2, 9)), after(known)),
            (after(cursor(1, 99)), after(known)),
            (after(cursor(2, 11)), after(cursor(2, 11))),
            (after(cursor(3, 1)), after(cursor(3, 1))),
            (Start::After("made up".to_owned()), Start::After("made up".to_owned())),
        ] {
            assert_eq!(later(start.clone(), Some(known)), expected, "{start:?}");
            assert_eq!(later(start.clone(), None), start);
        }
    }
}
