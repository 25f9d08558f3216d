//! The figures of a run, for whoever asks for them: one JSON object a line, in the test's output and in a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::listener::Listener;
use super::stage::Outage;

/// Names the file that the figures are added to.
const FILE: &str = "NUNCIO_TEST_FIGURES";

/// Tells the figures of a client that has been judged.
#[expect(clippy::print_stdout, reason = "a test speaks to whoever runs it with `--no-capture`")]
pub(crate) fn report(listener: &Listener, outages: &[Outage], repeats: usize) {
    let line = json!({
        "client": listener.kind.name, "version": listener.version(), "events": listener.times().count(),
        "repeats": repeats, "afterReturnMs": figures(listener, outages, after_return),
        "silenceMs": figures(listener, outages, silence),
    });
    println!("{line}");
    if let Some(file) = std::env::var_os(FILE) {
        let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the file of figures");
        writeln!(file, "{line}").expect("the file of figures can be written to");
    }
}

/// A figure for each outage that this client could notice.
fn figures(
    listener: &Listener,
    outages: &[Outage],
    figure: fn(&[Instant], &Outage) -> Option<Duration>,
) -> Value {
    let mut figures = Map::new();
    let times: Vec<Instant> = listener.times().collect();
    let noticed = |outage: &&Outage| outage.node.is_none_or(|node| node == listener.node);
    for outage in outages.iter().filter(noticed) {
        let time = figure(&times, outage).map(|time| time.as_millis() as u64);
        figures.insert(outage.fault.name().to_owned(), json!(time));
    }
    figures.into()
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
