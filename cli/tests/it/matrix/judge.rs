//! What a client heard, held against the log.

use std::time::Duration;

use tokio::time::Instant;

use super::cast::Way;
use super::listener::Heard;
use super::stage::{Fault, Outage};
use crate::event::Event;

/// A client that resumes may be given again what came within this time before its connection broke: pings follow data
/// within half a second, and their answers need a moment to be noted.
const AGAIN: Duration = Duration::from_millis(1_500);

/// Checks that everything came in order, once, or again only where that is allowed. Gives the number of repeats, or says
/// what is wrong.
pub(crate) fn judge(
    way: Way,
    heard: &[(Instant, Heard)],
    outages: &[Outage],
    log: &[Event],
) -> Result<usize, String> {
    check_connections(heard, outages)?;
    let (mut next, mut repeats) = (0, 0);
    let mut came: Vec<Instant> = Vec::new();
    let mut broke = None;
    for (at, heard) in heard {
        match heard {
            Heard::Connected => {}
            Heard::Broken => broke = broke.or(Some(*at)),
            Heard::Event(event) => {
                if log.get(next) != Some(event) {
                    let back = go_back(event, &log[..next], &came, broke)?;
                    if way == Way::Cursor {
                        return Err(format!("{event:?} came again"));
                    }
                    repeats += next - back;
                    next = back;
                }
                came.truncate(next);
                came.push(*at);
                (next, broke) = (next + 1, None);
            }
        }
    }
    if next < log.len() {
        return Err(format!("it did not hear {:?} and what followed", log[next]));
    }
    Ok(repeats)
}

/// A connection is made at first, and anew only after an api node was killed or drained.
fn check_connections(heard: &[(Instant, Heard)], outages: &[Outage]) -> Result<(), String> {
    let made = heard.iter().filter(|(_, heard)| matches!(heard, Heard::Connected));
    for (at, _) in made.skip(1) {
        let cause = outages.iter().rev().find(|outage| outage.began <= *at).map(|outage| outage.fault);
        if !cause.is_some_and(Fault::cuts_clients) {
            return Err(format!("it lost its connection after {cause:?}"));
        }
    }
    Ok(())
}

/// Where the client goes on after it was cut off.
fn go_back(
    event: &Event,
    known: &[Event],
    came: &[Instant],
    broke: Option<Instant>,
) -> Result<usize, String> {
    let back = known.iter().rposition(|known| known == event);
    let back = back.ok_or_else(|| format!("{event:?} cannot follow {:?}", known.last()))?;
    let broke = broke.ok_or_else(|| format!("{event:?} came again without a new connection"))?;
    let before = broke.duration_since(came[back]);
    if before > AGAIN {
        return Err(format!("{event:?} came again, which had come {before:?} before the end"));
    }
    Ok(back)
}

/// Histories made wrong on purpose, and right ones beside them.
#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64) -> Event {
        let text = n.to_string();
        Event { channel: "load".to_owned(), id: text.clone(), sequence: n, cursor: text, n }
    }

    /// A history of steps a tenth of a second apart: an event's number, `0` for a lost connection.
    fn judged(way: Way, history: &[u64]) -> Result<usize, String> {
        let log: Vec<Event> = (1..=20).map(event).collect();
        let start = Instant::now();
        let at = |step: usize| start + Duration::from_millis(100) * u32::try_from(step).expect("few steps");
        let step = |(step, n): (usize, &u64)| match n {
            0 => (at(step), Heard::Broken),
            n => (at(step), Heard::Event(event(*n))),
        };
        judge(way, &history.iter().enumerate().map(step).collect::<Vec<_>>(), &[], &log)
    }

    /// Events 1 to `last`, then these steps.
    fn history(last: u64, then: &[u64]) -> Vec<u64> {
        (1..=last).chain(then.iter().copied()).collect()
    }

    fn rest(first: u64) -> Vec<u64> {
        (first..=20).collect()
    }

    #[test]
    fn everything_once_is_right_for_all() {
        for way in [Way::Cursor, Way::Resume] {
            assert_eq!(judged(way, &history(20, &[])), Ok(0));
            assert_eq!(judged(way, &history(7, &[&[0, 0], &rest(8)[..]].concat())), Ok(0));
        }
    }

    #[test]
    fn what_came_last_may_come_again_to_those_who_resume() {
        let again = history(9, &[&[0], &rest(7)[..]].concat());
        assert_eq!(judged(Way::Resume, &again), Ok(3));
        assert!(judged(Way::Cursor, &again).unwrap_err().contains("came again"));
    }

    #[test]
    fn nothing_may_come_again_from_long_ago_or_without_a_break() {
        let long_ago = history(20, &[&[0], &rest(2)[..]].concat());
        assert!(judged(Way::Resume, &long_ago).unwrap_err().contains("before the end"));
        let in_between = history(9, &rest(7));
        assert!(judged(Way::Resume, &in_between).unwrap_err().contains("without a new connection"));
    }

    #[test]
    fn nothing_may_be_missing_or_out_of_order() {
        for way in [Way::Cursor, Way::Resume] {
            assert!(judged(way, &history(19, &[])).unwrap_err().contains("did not hear"));
            assert!(judged(way, &history(9, &rest(11))).unwrap_err().contains("cannot follow"));
            assert!(judged(way, &history(9, &[&[0], &rest(11)[..]].concat())).is_err());
            assert!(judged(way, &[2, 1]).is_err());
            assert!(judged(way, &history(20, &[21])).is_err());
        }
    }

    #[test]
    fn connections_end_with_api_nodes_alone() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let heard = [(at(0), Heard::Connected), (at(0), Heard::Event(event(1))), (at(5), Heard::Connected)];
        let judged = |fault| {
            let outages = [Outage { fault, began: at(4), returned: at(6) }];
            judge(Way::Cursor, &heard, &outages, &[event(1)])
        };
        assert_eq!(judged(Fault::Api(1)), Ok(0));
        assert!(judged(Fault::PostgreSql).unwrap_err().contains("lost its connection"));
    }
}
