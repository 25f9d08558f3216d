//! When keys were last used: noted in memory by each request, written once a minute.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use nuncio_store::Store;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the notes are written.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// The most keys of a kind that are noted between two writes; the use of others is noted after the next.
const MAX_NOTED: usize = 10_000;

/// The keys used since the last write, each with the time of its last use.
#[derive(Debug, Default)]
pub struct Usage {
    api_keys: Notes,
    admin_keys: Notes,
    signing_keys: Notes,
}

#[derive(Debug, Default)]
struct Notes(Mutex<HashMap<i64, DateTime<Utc>>>);

impl Notes {
    fn note(&self, key: i64, now: DateTime<Utc>) {
        let mut noted = self.0.lock();
        if noted.len() < MAX_NOTED || noted.contains_key(&key) {
            noted.insert(key, now);
        }
    }

    fn take(&self) -> Vec<(i64, DateTime<Utc>)> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }
}

impl Usage {
    /// Notes that this API key is used.
    pub(super) fn note(&self, key: i64, now: DateTime<Utc>) {
        self.api_keys.note(key, now);
    }

    /// Notes that this admin key is used.
    pub(super) fn note_admin(&self, key: i64, now: DateTime<Utc>) {
        self.admin_keys.note(key, now);
    }

    /// Notes that a token of this signing key is used.
    pub(super) fn note_signing_key(&self, key: i64, now: DateTime<Utc>) {
        self.signing_keys.note(key, now);
    }

    /// Writes the notes once a minute, and for a last time when told to stop.
    pub async fn keep(&self, store: &Store, stop: CancellationToken) {
        loop {
            let stopped = stop.run_until_cancelled(tokio::time::sleep(WRITE_EVERY)).await.is_none();
            let (api_keys, admin_keys) = (self.api_keys.take(), self.admin_keys.take());
            let signing_keys = self.signing_keys.take();
            let written = async {
                if !api_keys.is_empty() {
                    store.touch_api_keys(&api_keys).await?;
                }
                if !admin_keys.is_empty() {
                    store.touch_admin_keys(&admin_keys).await?;
                }
                if !signing_keys.is_empty() {
                    store.touch_signing_keys(&signing_keys).await?;
                }
                Ok::<(), nuncio_store::Error>(())
            };
            if let Err(error) = written.await {
                tracing::warn!(%error, "when keys were last used could not be written");
            }
            if stopped {
                return;
            }
        }
    }
}
