//! What strangers and broken clients send, one file per surface, and what must hold after each of it: a clear error,
//! the same process that answers at once, its memory back, other projects' streams gone on, and nothing told that is
//! secret.

mod broker;
mod bystander;
mod graphql;
mod http;
mod http_body;
mod http_full;
mod http_parameters;
mod http_slow;
mod leaks;
mod memory;
mod raw;
mod socket;
mod sse;
mod websocket;

use std::time::Duration;

use crate::api::Api;
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::eventually;
use bystander::Bystander;
use leaks::Leaks;
use memory::Memory;
use raw::Raw;

/// How soon a node answers that was abused a moment ago.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A node under abuse, and a bystander whom it must not touch.
pub(crate) struct Arena {
    pub(crate) place: Place,
    pub(crate) node: Node,
    /// The project whose clients misbehave.
    pub(crate) tenant: Tenant,
    /// How much memory the node may take.
    pub(crate) memory: Memory,
    /// What no answer and no log may hold.
    pub(crate) leaks: Leaks,
    bystander: Bystander,
}

impl Arena {
    /// Starts `nuncio all` with two projects, and the bystander's stream.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with more settings.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let place = Place::new().await;
        let mut command = place.nuncio();
        command.arg("all").envs(settings.iter().copied());
        let node = Node::start("nuncio all", command).await;
        let tenant = place.make_project(&node, "abused").await;
        let other = place.make_project(&node, "bystander").await;
        let leaks = Leaks::new(&place, &[&tenant, &other]);
        let bystander = Bystander::start(&node.api, other).await;
        answers(&node.api, &tenant).await;
        let memory = Memory::of(node.program.id());
        Self { place, node, tenant, memory, leaks, bystander }
    }

    /// Opens a connection on which anything can be sent.
    pub(crate) async fn connect(&self) -> Raw {
        Raw::connect(self.address(), self.leaks.clone()).await
    }

    /// Opens one from another address, as somebody else.
    pub(crate) async fn connect_from(&self, address: &str) -> Raw {
        Raw::connect_from(address, self.address(), self.leaks.clone()).await
    }

    /// Waits until a counter of the node has reached this.
    pub(crate) async fn until_metric(&self, name: &str, count: f64) {
        eventually(name, async || self.node.metric(name).await >= count).await;
    }

    /// `host:port` of the node.
    pub(crate) fn address(&self) -> &str {
        self.node.api.url.trim_start_matches("http://")
    }

    /// A request with the abused project's key, as bytes; `line` is the method and the target.
    pub(crate) fn request(&self, line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
        let key = format!("authorization: Bearer {}", self.tenant.key);
        let length = format!("content-length: {}", body.len());
        let headers: Vec<&str> = [key.as_str(), &length].into_iter().chain(headers.iter().copied()).collect();
        [self.head(line, &headers).as_bytes(), body].concat()
    }

    /// The head of a request without anything that is not given, but the host.
    pub(crate) fn head(&self, line: &str, headers: &[&str]) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        format!("{line} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", self.address())
    }

    /// Checks, after an abuse, that nobody but the abuser noticed.
    pub(crate) async fn still_well(&mut self, after: &str) {
        assert!(self.node.program.is_running(), "the process ended after {after}");
        let answered = tokio::time::timeout(AT_ONCE, answers(&self.node.api, &self.tenant)).await;
        assert!(answered.is_ok(), "no answer in {AT_ONCE:?} after {after}");
        self.bystander.went_on(after).await;
        self.memory.is_back(after).await;
        for said in [&self.node.program.out, &self.node.program.err] {
            self.leaks.assert_clean_log(&said.all(), after);
        }
    }
}

/// A request that takes the whole way: credentials, the GraphQL engine, the log.
async fn answers(api: &Api, tenant: &Tenant) {
    // A client of its own, so that a new connection is needed too.
    Api::new(api.url.clone(), "").cursor(tenant).await;
}
