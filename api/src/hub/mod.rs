//! Who listens to what: the recent events of every project that has listeners on this node, in memory.
//!
//! Nothing here knows sockets, SQL or the wake bus. A project has one [`Ring`]: its newest events in the order of the
//! log, bounded in bytes. A listener holds no queue, only a place; [`Ring::read`] is the one place where a place and
//! patterns become the next events. What the ring no longer has, or does not have yet, its owner reads from the log.

mod bell;
mod ring;
mod stream;

pub use bell::{Bell, Cause};
pub use ring::{Accepted, Read, Ring, Segment};
pub use stream::{Hub, Seat, Stream, Tip};
