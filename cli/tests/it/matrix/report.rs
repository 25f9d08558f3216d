//! The figures of a run, for whoever asks for them: one JSON object a line, in the test's output and in a file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::listener::Listener;
use super::stage::Outage;

/// Names the file that the figures are added to.
const FILE: &str = "NUNCIO_TEST_FIGURES";

/// Tells the figures of a client that has been judged. Of two outages of a kind the longer times count.
#[expect(clippy::print_stdout, reason = "a test speaks to whoever runs it with `--no-capture`")]
pub(crate) fn report(listener: &Listener, outages: &[Outage], repeats: usize) {
    let times: Vec<Instant> = listener.times().collect();
    // While an api node is away the other answers, so that nobody waits for its return.
    let waited_for = outages.iter().filter(|outage| !outage.fault.cuts_clients());
    let line = json!({
        "client": listener.kind.name, "version": listener.version(), "events": times.len(), "repeats": repeats,
        "afterReturnMs": longest(waited_for, |outage| after_return(&times, outage)),
        "silenceMs": longest(outages.iter(), |outage| silence(&times, outage)),
    });
    println!("{line}");
    if let Some(file) = std::env::var_os(FILE) {
        let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the file of figures");
        writeln!(file, "{line}").expect("the file of figures can be written to");
    }
}

/// The longest time for each kind of outage, in milliseconds.
fn longest<'a>(
    outages: impl Iterator<Item = &'a Outage>,
    time: impl Fn(&Outage) -> Option<Duration>,
) -> BTreeMap<&'static str, u128> {
    let mut longest = BTreeMap::new();
    for outage in outages {
        let entry = longest.entry(outage.fault.name()).or_default();
        *entry = time(outage).unwrap_or_default().as_millis().max(*entry);
    }
    longest
}

/// From the server's return to the first event behind it.
fn after_return(times: &[Instant], outage: &Outage) -> Option<Duration> {
    let first = times.iter().find(|at| **at > outage.returned)?;
    Some(first.duration_since(outage.returned))
}

/// The longest time without an event that began before the server's return.
fn silence(times: &[Instant], outage: &Outage) -> Option<Duration> {
    let pairs = times.windows(2).filter(|pair| pair[1] > outage.began && pair[0] < outage.returned);
    pairs.map(|pair| pair[1].duration_since(pair[0])).max()
}
