//! Connections for which there is no room: told so in their own protocol, as far as there is room for that.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::Semaphore;

use super::seats::{Full, Seat};
use crate::router;

/// How many are told at a time that there is no room. Whoever comes beyond that is cut off at once, so that a flood of
/// connections costs no more than these.
const GUESTS: usize = 64;
/// How long one may take to ask, and to be told.
const PATIENCE: Duration = Duration::from_secs(5);

/// What answers those for whom there is no seat.
pub(super) struct Away {
    guests: Arc<Semaphore>,
    routers: [Router; 2],
}

impl Away {
    pub(super) fn new() -> Self {
        let routers = [Full::Address, Full::Node].map(router::turning_away);
        Self { guests: Arc::new(Semaphore::new(GUESTS)), routers }
    }

    /// A seat for as long as it takes to be told, and what tells it.
    pub(super) fn admit(&self, full: Full) -> Option<(Seat, Router)> {
        let permit = self.guests.clone().try_acquire_owned().ok()?;
        let [address, node] = &self.routers;
        let router = match full {
            Full::Address => address,
            Full::Node => node,
        };
        Some((Seat::guest(permit), router.clone()))
    }
}

/// Serves a connection that is turned away, for a moment.
pub(super) async fn briefly(served: impl Future<Output = ()>) {
    // Who asks for nothing in that time is cut off.
    let _in_time = tokio::time::timeout(PATIENCE, served).await;
}
