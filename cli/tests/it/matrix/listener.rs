//! A client at work, and what it has heard so far.

use serde_json::Value;
use tokio::time::Instant;

use super::cast::Kind;
use super::stage::Stage;
use crate::event::Event;
use crate::program::Program;

/// Something that a client told.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Connected,
    /// The connection was lost, or could not be made.
    Broken,
    Event(Event),
}

pub(crate) struct Listener {
    pub(crate) kind: Kind,
    program: Program,
    lines: usize,
    /// The version that it told, where it is no package.
    version: Option<String>,
    pub(crate) heard: Vec<(Instant, Heard)>,
}

impl Listener {
    pub(crate) fn start(kind: Kind, stage: &Stage, node: usize, after: &str) -> Self {
        let program = kind.start(stage, node, after);
        Self { kind, program, lines: 0, version: None, heard: Vec::new() }
    }

    /// Waits until it has heard this event of a channel.
    pub(crate) async fn until(&mut self, channel: &str, n: u64) {
        let what = format!("{}: event {n} of {channel}", self.kind.name);
        let is_it = |(_, heard): &(Instant, Heard)| match heard {
            Heard::Event(event) => event.channel == channel && event.n == n,
            Heard::Connected | Heard::Broken => false,
        };
        let mut looked_at = 0;
        while !self.heard[looked_at..].iter().any(is_it) {
            looked_at = self.heard.len();
            let lines = self.program.out.after(&what, self.lines).await;
            self.lines += lines.len();
            for (at, line) in lines {
                self.take(at, &serde_json::from_str(&line).expect("JSON"));
            }
        }
    }

    fn take(&mut self, at: Instant, line: &Value) {
        let has = |member: &str| line.get(member).is_some();
        assert!(!has("gap") && !has("error") && !has("complete"), "{}: {line}", self.kind.name);
        if let Some(event) = line.get("event") {
            self.heard.push((at, Heard::Event(Event::read(event))));
        } else if has("connected") || has("ready") {
            self.heard.push((at, Heard::Connected));
        } else if has("closed") || has("broken") {
            self.heard.push((at, Heard::Broken));
        } else if let Some(version) = line["version"].as_str() {
            self.version = Some(version.to_owned());
        }
    }

    /// The version of the client.
    pub(crate) fn version(&self) -> String {
        self.version.clone().unwrap_or_else(|| self.kind.version())
    }

    /// When events came.
    pub(crate) fn times(&self) -> impl Iterator<Item = Instant> {
        self.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Event(_))).map(|(at, _)| *at)
    }
}
