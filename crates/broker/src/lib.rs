//! RabbitMQ, as Nuncio uses it: the topology of a project, confirmed publishing, consuming and settling, and the bus
//! that wakes the api nodes.
//!
//! This is the only crate that knows lapin. Every failure says whether trying again can help ([`Error::is_final`]).

pub mod checkup;
mod claim;
mod connection;
pub mod consume;
pub mod error;
mod guard;
mod hold;
pub mod message;
mod nesting;
pub mod publish;
pub mod topology;
pub mod wake;

pub use checkup::Intake;
pub use claim::Claim;
pub use connection::{Broker, Link, reconnect_delays};
pub use consume::Consumer;
pub use error::Error;
pub use hold::{Held, MAX_HELD_BYTES};
pub use message::{Message, Properties};
pub use nesting::MAX_HEADER_NESTING;
pub use publish::{Confirm, Publisher};
pub use topology::Names;
pub use wake::{Wake, WakeBus, WakeReceiver};
