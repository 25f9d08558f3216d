//! PostgreSQL: every SQL statement of the product.
//!
//! The project is the first argument of every function, so that no statement forgets it. Fixed statements are
//! constants of their module; each function's documentation says what its failure leaves behind.

mod actor;
mod admin_keys;
mod answers;
mod api_keys;
mod append;
mod audit;
mod channels;
mod checkup;
mod closed;
mod connect;
mod crypto;
mod dead_letters;
mod directory;
mod edition;
mod errands;
mod error;
mod freshness;
mod keys;
mod limiter;
mod meter;
mod namespaces;
mod nodes;
mod origin;
mod partitions;
mod projects;
mod rate_limits;
mod read;
mod reservations;
mod resumes;
mod retention;
mod revocations;
mod rotation;
mod signing_keys;
mod topologies;
mod usage;

pub use actor::{Actor, ActorKind};
pub use admin_keys::{AdminKey, NewAdminKey, Role};
pub use answers::{AnswerKey, Attempt, Claim as AnswerClaim};
pub use api_keys::{ApiKey, NewApiKey};
pub use append::{Appended, Entry, Outcome, Place, Policy};
pub use audit::{AuditEntry, AuditFilter, Note};
pub use channels::{ChannelFilter, PurgeThrough, Purged};
pub use checkup::{Capacity, Contents, Sealed};
pub use closed::Closed;
pub use connect::{ServerReport, Store, StoreOptions};
pub use crypto::SecretKey;
pub use dead_letters::{DeadLetter, DeadLetterChange, DeadLetterFilter, DeadLetterOrder, NewDeadLetter};
pub use directory::{Directory, Project, SigningKey, Snapshot};
pub use edition::Edition;
pub use errands::Errand;
pub use error::Error;
pub use freshness::Freshness;
pub use limiter::{Limiter, Spender, Spending, Standing, Verdict};
pub use meter::{Meter, Tally};
pub use namespaces::Namespace;
pub use nodes::{LIVE_WITHIN, NodeCard, NodeRow, NodeState};
pub use projects::{NewProject, ProjectChange, ProjectRow};
pub use rate_limits::{RateLimit, RateLimits, Rule};
pub use read::{ChannelHead, Head, Page};
pub use reservations::{Added, Opened, Order, ReservationKey, ReservationLimits, Ticket};
pub use resumes::{Claim, Claimed, Known};
pub use revocations::{MAX_REVOCATIONS, NewRevocation, Revocation, RevocationFilter};
pub use rotation::Rotation;
pub use signing_keys::{KeyMaterial, NewSigningKey, SigningKeyRow};
pub use topologies::{AbandonedTopology, Fate};
pub use usage::{DayUsage, Used};

/// The result of every function here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
