//! What the driver is told and what it answers: one line of JSON each, on its standard input and output.

use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
use super::publisher::Outlet;

/// What the driver is to do next.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Connect and subscribe so many, and publish until every one has heard something.
    Connect {
        address: String,
        dialect: Dialect,
        outlet: Outlet,
        subscribers: usize,
        /// How many of them will fall asleep.
        sleepers: usize,
        /// Whether they will resume, for which they have to remember cursors.
        resume: bool,
    },
    /// Publish so many events on a schedule, and wait until every subscriber that reads has all of them.
    Run { per_second: u32, events: u32 },
    /// Begin to publish, without waiting.
    Begin { per_second: u32, events: u32 },
    /// Wait for the end of what was begun, and until every subscriber that reads has all of it.
    End,
    /// The first so many subscribers stop reading; zero wakes them.
    Sleep { subscribers: usize },
    /// Wait until every subscriber that reads has everything that was published.
    Settle,
    /// Cut all connections and come back at once, going on where each was.
    Cut,
}

/// What the driver answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Ran(Outcome),
    /// Everybody is back.
    Back(Comeback),
    Failed(String),
}

/// What became of a run in which every subscriber got everything, once and in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) deliveries: u64,
    /// From the first event's due time to the last receipt.
    pub(crate) seconds: f64,
    /// Latency from the due time, in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// What became of a storm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comeback {
    /// Until the last one had subscribed again.
    pub(crate) subscribed_seconds: f64,
    /// Until the last one got events on time again.
    pub(crate) caught_up_seconds: f64,
    /// Connections that had to be tried again.
    pub(crate) retries: u64,
}
