//! What a client that comes back with an id is known to have received of one subscription.

use nuncio_model::Cursor;

use crate::resume::Resuming;

/// How far the client has come: sent, sent before the last ping, and known to have been received.
#[derive(Debug)]
pub(super) struct Receipt {
    resuming: Resuming,
    /// Where the subscription was at the last ping.
    pinged: Cursor,
    received: Cursor,
}

impl Receipt {
    /// Nothing was sent yet after this place.
    pub(super) fn new(resuming: Resuming, place: Cursor) -> Self {
        Self { resuming, pinged: place, received: place }
    }

    /// Whether the subscription is further than the client is known to be.
    pub(super) fn is_behind(&self, place: Cursor) -> bool {
        self.received != place
    }

    /// A ping was sent when the subscription was here.
    pub(super) fn pinged(&mut self, place: Cursor) {
        self.pinged = place;
    }

    /// The last ping was answered.
    pub(super) fn confirmed(&mut self) {
        if self.received != self.pinged {
            self.received = self.pinged;
            self.resuming.received(self.received);
        }
    }
}
