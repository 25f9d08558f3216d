//! The single connection mode of GraphQL over SSE: one stream for many operations, each asked for by a request of its own.
//!
//! A reservation is a row in the database, and so is each operation until it ends: whichever node takes a request, the
//! one that holds the stream carries it out. `Desk` is where a node learns what its streams are to do.

mod desk;
mod requests;

use super::super::schema::Rehearsal;
use crate::app::App;

pub(super) use desk::{Holding, Order};
pub(in crate::graphql) use requests::{open, owner_of, reserve, start, stop, token};

/// What the requests of this mode share on a node.
pub(in crate::graphql) struct Single {
    desk: desk::Desk,
    /// Checks what is executed later, or at another node.
    pub(super) rehearsal: Rehearsal,
}

impl Single {
    /// Begins to look for orders as soon as there are streams.
    pub(in crate::graphql) fn start(app: &App) -> Self {
        Self { desk: desk::Desk::start(app), rehearsal: Rehearsal::default() }
    }
}
