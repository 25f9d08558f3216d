//! The vocabulary of Nuncio: events, channels, patterns, cursors, rights and limits.
//!
//! Everything here is pure: no sockets, no files, no SQL. Text from outside becomes one of these types through a
//! `parse` function, once; code that holds such a value need not check it again.

pub mod channel;
pub mod clock;
pub mod cloudevents;
pub mod code;
pub mod cursor;
pub mod event;
pub mod gcra;
pub mod ids;
pub mod json;
pub mod limits;
pub mod namespace;
pub mod project;
pub mod rate_limit;
pub mod resume;
pub mod revocation;
pub mod rights;
pub mod schema;
mod schema_cost;
pub mod secret;

pub use channel::{Channel, Pattern};
pub use clock::Clock;
pub use code::Code;
pub use cursor::{Cursor, Epoch, Position};
pub use event::{Data, Draft, Event};
pub use namespace::{NamespaceSettings, PublisherKind, Rules};
pub use project::{ProjectId, ProjectName};
pub use rate_limit::{Limited, RateLimitSettings, Scope};
pub use resume::ResumeKey;
pub use revocation::{Revocations, Revoked};
pub use rights::{Action, Identity, Rights};
pub use secret::Secret;
