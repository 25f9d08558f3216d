//! The time, as a parameter.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Where the time of day comes from: the system, or a test that sets it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<DateTime<Utc>>>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is advanced.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(Mutex::new(now))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.as_ref().map_or_else(Utc::now, |now| *now.lock())
    }

    /// Moves a fixed clock on; the system's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.0 {
            *now.lock() += by;
        }
    }
}
