//! Subscriptions that are executed once for all who ask for the same.
//!
//! [`Shape`] says whether a subscription can be shared, and what is left of it when everything that differs between
//! its subscribers is taken away. [`Documents`] remembers shapes, so that a document that is known is neither parsed nor
//! validated again. `Execution` executes what is left, once for each event, without knowing who is asking.

mod documents;
mod execution;
mod plan;
mod root;
mod shape;

pub(super) use documents::Documents;
pub(super) use execution::Source;
pub(super) use plan::{Plan, Receipt, Shared, Solo, plan};
pub(super) use shape::{Shape, operation};
