//! Rotation of keys: a new one takes the place of an old one, which goes on for a while.

use chrono::{DateTime, Utc};

use crate::{Error, Result};

/// How a key is to be rotated.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// The time now.
    pub now: DateTime<Utc>,
    /// When the old key is to end at the latest.
    pub old_ends_at: DateTime<Utc>,
    /// When the new key is to end; none for when the old one was to.
    pub new_ends_at: Option<DateTime<Utc>>,
}

impl Rotation {
    /// Refuses keys that are no longer good: nothing can take their place.
    pub(crate) fn check(
        &self,
        revoked_at: Option<DateTime<Utc>>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let is_good = revoked_at.is_none() && expires_at.is_none_or(|end| end > self.now);
        if is_good {
            return Ok(());
        }
        Err(Error::Refused("a key that has been revoked or has ended cannot be rotated: make a new one"))
    }

    /// When the old key ends; it is never made to last longer.
    pub(crate) fn end_of_old(&self, expires_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
        expires_at.map_or(self.old_ends_at, |end| end.min(self.old_ends_at))
    }

    pub(crate) fn end_of_new(&self, expires_at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.new_ends_at.or(expires_at)
    }
}
