//! Watches over the credentials of a request that is held back, until it can be answered.

use std::sync::Arc;
use std::time::Duration;

use nuncio_model::{Action, Identity, Pattern};
use tokio::sync::watch;

use super::standing::{Standing, lost};
use crate::app::App;
use crate::error::ApiError;

/// The longest time that is slept at once; an end further away is looked at again then.
const LONG: Duration = Duration::from_secs(3_600);

/// Watches over the right to read some patterns.
pub struct Watch<'a> {
    app: &'a App,
    standing: Standing,
    patterns: Arc<[Pattern]>,
    changes: watch::Receiver<i64>,
    stale: watch::Receiver<bool>,
}

impl<'a> Watch<'a> {
    /// Begins to watch.
    pub fn over(app: &'a App, identity: Arc<Identity>, patterns: Arc<[Pattern]>) -> Self {
        let (changes, stale) = (app.directory.changes(), app.directory.freshness().changes());
        Self { app, standing: Standing::new(identity), patterns, changes, stale }
    }

    /// Waits until the patterns may no longer be read: at once when the credentials expire, and within the second in
    /// which this node learns of it when something was revoked. It may be dropped while it waits, and asked again.
    pub async fn lapse(&mut self) -> ApiError {
        loop {
            if let Err(error) = self.look() {
                return error;
            }
            let end = self.standing.identity().expires_at;
            let left = end.map(|end| (end - self.app.clock.now()).to_std().unwrap_or_default());
            tokio::select! {
                // Without changes there is only the end to wait for.
                changed = self.changes.changed() => if changed.is_err() { std::future::pending().await },
                () = tokio::time::sleep(left.map_or(LONG, |left| left.min(LONG))) => {}
            }
        }
    }

    /// Waits until it is known that the patterns may be read now: usually it is.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `FORBIDDEN`, where they may not.
    pub async fn confirm(&mut self) -> Result<(), ApiError> {
        while self.app.is_paused() && self.stale.changed().await.is_ok() {}
        self.look()
    }

    fn look(&mut self) -> Result<(), ApiError> {
        self.standing.look(self.app)?;
        let needs = self.patterns.iter().map(|pattern| (Action::Subscribe, pattern));
        lost(self.standing.identity(), needs).map_or(Ok(()), Err)
    }
}
