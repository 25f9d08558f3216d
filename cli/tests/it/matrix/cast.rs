//! The clients of the matrix, each as it comes from its registry.

use std::fs;

use serde_json::{Value, json};

use super::stage::Stage;
use crate::clients::{chromium, folder, run};
use crate::program::Program;

/// How a client that was cut off finds back to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It names the last cursor it has seen: nothing may come twice.
    Cursor,
    /// It sends the variables it has, with its `resume` id: what came last may come twice.
    Resume,
}

/// A kind of client.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What `package.json` or `requirements.txt` calls it.
    package: &'static str,
    script: &'static str,
    pub(crate) way: Way,
    /// Options beside those that all have.
    more: Value,
}

fn kind(name: &'static str, package: &'static str, script: &'static str, way: Way) -> Kind {
    Kind { name, package, script, way, more: json!({}) }
}

impl Kind {
    fn with(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    /// Starts it at the balancer before this node, after a cursor.
    pub(crate) fn start(&self, stage: &Stage, node: usize, after: &str) -> Program {
        let mut options = json!({
            "api": stage.balancer(node), "token": stage.tenant.key, "channel": "load.*", "after": after, "count": 0,
            "signing": stage.tenant.signing(), "chromium": chromium(),
        });
        if self.way == Way::Resume {
            options["resume"] = self.name.into();
        }
        let more = self.more.as_object().into_iter().flatten();
        more.for_each(|(name, value)| options[name] = value.clone());
        run(self.script, &options)
    }

    /// The version that is installed.
    pub(crate) fn version(&self) -> String {
        let read = |file: &str| fs::read_to_string(folder().join(file)).expect("a list of packages");
        let node: Value = serde_json::from_str(&read("package.json")).expect("JSON");
        if let Some(version) = node["dependencies"][self.package].as_str() {
            return version.to_owned();
        }
        let python = read("requirements.txt");
        let mut pinned = python.lines().filter_map(|line| line.split_once("=="));
        let version = pinned.find_map(|(name, version)| (name == self.package).then_some(version));
        version.unwrap_or_else(|| panic!("no version of {}", self.package)).to_owned()
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Kind> {
    use Way::{Cursor, Resume};
    let chromium = |name, transport: &str, way| {
        kind(name, "playwright-core", "subscribe_chromium.mjs", way).with(json!({ "transport": transport }))
    };
    let gql = |name, transport: &str, subprotocol: &str| {
        let more = json!({ "transport": transport, "subprotocol": subprotocol });
        kind(name, "gql", "subscribe_gql.py", Cursor).with(more)
    };
    let sse = |name, mode: &str| {
        kind(name, "graphql-sse", "subscribe_graphql_sse.mjs", Cursor).with(json!({ "mode": mode }))
    };
    vec![
        kind("graphql-ws", "graphql-ws", "subscribe_graphql_ws_resume.mjs", Resume),
        kind("graphql-ws, by cursor", "graphql-ws", "subscribe_graphql_ws.mjs", Cursor),
        kind("Apollo Client, WebSocket", "@apollo/client", "subscribe_apollo_ws.mjs", Resume),
        kind("urql", "@urql/core", "subscribe_urql.mjs", Resume),
        kind("Relay", "relay-runtime", "subscribe_relay.mjs", Resume),
        gql("gql, websockets", "websockets", "graphql-transport-ws"),
        gql("gql, aiohttp", "aiohttp", "graphql-transport-ws"),
        gql("gql, websockets, legacy", "websockets", "graphql-ws"),
        sse("graphql-sse, distinct", "distinct"),
        sse("graphql-sse, single", "single"),
        kind("Apollo Client, multipart", "@apollo/client", "subscribe_apollo_multipart.mjs", Cursor),
        kind("eventsource", "eventsource", "subscribe_eventsource.mjs", Cursor),
        chromium("Chromium's EventSource", "EventSource", Cursor),
        chromium("Chromium's WebSocket", "WebSocket", Resume),
    ]
}
