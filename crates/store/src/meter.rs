//! Counts what projects use on this node, in memory, and adds it to the database from time to time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nuncio_model::{Event, ProjectId};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::usage::Used;
use crate::{Result, Store};

/// How often the counts are added to the database.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The counts of all projects on this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: String,
    tallies: RwLock<HashMap<ProjectId, Arc<Tally>>>,
    /// What is being written. It is held while the database is asked, so that counts arrive in the order of their numbers.
    writing: tokio::sync::Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// The number of the counts that were taken last.
    number: i64,
    /// Those, as long as it is not known that they have arrived.
    taken: Vec<Used>,
}

/// The counts of one project since they were last taken.
#[derive(Debug, Default)]
pub struct Tally {
    events: AtomicU64,
    event_bytes: AtomicU64,
    deliveries: AtomicU64,
    opened: AtomicU64,
    open: Mutex<Open>,
}

/// How many connections are open, and how many were at most.
#[derive(Debug, Default)]
struct Open {
    now: i64,
    most: i64,
    /// How many were said to be open the last time: that there are none is said once.
    said: i64,
}

impl Meter {
    /// Counts for this node; nothing is written before [`Self::run`] or [`Self::write`].
    pub fn new(node: impl Into<String>) -> Self {
        let (tallies, writing) = (RwLock::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { node: node.into(), tallies, writing }))
    }

    /// The counts of a project.
    pub fn of(&self, project: ProjectId) -> Arc<Tally> {
        if let Some(tally) = self.0.tallies.read().get(&project) {
            return tally.clone();
        }
        self.0.tallies.write().entry(project).or_default().clone()
    }

    /// Counts events that were stored.
    pub fn stored(&self, project: ProjectId, events: &[Arc<Event>]) {
        if !events.is_empty() {
            let tally = self.of(project);
            let bytes: usize = events.iter().map(|event| event.draft.data.bytes().len()).sum();
            tally.events.fetch_add(events.len() as u64, Relaxed);
            tally.event_bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Adds what was counted to the database. What could not be added is sent again with the next call, and added once
    /// whether or not it had arrived.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn write(&self, store: &Store) -> Result<()> {
        let mut writing = self.0.writing.lock().await;
        if writing.taken.is_empty() {
            writing.taken = self.take();
            writing.number += 1;
        }
        if !writing.taken.is_empty() {
            store.add_usage(&self.0.node, writing.number, &writing.taken).await?;
            writing.taken.clear();
        }
        Ok(())
    }

    /// Writes every ten seconds until told to stop. What is counted after that is written by [`Self::finish`].
    pub async fn run(self, store: Store, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(WRITE_EVERY)).await.is_some() {
            if let Err(error) = self.write(&store).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what projects used was not written"
                );
            }
        }
    }

    /// Writes for the last time.
    ///
    /// # Errors
    /// Where the database cannot be asked; what was counted since the last writing is then lost.
    pub async fn finish(&self, store: &Store) -> Result<()> {
        // Twice, where something was still to be sent again.
        self.write(store).await?;
        self.write(store).await?;
        store.tidy_usage(&self.0.node).await
    }

    fn take(&self) -> Vec<Used> {
        let used = |(project, tally): (&ProjectId, &Arc<Tally>)| tally.take(*project);
        let taken: Vec<Used> = self.0.tallies.read().iter().filter_map(used).collect();
        if taken.is_empty() {
            // Those that nobody counts for may be projects that exist no more.
            self.0.tallies.write().retain(|_, tally| Arc::strong_count(tally) > 1 || !tally.is_zero());
        }
        taken
    }
}

impl Tally {
    /// Counts events that were sent to clients.
    pub fn delivered(&self, events: u64) {
        self.deliveries.fetch_add(events, Relaxed);
    }

    /// Counts a connection as open.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
        let mut open = self.open.lock();
        open.now += 1;
        open.most = open.most.max(open.now);
    }

    /// Counts a connection as closed.
    pub fn closed(&self) {
        self.open.lock().now -= 1;
    }

    /// What was counted since the last time; nothing where it is nothing at all.
    fn take(&self, project: ProjectId) -> Option<Used> {
        let count = |counter: &AtomicU64| counter.swap(0, Relaxed) as i64;
        let (open, said) = {
            let mut open = self.open.lock();
            let most = open.most;
            open.most = open.now;
            (most, std::mem::replace(&mut open.said, most))
        };
        let used = Used {
            project,
            events: count(&self.events),
            event_bytes: count(&self.event_bytes),
            deliveries: count(&self.deliveries),
            opened: count(&self.opened),
            open,
        };
        let Used { events, event_bytes, deliveries, opened, .. } = used;
        let counts = [events, event_bytes, deliveries, opened, open, said];
        counts.iter().any(|count| *count != 0).then_some(used)
    }

    fn is_zero(&self) -> bool {
        let counters = [&self.events, &self.event_bytes, &self.deliveries, &self.opened];
        counters.into_iter().all(|counter| counter.load(Relaxed) == 0) && self.open.lock().most == 0
    }
}
