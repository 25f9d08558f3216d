//! How keys are rotated: the same for API keys and admin keys, and the overlap also for signing keys.

use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::cloudevents::is_writable;
use nuncio_store::Rotation;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// How long the old key goes on where it is not said: a day.
pub(super) const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;
/// The longest that it may go on: 30 days.
pub(super) const MAX_OVERLAP_SECONDS: u32 = 2_592_000;

/// How a key is to be rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = KeyRotation)]
pub(super) struct Rotate {
    /// How long the old key goes on, in seconds: 0 to 2592000. It never lasts longer than it would have.
    #[schema(default = 86_400, maximum = 2_592_000)]
    overlap_seconds: Option<u32>,
    /// When the new key ends; when the old one was to, where it is left out.
    expires_at: Option<DateTime<Utc>>,
}

impl Rotate {
    /// The rotation at this time.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with an entry per wrong field.
    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<Rotation, ApiError> {
        let mut error = ApiError::invalid("the key cannot be rotated like this");
        let overlap = self.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS);
        if overlap > MAX_OVERLAP_SECONDS {
            error = error.field("overlapSeconds", format!("must be 0 to {MAX_OVERLAP_SECONDS}"));
        }
        check_end(error, self.expires_at, now).if_any_field()?;
        let old_ends_at = now + TimeDelta::seconds(overlap.into());
        Ok(Rotation { now, old_ends_at, new_ends_at: self.expires_at })
    }
}

/// Adds an entry where a key would end before it began, or at a time that cannot be written.
pub(super) fn check_end(error: ApiError, expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> ApiError {
    if expires_at.is_none_or(|end| end > now && is_writable(end)) {
        return error;
    }
    error.field("expiresAt", "must be null or a time to come, before the year 10000")
}
