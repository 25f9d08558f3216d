//! The operations of one connection, whatever protocol it speaks: each takes its turn at the socket.

mod alone;
mod receipt;
mod shared;

use crate::error::ApiError;

pub(super) use alone::{Alone, Output};
pub(super) use shared::{FULL, Subscriptions};

/// An operation that has ended with an error.
pub(super) struct Ended {
    pub(super) id: Box<str>,
    pub(super) error: ApiError,
}

/// Where the operations of a connection write what they have.
pub(super) trait Outlet {
    /// How many bytes the peer has not taken yet.
    fn pending(&self) -> usize;

    /// Appends one message, made of the parts.
    fn push(&mut self, parts: &[&[u8]]);
}
