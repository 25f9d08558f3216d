//! The client programs in `tests/clients`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::api::Api;
use crate::event::Event;
use crate::place::Tenant;
use crate::program::{Program, command};

/// Where the scripts are, with `node_modules` below.
pub(crate) fn folder() -> PathBuf {
    let named = std::env::var_os("NUNCIO_TEST_CLIENTS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| repository().join("tests").join("clients"));
    assert!(
        folder.join("node_modules").is_dir(),
        "the Node clients are not installed: use `cargo xtask test`"
    );
    folder
}

/// The Python that has the client packages.
pub(crate) fn python() -> PathBuf {
    let usual = || repository().join("target").join("clients").join("venv").join("bin").join("python");
    let python = std::env::var_os("NUNCIO_TEST_PYTHON").map_or_else(usual, PathBuf::from);
    assert!(python.is_file(), "the Python clients are not installed: use `cargo xtask test`");
    python
}

/// The Chromium or Chrome for scripts that use `browser.mjs`; given to them among their options.
pub(crate) fn chromium() -> PathBuf {
    let named = std::env::var_os("NUNCIO_TEST_CHROMIUM").map(PathBuf::from);
    let chromium = named.unwrap_or_else(|| PathBuf::from("/usr/bin/chromium"));
    assert!(
        chromium.is_file(),
        "there is no Chromium: use `cargo xtask test`, or name it by NUNCIO_TEST_CHROMIUM"
    );
    chromium
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the repository")
}

/// Starts a script of `tests/clients` with its options.
pub(crate) fn run(script: &str, options: &Value) -> Program {
    let interpreter = if script.ends_with(".py") { python() } else { PathBuf::from("node") };
    let mut command = command(interpreter);
    command.arg(script).arg(options.to_string()).current_dir(folder());
    // Nothing is to be left behind in the repository.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Program::start(script, command)
}

/// The two subscribers.
#[derive(Clone, Copy)]
pub(crate) enum Subscriber {
    GraphqlWs,
    EventSource,
}

impl Subscriber {
    /// Subscribes at this node after a cursor. It ends after `count` events; with 0 it goes on.
    pub(crate) fn start(
        self,
        api: &Api,
        tenant: &Tenant,
        channel: &str,
        after: Option<&str>,
        count: usize,
    ) -> Program {
        let script = match self {
            Self::GraphqlWs => "subscribe_graphql_ws.mjs",
            Self::EventSource => "subscribe_eventsource.mjs",
        };
        let options = json!({
            "api": api.url, "token": tenant.key, "channel": channel, "after": after, "count": count,
        });
        run(script, &options)
    }
}

/// The events that a subscriber has printed so far. None of these tests lets any be missed.
pub(crate) fn received(subscriber: &Program) -> Vec<Event> {
    let lines = subscriber.out.all();
    let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let told = |line: Value| {
        assert!(line.get("gap").is_none() && line.get("error").is_none(), "{line}");
        line.get("event").map(Event::read)
    };
    values.filter_map(told).collect()
}

/// Reads that member of a printed line, if it has one.
pub(crate) fn member(name: &str) -> impl Fn(&str) -> Option<Value> {
    move |line| serde_json::from_str::<Value>(line).ok()?.get(name).cloned()
}
