//! Who listens to what: the recent events of every project that has listeners on this node, in memory.
//!
//! Nothing here knows sockets, SQL or the wake bus. A project has one [`Stream`]: a [`Ring`] with its newest events in
//! the order of the log, and the groups of its listeners. An [`Index`] tells which groups an event is for; each makes
//! of it once what all its members are given, and keeps that for a while in a line. A member holds no queue, only a
//! place: it takes from the line what is newer, whenever its [`Bell`] has rung and its socket has room. What the
//! line no longer has, it finds on a [`Page`] that it shares with the others who need it.

mod bell;
mod counted;
mod group;
mod index;
mod line;
mod ring;
mod shelf;
mod stream;
mod table;

pub use bell::{Bell, Cause};
pub use counted::Counted;
pub use group::{Group, GroupKey, Removed, Render};
pub use index::Index;
pub use line::{Content, Entry};
pub use ring::{Accepted, Read, Ring, Segment};
pub use shelf::{Page, Shelf, Slot};
pub use stream::{Bounds, Seat, Stream, Tip, Took};
pub use table::Hub;

#[cfg(test)]
pub(crate) mod tests;
