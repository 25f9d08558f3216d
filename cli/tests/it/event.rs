//! What a subscriber sees of an event, whichever way it came.

use serde_json::Value;

/// An event of a test: its data holds its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) channel: String,
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) cursor: String,
    pub(crate) n: u64,
}

impl Event {
    /// Reads GraphQL's form, where the sequence is a number, and that of CloudEvents, where it is a text.
    pub(crate) fn read(value: &Value) -> Self {
        let text =
            |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned();
        let sequence = &value["sequence"];
        let sequence = sequence.as_u64().or_else(|| sequence.as_str()?.parse().ok());
        Self {
            channel: text("channel"),
            id: text("id"),
            sequence: sequence.unwrap_or_else(|| panic!("no sequence: {value}")),
            cursor: text("cursor"),
            n: value["data"]["n"].as_u64().unwrap_or_else(|| panic!("no number: {value}")),
        }
    }
}

/// Checks that a channel has exactly the events 1 to `count`, in order, with the sequences 1 to `count`.
#[track_caller]
pub(crate) fn assert_complete(events: &[Event], channel: &str, count: u64) {
    let found = events.iter().filter(|event| event.channel == channel);
    let found: Vec<_> = found.map(|event| (event.sequence, event.n)).collect();
    let wrong = found.iter().zip(1..).position(|(found, n)| *found != (n, n));
    assert_eq!(wrong, None, "{channel}: wrong from (sequence, number) {:?} on", wrong.map(|at| found[at]));
    assert_eq!(found.len() as u64, count, "{channel}");
}

/// Checks that two readers saw the same, without printing thousands of events.
#[track_caller]
pub(crate) fn assert_same(who: &str, seen: &[Event], log: &[Event]) {
    let wrong = seen.iter().zip(log).position(|(seen, log)| seen != log);
    let at = wrong.map(|at| (at, &seen[at], &log[at]));
    assert!(at.is_none(), "{who} differs from the log at {at:?}");
    assert_eq!(seen.len(), log.len(), "{who} saw more or fewer events than the log has");
}
