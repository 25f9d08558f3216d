//! Publishing: the way into the log for HTTP and GraphQL, and the HTTP endpoints.

mod commit;
mod http;
mod lane;
mod parse;

use std::collections::HashMap;
use std::sync::Arc;

use nuncio_broker::WakeBus;
use nuncio_model::event::{EventError, Published};
use nuncio_model::limits::MAX_BATCH_EVENTS;
use nuncio_model::{Code, Draft, ProjectId, PublisherKind};
use nuncio_store::{Meter, Policy, Project, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::auth::Over;
use crate::error::ApiError;
use lane::{Job, Lane};

pub(crate) use http::{__path_to_channel, __path_to_channels};
pub use http::{PublishedEvents, to_channel, to_channels};

/// Gathers what concurrent requests publish into few commits.
///
/// Per project: commit at once when idle; what comes meanwhile is the next batch. Requests are stored whole or not at
/// all, each for itself. What waits is bounded, and over the bound a request is told to try again.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    store: Store,
    bus: WakeBus,
    meter: Meter,
    tasks: TaskTracker,
    lanes: Mutex<HashMap<ProjectId, Lane>>,
}

/// Why nothing of a request was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// Some of its events are bad, or conflict with what is stored: their indices, ascending, and why.
    #[error("{} of the events cannot be stored", .0.len())]
    Rejected(Vec<(usize, EventError)>),
    /// More waits than may wait.
    #[error("too much is waiting to be stored")]
    Busy,
    /// The log could not take it. Whether it did is unknown: publishing again under the same ids is safe.
    #[error("the log could not take the events")]
    Store(#[source] Arc<nuncio_store::Error>),
    /// The node is stopping, or the task that commits died.
    #[error("the commit was given up")]
    Gone,
}

impl Publisher {
    /// A publisher into this log; `bus` tells the other nodes, `meter` counts, `tasks` keeps the commits until they are
    /// done.
    pub fn new(store: Store, bus: WakeBus, meter: Meter, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { store, bus, meter, tasks, lanes: Mutex::default() }))
    }

    /// Checks the events by the rules of their namespaces and stores them: all or none, in their order, one after the
    /// other. The answers are in the same order.
    ///
    /// A caller that goes away does not undo it: what was handed over is committed.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(
        &self,
        project: &Project,
        by: PublisherKind,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Published>, PublishError> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        check(project, by, &drafts)?;
        let (answer, answered) = oneshot::channel();
        let policy = |draft: &Draft| Policy::of(project.settings(&draft.channel));
        let events = drafts.into_iter().map(|draft| (policy(&draft), draft)).collect();
        self.enqueue(project.id, Job::new(events, answer))?;
        answered.await.unwrap_or(Err(PublishError::Gone))
    }

    /// Puts the job into its project's lane, and sees to it that somebody works there.
    fn enqueue(&self, project: ProjectId, job: Job) -> Result<(), PublishError> {
        let mut lanes = self.0.lanes.lock();
        let lane = lanes.entry(project).or_default();
        if !lane.has_room_for(&job) {
            metrics::counter!("nuncio_publish_refused_total", "reason" => "busy").increment(1);
            return Err(PublishError::Busy);
        }
        lane.push(job);
        if !std::mem::replace(&mut lane.busy, true) {
            let publisher = self.clone();
            self.0.tasks.spawn(async move { publisher.work(project).await });
        }
        Ok(())
    }

    /// Commits batch after batch until nothing waits.
    async fn work(self, project: ProjectId) {
        let _guard = Abandon { publisher: &self, project };
        while let Some(jobs) = self.next_batch(project) {
            commit::commit(&self.0.store, (&self.0.bus, &self.0.meter), project, jobs).await;
        }
    }

    fn next_batch(&self, project: ProjectId) -> Option<Vec<Job>> {
        let mut lanes = self.0.lanes.lock();
        let jobs = lanes.get_mut(&project)?.take_batch();
        if jobs.is_empty() {
            lanes.remove(&project);
            return None;
        }
        Some(jobs)
    }
}

/// Where a commit panics, whoever waits behind it must be told and not be left waiting for good.
struct Abandon<'a> {
    publisher: &'a Publisher,
    project: ProjectId,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.publisher.0.lanes.lock().remove(&self.project);
        }
    }
}

fn check(project: &Project, by: PublisherKind, drafts: &[Draft]) -> Result<(), PublishError> {
    if drafts.len() > MAX_BATCH_EVENTS {
        let message = format!("more than {MAX_BATCH_EVENTS} events in one request");
        return Err(PublishError::Rejected(vec![(
            MAX_BATCH_EVENTS,
            EventError { code: Code::TooLarge, message },
        )]));
    }
    let verdict = |draft: &Draft| draft.check(project.rules(&draft.channel), by).err();
    let bad: Vec<_> = drafts.iter().enumerate().filter_map(|(i, draft)| Some((i, verdict(draft)?))).collect();
    if bad.is_empty() { Ok(()) } else { Err(PublishError::Rejected(bad)) }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Rejected(bad) => rejected(&bad),
            PublishError::Busy => Self::unavailable("more is being published than can be stored; try again"),
            PublishError::Gone => {
                Self::unavailable("the node could not finish this; publish again under the same ids")
            }
            PublishError::Store(error) if error.is_unavailable() => {
                let detail = "the database cannot be reached; publish again under the same ids";
                Self::unavailable(detail).caused_by(error)
            }
            // Another node has deleted it, and this one does not know yet.
            PublishError::Store(error) if matches!(*error, nuncio_store::Error::NotFound(_)) => {
                Over::ProjectDeleted.into()
            }
            PublishError::Store(error) => Self::internal(error),
        }
    }
}

/// One error for all bad events: their common code, else `INVALID_EVENT`, and an entry for each.
fn rejected(bad: &[(usize, EventError)]) -> ApiError {
    let first = bad.first().map_or(Code::InvalidEvent, |(_, error)| error.code);
    let code = if bad.iter().all(|(_, error)| error.code == first) { first } else { Code::InvalidEvent };
    let detail = match bad {
        [(_, only)] => only.message.clone(),
        _ => format!("{} of the events cannot be stored, and so none was", bad.len()),
    };
    bad.iter().fold(ApiError::new(code, detail), |error, (index, why)| error.item(*index, why))
}
