//! What a client heard, held against the log.

use std::time::Duration;

use tokio::time::Instant;

use super::cast::Way;
use super::listener::{Heard, Listener};
use super::stage::{Fault, Outage};
use crate::event::Event;

/// A client that resumes may be given again what came within this time before its connection broke: pings follow data
/// within a second, and their answers need a moment to be noted.
const AGAIN: Duration = Duration::from_millis(1_500);

/// Checks that everything came in order, once, or again only where that is allowed. Gives the number of repeats.
pub(crate) fn judge(listener: &Listener, outages: &[Outage], log: &[Event]) -> usize {
    let name = listener.kind.name;
    check_connections(listener, outages);
    let (mut next, mut repeats) = (0, 0);
    let mut came: Vec<Instant> = Vec::new();
    let mut broke = None;
    for (at, heard) in &listener.heard {
        match heard {
            Heard::Connected => {}
            Heard::Broken => broke = broke.or(Some(*at)),
            Heard::Event(event) => {
                if log.get(next) != Some(event) {
                    let back = go_back(listener, event, &log[..next], &came, broke);
                    repeats += next - back;
                    next = back;
                }
                came.truncate(next);
                came.push(*at);
                (next, broke) = (next + 1, None);
            }
        }
    }
    assert_eq!(next, log.len(), "{name} did not hear everything");
    repeats
}

/// A connection is made at first, and anew only after its node was killed or drained.
fn check_connections(listener: &Listener, outages: &[Outage]) {
    let made =
        listener.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Connected)).map(|(at, _)| *at);
    let made: Vec<Instant> = made.collect();
    let name = listener.kind.name;
    assert!(made.len() > 1, "{name} tells of its connections");
    for at in &made[1..] {
        let cause = outages.iter().rev().find(|outage| outage.began <= *at).map(|outage| outage.fault);
        assert!(cause.is_some_and(Fault::cuts_clients), "{name}: a new connection after {cause:?}");
    }
}

/// Where the client goes on after it was cut off, which must be allowed to it.
fn go_back(
    listener: &Listener,
    event: &Event,
    known: &[Event],
    came: &[Instant],
    broke: Option<Instant>,
) -> usize {
    let name = listener.kind.name;
    let last = known.last();
    let back = known.iter().rposition(|known| known == event);
    let back = back.unwrap_or_else(|| panic!("{name}: {event:?} cannot follow {last:?}"));
    assert_eq!(listener.kind.way, Way::Resume, "{name}: {event:?} came again after {last:?}");
    let broke = broke.unwrap_or_else(|| panic!("{name}: {event:?} came again without a new connection"));
    let before = broke.duration_since(came[back]);
    assert!(before <= AGAIN, "{name}: {event:?} came again, which had come {before:?} before the end");
    back
}
