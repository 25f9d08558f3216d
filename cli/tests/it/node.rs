//! A running node.

use serde_json::Value;
use tokio::process::Command;

use crate::api::Api;
use crate::place::ADMIN_KEY;
use crate::program::Program;

/// A node that is ready.
pub(crate) struct Node {
    pub(crate) program: Program,
    /// Where clients reach it; a worker has an address that nobody can use.
    pub(crate) api: Api,
    /// The address of its metrics and its health.
    pub(crate) ops: String,
}

impl Node {
    /// Starts the command, which must log as JSON, and waits until it says that it is ready.
    pub(crate) async fn start(name: &str, command: Command) -> Self {
        let mut program = Program::start(name, command);
        let starting = program.err.find("the node's addresses", |line| logged(line, "starting")).await;
        program.err.find("the node to be ready", |line| logged(line, "ready")).await;
        let address = |name: &str| starting[name].as_str().unwrap_or_default().to_owned();
        let api = Api::new(format!("http://{}", address("listen")), ADMIN_KEY);
        Self { program, api, ops: address("ops") }
    }

    /// Where it listens to clients.
    pub(crate) fn address(&self) -> &str {
        self.api.url.trim_start_matches("http://")
    }

    /// The value of a metric without labels; 0 where nothing was counted yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = reqwest::get(format!("http://{}/metrics", self.ops)).await.expect("an answer");
        let text = answer.text().await.expect("a text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }
}

/// Which of the workers takes the events of a place's only project; some must have been stored.
pub(crate) async fn serving(workers: &[Node]) -> usize {
    for (which, worker) in workers.iter().enumerate() {
        if worker.metric("nuncio_ingested_total").await > 0.0 {
            return which;
        }
    }
    panic!("no worker has taken any event");
}

/// The fields of a log line with this message.
fn logged(line: &str, message: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["fields"]["message"] == message).then(|| line["fields"].clone())
}
