//! Picking connections out of a node's list: by who opened them, in an order, from a place on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use nuncio_model::cloudevents::write_time;
use nuncio_model::{Position, ProjectId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Connections, Entry, Kind, key_of};
use crate::hub::Cause;

/// Which connections of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// Those of these ids; all where it is left out.
    pub(crate) ids: Option<Vec<String>>,
    /// Those of tokens with this subject.
    pub(crate) subject: Option<String>,
    /// Those of this API key's prefix, or of tokens signed with the key of this id.
    pub(crate) key: Option<String>,
    /// Those of this protocol.
    pub(crate) kind: Option<Kind>,
    /// Those of this node.
    pub(crate) node: Option<String>,
}

/// In what order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ConnectionSort)]
pub(crate) enum Sort {
    /// Those whose sockets have taken nothing for longest; then those furthest behind; then those for which most waits.
    Slowest,
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// A place in an order: what is sorted by, and then the connection itself. The least comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rank {
    by: [i64; 3],
    node: String,
    number: u64,
}

/// A list that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// Which.
    pub(crate) choice: Choice,
    /// In what order.
    pub(crate) sort: Sort,
    /// After which place.
    pub(crate) after: Option<Rank>,
    /// At most so many.
    pub(crate) limit: usize,
}

/// A node's part of a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// How many there are in all, on whatever page.
    pub(crate) total: usize,
    /// The first of them, in their order.
    pub(crate) items: Vec<(Rank, Shown)>,
}

/// An open connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Connection)]
pub(crate) struct Shown {
    /// Names it, on all nodes.
    id: String,
    /// The node that holds it.
    node: String,
    /// The protocol.
    kind: Kind,
    /// The subject of its token; null for API keys.
    subject: Option<String>,
    /// The prefix of its API key, or the id of the key that its token was signed with.
    key: String,
    /// The client's address.
    address: String,
    /// What the client calls itself, up to 200 bytes.
    user_agent: Option<String>,
    /// When it was opened; of a WebSocket, when it was acknowledged.
    opened_at: String,
    /// How many operations run on it.
    operations: u32,
    /// How many events it was sent.
    sent_events: u64,
    /// How many bytes its socket has taken.
    sent_bytes: u64,
    /// How many bytes its socket has not taken yet.
    pending_bytes: u64,
    /// For how many seconds its socket has taken nothing while something waits; 0 where nothing waits.
    #[schema(minimum = 0.0)]
    waiting_seconds: f64,
    /// How many of the project's positions the operation that is furthest behind was from the end of the log, where the
    /// socket does not take everything; null for all others.
    behind_events: Option<i64>,
}

impl Choice {
    /// The nodes that can have any of these; all where there is no telling.
    pub(crate) fn nodes(&self) -> Option<Vec<&str>> {
        match (&self.node, &self.ids) {
            (Some(node), _) => Some(vec![node]),
            (None, Some(ids)) => Some(ids.iter().filter_map(|id| Some(id.rsplit_once('.')?.0)).collect()),
            (None, None) => None,
        }
    }

    fn has(&self, project: ProjectId, entry: &Entry) -> bool {
        let identity = entry.identity.lock();
        identity.project == project
            && self.subject.as_deref().is_none_or(|subject| identity.subject.as_deref() == Some(subject))
            && self.key.as_deref().is_none_or(|key| key_of(&identity) == key)
            && self.kind.is_none_or(|kind| entry.kind == kind)
    }
}

impl Connections {
    /// This node's part of a list. `head` is where the project's log ends, as far as is known here.
    pub(crate) fn list(&self, project: ProjectId, listing: &Listing, head: Option<Position>) -> Listed {
        let mut ranked: Vec<_> = self
            .chosen(project, &listing.choice)
            .into_iter()
            .map(|entry| (self.rank(&entry, listing.sort, head), entry))
            .collect();
        let total = ranked.len();
        ranked.retain(|((by, number), _)| {
            listing.after.as_ref().is_none_or(|after| {
                (*by, self.node(), *number) > (after.by, after.node.as_str(), after.number)
            })
        });
        if listing.limit < ranked.len() {
            ranked.select_nth_unstable_by_key(listing.limit, |(rank, _)| *rank);
            ranked.truncate(listing.limit);
        }
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        let item = |((by, number), entry): (([i64; 3], u64), Arc<Entry>)| {
            (Rank { by, node: self.node().to_owned(), number }, self.show(&entry, head))
        };
        Listed { total, items: ranked.into_iter().map(item).collect() }
    }

    /// Has the chosen connections of this node ended; how many those are.
    pub(crate) fn disconnect(&self, project: ProjectId, choice: &Choice) -> usize {
        let chosen = self.chosen(project, choice);
        chosen.iter().for_each(|entry| entry.bell.ring(Cause::Disconnected));
        chosen.len()
    }

    fn chosen(&self, project: ProjectId, choice: &Choice) -> Vec<Arc<Entry>> {
        if choice.node.as_deref().is_some_and(|node| node != self.node()) {
            return Vec::new();
        }
        let open = self.0.open.lock();
        let has = |entry: &&Arc<Entry>| choice.has(project, entry);
        match &choice.ids {
            None => open.values().filter(has).cloned().collect(),
            Some(ids) => {
                let mut numbers: Vec<u64> = ids.iter().filter_map(|id| self.number_of(id)).collect();
                numbers.sort_unstable();
                numbers.dedup();
                numbers.iter().filter_map(|number| open.get(number)).filter(has).cloned().collect()
            }
        }
    }

    /// The number that an id names here.
    fn number_of(&self, id: &str) -> Option<u64> {
        let (node, number) = id.rsplit_once('.')?;
        if node == self.node() { number.parse().ok() } else { None }
    }

    fn rank(&self, entry: &Entry, sort: Sort, head: Option<Position>) -> ([i64; 3], u64) {
        let opened = entry.opened_at.timestamp_micros();
        let by = match sort {
            Sort::Newest => [-opened, 0, 0],
            Sort::Oldest => [opened, 0, 0],
            Sort::Slowest => {
                // Since when, and not for how long: so the order stays as it is while one turns the pages.
                let since = match entry.stuck.load(Relaxed) {
                    0 => i64::MAX,
                    age => self.time_at(age).timestamp_millis(),
                };
                let pending = i64::try_from(entry.pending.load(Relaxed)).unwrap_or(i64::MAX);
                [since, -entry.behind(head).unwrap_or(0), -pending]
            }
        };
        (by, entry.number)
    }

    fn show(&self, entry: &Entry, head: Option<Position>) -> Shown {
        let identity = entry.identity.lock().clone();
        let waiting = match entry.stuck.load(Relaxed) {
            0 => 0,
            since => self.age().saturating_sub(since),
        };
        Shown {
            id: format!("{}.{}", self.node(), entry.number),
            node: self.node().to_owned(),
            kind: entry.kind,
            subject: identity.subject.clone(),
            key: key_of(&identity).to_owned(),
            address: entry.address.to_string(),
            user_agent: entry.agent.as_deref().map(str::to_owned),
            opened_at: write_time(entry.opened_at),
            operations: entry.operations.load(Relaxed),
            sent_events: entry.events.load(Relaxed),
            sent_bytes: entry.bytes.load(Relaxed),
            pending_bytes: entry.pending.load(Relaxed),
            waiting_seconds: waiting as f64 / 1_000.0,
            behind_events: entry.behind(head),
        }
    }
}

impl Entry {
    fn behind(&self, head: Option<Position>) -> Option<i64> {
        match self.place.load(Relaxed) {
            place if place < 0 => None,
            place => head.map(|head| (head - place).max(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{client, connections, identity};
    use super::super::{Open, Turn};
    use super::*;
    use crate::hub::Bell;

    fn open(all: &Connections, project: i32, subject: &str, kind: Kind) -> (Open, Arc<Bell>) {
        let bell = Arc::default();
        (all.open(kind, client(), &identity(project, subject), &bell), bell)
    }

    fn listing(choice: Choice, sort: Sort, after: Option<Rank>, limit: usize) -> Listing {
        Listing { choice, sort, after, limit }
    }

    fn ids(listed: &Listed) -> Vec<&str> {
        listed.items.iter().map(|(_, shown)| shown.id.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn pages_go_through_all_once_in_every_order() {
        let all = connections("n");
        let open: Vec<_> =
            (0..23).map(|n| open(&all, 1, "ada", [Kind::Sse, Kind::Websocket][n % 2])).collect();
        for (n, (open, _)) in open.iter().enumerate() {
            tokio::time::advance(std::time::Duration::from_millis(3)).await;
            open.note(Turn { pending: n % 5, place: Some(n as i64), ..Turn::default() });
        }
        for sort in [Sort::Slowest, Sort::Newest, Sort::Oldest] {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let listed = all.list(ProjectId(1), &listing(Choice::default(), sort, after, 5), Some(100));
                assert_eq!(listed.total, 23);
                seen.extend(listed.items.iter().map(|(rank, _)| rank.clone()));
                tokio::time::advance(std::time::Duration::from_millis(100)).await;
                match listed.items.last() {
                    Some((rank, _)) => after = Some(rank.clone()),
                    None => break,
                }
            }
            assert!(seen.is_sorted() && seen.len() == 23, "{sort:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_for_longest_is_the_slowest() {
        let all = connections("n");
        let (idle, _) = open(&all, 1, "idle", Kind::Websocket);
        let (slow, _) = open(&all, 1, "slow", Kind::Websocket);
        let (stalled, _) = open(&all, 1, "stalled", Kind::Websocket);
        idle.note(Turn { bytes: 5, ..Turn::default() });
        for open in [&stalled, &slow] {
            open.note(Turn { bytes: 5, pending: 9, place: Some(40), ..Turn::default() });
        }
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        slow.note(Turn { bytes: 1, pending: 8, ..Turn::default() });
        stalled.note(Turn { pending: 9, place: Some(40), ..Turn::default() });
        let listed = all.list(ProjectId(1), &listing(Choice::default(), Sort::Slowest, None, 10), Some(100));
        assert_eq!(ids(&listed), ["n.3", "n.2", "n.1"]);
        let [(_, stalled), (_, slow), (_, idle)] = &listed.items[..] else { panic!("three") };
        assert_eq!((stalled.waiting_seconds, stalled.behind_events), (3.0, Some(60)));
        assert_eq!((slow.waiting_seconds, slow.behind_events, slow.pending_bytes), (0.0, None, 8));
        assert_eq!((idle.waiting_seconds, idle.pending_bytes, idle.sent_bytes), (0.0, 0, 5));
    }

    #[tokio::test]
    async fn only_those_chosen_of_the_project_are_ended() {
        let all = connections("n");
        let (_a, ada) = open(&all, 1, "ada", Kind::Sse);
        let (_b, bob) = open(&all, 1, "bob", Kind::Sse);
        let (_c, other) = open(&all, 2, "ada", Kind::Sse);
        let subject = Choice { subject: Some("ada".to_owned()), ..Choice::default() };
        assert_eq!(all.disconnect(ProjectId(1), &subject), 1);
        let ids = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
        let named = Choice { ids: ids(&["n.3", "m.2", "n.x", "n.9"]), ..Choice::default() };
        assert_eq!(all.disconnect(ProjectId(1), &named), 0);
        let rung = |bell: &Bell| {
            let mut causes = Vec::new();
            bell.take(&mut causes);
            causes
        };
        assert_eq!((rung(&ada), rung(&bob), rung(&other)), (vec![Cause::Disconnected], vec![], vec![]));
        let named = Choice { ids: ids(&["n.2", "n.2"]), ..Choice::default() };
        assert_eq!((all.disconnect(ProjectId(1), &named), named.nodes()), (1, Some(vec!["n", "n"])));
    }
}
