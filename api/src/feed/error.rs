//! Why a reader cannot begin or go on, and what is done while the database is away.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use nuncio_model::{Code, Cursor, Position};
use tokio::time::Instant;

use super::start::{Gap, Place};
use crate::error::ApiError;

/// Why a reader cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The place asked for cannot be honoured.
    #[error("{}", .0.detail())]
    Lost(Box<Lost>),
    /// The database cannot be asked, or its answer is a defect.
    #[error(transparent)]
    Store(#[from] nuncio_store::Error),
}

/// A place that cannot be honoured, and what there is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// `CURSOR_EXPIRED` or `CURSOR_INVALID`.
    pub reason: Code,
    /// The place, if the cursor could be read at all.
    pub from: Option<Cursor>,
    /// The oldest place after which nothing that matches has been removed.
    pub oldest: Cursor,
    /// The newest place.
    pub newest: Cursor,
}

impl Lost {
    /// What happened, in a sentence for the client.
    pub fn detail(&self) -> &'static str {
        match self.reason {
            Code::CursorExpired => {
                "events after this cursor have been removed; `oldest` is where nothing is missing"
            }
            _ => "the cursor is made up, of another project, or beyond the newest event",
        }
    }

    /// Where a reader goes on that would rather skip than end: after an expired place what is left of it comes first;
    /// after an invalid one, all there is.
    pub fn place_after(&self) -> Place {
        let position = match (self.reason, self.from) {
            (Code::CursorExpired, Some(from)) => from.position,
            _ => 0,
        };
        Place { epoch: self.newest.epoch, position, forgiven: self.oldest.position.max(position) }
    }

    /// The gap, as clients are told of it.
    pub fn gap(&self) -> Gap {
        Gap { reason: self.reason, from: self.from, to: self.oldest }
    }

    /// The position up to which events are known to be missing.
    pub fn missing_through(&self) -> Position {
        self.oldest.position
    }
}

impl From<Lost> for FeedError {
    fn from(lost: Lost) -> Self {
        Self::Lost(Box::new(lost))
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Lost(lost) => Self::new(lost.reason, lost.detail())
                .with("oldest", lost.oldest.to_string())
                .with("newest", lost.newest.to_string()),
            FeedError::Store(error) => error.into(),
        }
    }
}

/// Tries again for as long as the database is away: live operations wait, they do not end.
///
/// The pauses grow from 50 ms to 2 s, with jitter, so that a thousand readers do not all come back at once.
///
/// # Errors
/// With the first failure that waiting does not mend.
pub async fn patiently<T, F>(operation: impl FnMut() -> F) -> Result<T, FeedError>
where
    F: Future<Output = Result<T, FeedError>>,
{
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter();
    let away = |error: &FeedError| matches!(error, FeedError::Store(error) if error.is_unavailable());
    operation.retry(pauses).when(away).await
}

/// How long the database may take to answer a question about now.
const PROMPT: Duration = Duration::from_millis(50);

/// As [`patiently`]; also tells whether that took long, as the database was away or slow: what was true when it was
/// asked may not be true any more.
///
/// # Errors
/// As those of [`patiently`].
pub async fn promptly<T, F>(mut operation: impl FnMut() -> F) -> Result<(T, bool), FeedError>
where
    F: Future<Output = Result<T, FeedError>>,
{
    let (asked, mut attempts) = (Instant::now(), 0);
    let value = patiently(|| {
        attempts += 1;
        operation()
    })
    .await?;
    Ok((value, attempts > 1 || asked.elapsed() > PROMPT))
}
