//! The connections that stay open on this node, so that an administrator can see them and end them.
//!
//! Each has an entry of a few numbers, which its own task sets once a turn and nobody waits for. [`select`] picks out
//! entries, and [`errands`] carries questions about them to all nodes and their answers back.

mod errands;
mod select;

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::Poll;

use axum::http::{Extensions, HeaderMap, header};
use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::rights::Proof;
use nuncio_model::{Clock, Identity, Position};
use nuncio_store::{Meter, Tally};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::address::ClientAddress;
use crate::hub::{Bell, Cause};

pub(crate) use errands::{Answer, Errand, Errands};
pub(crate) use select::{Choice, Listed, Listing, Rank, Shown, Sort};

/// How much is kept of what a client calls itself.
const MAX_AGENT_BYTES: usize = 200;
/// The place of a connection that is not known to be behind.
const NOT_BEHIND: i64 = -1;

/// By what protocol a connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ConnectionKind)]
pub(crate) enum Kind {
    /// GraphQL over WebSocket.
    Websocket,
    /// A stream of events.
    Sse,
    /// GraphQL over server-sent events, in either mode.
    GraphqlSse,
    /// GraphQL in a multipart answer.
    Multipart,
    /// A page of history that waits for events.
    LongPoll,
}

/// Who opened a connection, by the request that did.
#[derive(Debug)]
pub(crate) struct Client {
    address: IpAddr,
    agent: Option<Box<str>>,
}

impl Client {
    /// The client of a request with these headers and extensions.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let agent = headers.get(header::USER_AGENT).map(|agent| {
            let text = String::from_utf8_lossy(agent.as_bytes());
            text[..text.floor_char_boundary(MAX_AGENT_BYTES)].into()
        });
        Self { address: ClientAddress::of(extensions), agent }
    }
}

/// The connections of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    node: String,
    clock: Clock,
    meter: Meter,
    /// When this node began, by both clocks.
    began: (Instant, DateTime<Utc>),
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Entry>>>,
    /// What clients call themselves. Thousands call themselves the same, and share the text.
    agents: Mutex<HashSet<Arc<str>>>,
}

/// One open connection.
struct Entry {
    number: u64,
    kind: Kind,
    /// It may be another after a new token, of the same project.
    identity: Mutex<Arc<Identity>>,
    address: IpAddr,
    agent: Option<Arc<str>>,
    opened_at: DateTime<Utc>,
    bell: Arc<Bell>,
    tally: Arc<Tally>,
    operations: AtomicU32,
    events: AtomicU64,
    bytes: AtomicU64,
    pending: AtomicU64,
    /// Since when the socket has taken nothing while something waits: milliseconds of this node's life, from 1 on.
    stuck: AtomicU64,
    /// Where the operation is that is furthest behind.
    place: AtomicI64,
}

/// What a connection did in a turn, and how it is after that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Events that were given to the socket.
    pub(crate) events: u64,
    /// Bytes that it took.
    pub(crate) bytes: u64,
    /// Bytes that it has not taken.
    pub(crate) pending: usize,
    /// Operations that run.
    pub(crate) operations: usize,
    /// Where the operation is that is furthest behind, of one whose socket does not take everything.
    pub(crate) place: Option<Position>,
}

/// A connection's place in the list, for as long as it is open.
pub(crate) struct Open {
    all: Connections,
    entry: Arc<Entry>,
}

impl Connections {
    /// No connections yet, of the node of this name.
    pub(crate) fn new(node: String, clock: Clock, meter: Meter) -> Self {
        let (began, next) = ((Instant::now(), clock.now()), AtomicU64::new(1));
        let (open, agents) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { node, clock, meter, began, next, open, agents }))
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.0.node
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.open.lock().len()
    }

    /// Lists a connection whose task is woken by this bell.
    pub(crate) fn open(
        &self,
        kind: Kind,
        client: Client,
        identity: &Arc<Identity>,
        bell: &Arc<Bell>,
    ) -> Open {
        let number = self.0.next.fetch_add(1, Relaxed);
        let tally = self.0.meter.of(identity.project);
        tally.opened();
        let entry = Arc::new(Entry {
            number,
            kind,
            identity: Mutex::new(identity.clone()),
            address: client.address,
            agent: client.agent.map(|agent| self.shared(&agent)),
            opened_at: self.0.clock.now(),
            bell: bell.clone(),
            tally,
            operations: AtomicU32::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            stuck: AtomicU64::new(0),
            place: AtomicI64::new(NOT_BEHIND),
        });
        self.0.open.lock().insert(number, entry.clone());
        Open { all: self.clone(), entry }
    }

    fn shared(&self, agent: &str) -> Arc<str> {
        let mut agents = self.0.agents.lock();
        if let Some(known) = agents.get(agent) {
            return known.clone();
        }
        let agent: Arc<str> = agent.into();
        agents.insert(agent.clone());
        agent
    }

    fn forget(&self, agent: &Arc<str>) {
        let mut agents = self.0.agents.lock();
        // The set's own, and that of the entry that is about to go.
        if Arc::strong_count(agent) <= 2 {
            agents.remove(agent);
        }
    }

    /// For how many milliseconds this node has run, at least 1.
    fn age(&self) -> u64 {
        self.0.began.0.elapsed().as_millis() as u64 + 1
    }

    /// When it had run for so long.
    fn time_at(&self, age: u64) -> DateTime<Utc> {
        self.0.began.1 + TimeDelta::milliseconds(i64::try_from(age).unwrap_or(0))
    }
}

impl Open {
    /// Notes what was done in a turn. It is called once in each, whatever the number of events.
    pub(crate) fn note(&self, turn: Turn) {
        let Turn { events, bytes, pending, operations, place } = turn;
        let entry = &*self.entry;
        // Only this task writes: nobody else's addition can be lost between the two.
        let add = |counter: &AtomicU64, n: u64| counter.store(counter.load(Relaxed) + n, Relaxed);
        if events > 0 {
            add(&entry.events, events);
            entry.tally.delivered(events);
        }
        if bytes > 0 {
            add(&entry.bytes, bytes);
        }
        entry.operations.store(u32::try_from(operations).unwrap_or(u32::MAX), Relaxed);
        entry.pending.store(pending as u64, Relaxed);
        if pending == 0 {
            entry.stuck.store(0, Relaxed);
        } else if bytes > 0 || entry.stuck.load(Relaxed) == 0 {
            entry.stuck.store(self.all.age(), Relaxed);
        }
        entry.place.store(place.unwrap_or(NOT_BEHIND), Relaxed);
    }

    /// Notes who is asking now, after a new token.
    pub(crate) fn identify(&self, identity: &Arc<Identity>) {
        *self.entry.identity.lock() = identity.clone();
    }

    /// Waits until the connection is to be ended: for those that wait for nothing else that rings.
    pub(crate) async fn ended(&self) {
        let mut causes = Vec::new();
        poll_fn(|context| {
            self.entry.bell.register(context.waker());
            self.entry.bell.take(&mut causes);
            if causes.contains(&Cause::Disconnected) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.0.open.lock().remove(&self.entry.number);
        self.entry.tally.closed();
        if let Some(agent) = &self.entry.agent {
            self.all.forget(agent);
        }
    }
}

/// What names the credentials in lists and logs: a key's prefix, or the id of the key that a token was signed with.
fn key_of(identity: &Identity) -> &str {
    match &identity.proof {
        Proof::ApiKey(prefix) => prefix,
        Proof::Token(token) => &token.kid,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use nuncio_model::{ProjectId, ProjectName, Rights};

    use super::*;

    /// Whoever has an API key of the project, as this subject.
    pub(super) fn identity(project: i32, subject: &str) -> Arc<Identity> {
        Arc::new(Identity {
            project: ProjectId(project),
            project_name: ProjectName::parse("p").expect("a good name"),
            subject: Some(subject.to_owned()),
            rights: Rights::default(),
            expires_at: None,
            address: None,
            proof: Proof::ApiKey("k".to_owned()),
        })
    }

    pub(super) fn client() -> Client {
        Client { address: IpAddr::from([192, 0, 2, 1]), agent: Some("tester".into()) }
    }

    /// Connections whose counts are written nowhere.
    pub(super) fn connections(node: &str) -> Connections {
        Connections::new(node.to_owned(), Clock::system(), Meter::new(node))
    }

    /// What an idle connection takes is this, a place in the map, and what of its own it points to.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 144, "{}", size_of::<Entry>());
    }

    #[tokio::test]
    async fn what_clients_call_themselves_is_kept_once_and_as_long_as_any_is_open() {
        let (all, bell) = (connections("n"), Arc::default());
        let identity = identity(1, "ada");
        let open = || all.open(Kind::Sse, client(), &identity, &bell);
        let both = (open(), open());
        assert_eq!((all.0.agents.lock().len(), all.count()), (1, 2));
        drop(both.0);
        assert_eq!(all.0.agents.lock().len(), 1);
        drop(both.1);
        assert_eq!((all.0.agents.lock().len(), all.count()), (0, 0));
    }
}

#[cfg(test)]
mod hot {
    use super::*;
    use crate::hot::repeat;

    /// What every turn of every connection does for the list.
    #[test]
    fn note_a_turn() {
        let all = tests::connections("n");
        let identity = tests::identity(1, "ada");
        let open = all.open(Kind::Sse, tests::client(), &identity, &Arc::default());
        let turn = Turn { events: 1, bytes: 300, operations: 1, ..Turn::default() };
        repeat(|_| open.note(std::hint::black_box(turn)));
    }
}
