//! The worker as a whole: which projects it serves, and how it starts and stops.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use nuncio_broker::{Broker, WakeBus};
use nuncio_model::ProjectId;
use nuncio_store::{Directory, LIVE_WITHIN, Limiter, Meter, Store};
use parking_lot::Mutex;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::commit::Committer;
use crate::session::Session;
use crate::{herald, project, retention, share};

const SHARE_EVERY: Duration = Duration::from_millis(500);

/// What a worker must be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this node, unlike that of any other. Somebody else has its heartbeat written, from before the worker
    /// runs to after it has ended.
    pub node: String,
    /// How long what is in hand may take when the worker is told to stop.
    pub drain: Duration,
    /// For how many days the audit log is kept; 0 is for good.
    pub audit_days: u32,
}

/// Takes events from RabbitMQ into the log, and applies retention.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The database.
    pub store: Store,
    /// RabbitMQ; without it, only retention is left to do.
    pub broker: Option<Broker>,
    /// Wakes the api nodes.
    pub bus: WakeBus,
    /// The projects and their settings; somebody else keeps it up to date.
    pub directory: Directory,
    /// Counts what projects use; somebody else has it written.
    pub meter: Meter,
    /// Which projects are served now, for whoever wants to know.
    pub serving: Serving,
    /// What rate limits are counted by; somebody else shares it with the other nodes.
    pub limiter: Limiter,
    /// The rest.
    pub settings: Settings,
}

/// The projects that a worker serves now.
#[derive(Clone, Debug, Default)]
pub struct Serving(Arc<Mutex<Vec<ProjectId>>>);

impl Serving {
    /// Those, in the order of their numbers.
    pub fn projects(&self) -> Vec<ProjectId> {
        self.0.lock().clone()
    }
}

/// A task of the worker died. The process must not go on as if nothing had happened.
#[derive(Debug, thiserror::Error)]
#[error("a task of the worker died")]
pub struct Died(#[from] JoinError);

impl Worker {
    /// Works until told to stop; then it stops taking, settles and acknowledges what is in hand, and ends within
    /// `drain`. What is not settled by then stays in RabbitMQ.
    ///
    /// # Errors
    /// Where a task died.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Died> {
        let mut steady = JoinSet::new();
        steady.spawn(retention::run(self.store.clone(), self.settings.audit_days));
        if let Some(broker) = &self.broker {
            steady.spawn(herald::run(self.store.clone(), broker.clone(), self.directory.clone()));
        }
        let mut shift = Shift { worker: self, serving: HashMap::new(), tasks: JoinSet::new() };
        let ended = tokio::select! {
            died = shift.run(&stop) => died,
            Some(Err(died)) = steady.join_next() => Err(Died(died)),
        };
        // The heartbeat goes on while the shift drains: what is still in hand is still this node's.
        let drained = shift.drain().await;
        steady.shutdown().await;
        if let Err(error) = shift.worker.store.retire_node(&shift.worker.settings.node).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the other workers learn late of this one's end"
            );
        }
        ended.and(drained)
    }
}

/// The projects served now, a task for each.
struct Shift {
    worker: Worker,
    serving: HashMap<ProjectId, (Id, CancellationToken)>,
    tasks: JoinSet<()>,
}

impl Shift {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), Died> {
        let mut look = tokio::time::interval(SHARE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = look.tick() => self.reassign().await,
                Some(ended) = self.tasks.join_next_with_id() => {
                    let (id, ()) = ended?;
                    self.serving.retain(|_, (task, _)| *task != id);
                }
            }
        }
    }

    /// Takes up the projects that fall to this node, and lets go of the others. While the database is away, all stays.
    async fn reassign(&mut self) {
        let Some(broker) = self.worker.broker.clone() else { return };
        let node = &self.worker.settings.node;
        let nodes = match self.worker.store.live_nodes("worker", LIVE_WITHIN).await {
            Ok(mut nodes) => {
                // One's own heartbeat may be late; that one lives is certain.
                nodes.extend((!nodes.contains(node)).then(|| node.clone()));
                nodes
            }
            Err(_) => return,
        };
        let snapshot = self.worker.directory.snapshot();
        let mine: HashSet<ProjectId> = snapshot
            .projects()
            .map(|project| project.id)
            .filter(|project| share::owner(*project, &nodes) == Some(node.as_str()))
            .collect();
        for (project, (_, stop)) in &self.serving {
            if !mine.contains(project) {
                stop.cancel();
            }
        }
        for project in mine {
            if !self.serving.contains_key(&project) {
                self.serve(project, broker.clone());
            }
        }
        let mut served: Vec<ProjectId> = self.serving.keys().copied().collect();
        served.sort_unstable_by_key(|project| project.0);
        *self.worker.serving.0.lock() = served;
    }

    fn serve(&mut self, project: ProjectId, broker: Broker) {
        let Worker { store, bus, meter, directory, limiter, .. } = self.worker.clone();
        let session =
            Session { broker, directory, limiter, committer: Committer { store, bus, meter, project } };
        let stop = CancellationToken::new();
        let task = self.tasks.spawn(project::run(session, stop.clone()));
        self.serving.insert(project, (task.id(), stop));
    }

    async fn drain(&mut self) -> Result<(), Died> {
        self.serving.values().for_each(|(_, stop)| stop.cancel());
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended?;
            }
            Ok(())
        };
        let ended = tokio::time::timeout(self.worker.settings.drain, all).await;
        ended.unwrap_or_else(|_| {
            tracing::warn!("not all that was in hand could be settled in time; it stays in RabbitMQ");
            Ok(())
        })
    }
}
