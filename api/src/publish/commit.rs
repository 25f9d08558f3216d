//! One commit for several requests, and to each request its own outcome.

use std::sync::Arc;

use nuncio_broker::{Wake, WakeBus};
use nuncio_model::event::{EventError, Published};
use nuncio_model::{Code, Cursor, Epoch, ProjectId};
use nuncio_store::{Appended, Entry, Meter, Outcome, Place, Store};

use super::PublishError;
use super::lane::Job;

/// Stores the jobs in one commit, tells the nodes, and then whoever published.
pub(super) async fn commit(
    store: &Store,
    (bus, meter): (&WakeBus, &Meter),
    project: ProjectId,
    jobs: Vec<Job>,
) {
    let entries: Vec<Entry> = (0_u32..).zip(&jobs).flat_map(|(batch, job)| entries(batch, job)).collect();
    metrics::histogram!("nuncio_publish_batch_events").record(entries.len() as f64);
    match store.append(project, entries).await {
        Ok(appended) => {
            wake(bus, project, &appended);
            meter.stored(project, &appended.events);
            answer(project, &appended, jobs);
        }
        Err(error) => {
            let error = Arc::new(error);
            for job in jobs {
                // Whoever asked may have gone; there is nobody else to tell.
                let _ = job.answer.send(Err(PublishError::Store(error.clone())));
            }
        }
    }
}

fn entries(batch: u32, job: &Job) -> impl Iterator<Item = Entry> {
    job.events.iter().map(move |(policy, draft)| Entry { draft: draft.clone(), policy: *policy, batch })
}

fn wake(bus: &WakeBus, project: ProjectId, appended: &Appended) {
    let (Some(first), Some(last)) = (appended.events.first(), appended.events.last()) else { return };
    let (first, last) = (first.position, last.position);
    bus.send(Wake { project, epoch: appended.epoch, first, last, events: appended.events.clone() });
}

fn answer(project: ProjectId, appended: &Appended, jobs: Vec<Job>) {
    let mut outcomes = appended.outcomes.as_slice();
    for job in jobs {
        let (mine, rest) = outcomes.split_at(job.events.len());
        outcomes = rest;
        let ids = job.events.iter().map(|(_, draft)| (draft.id.as_str(), draft.channel.as_str()));
        let _ = job.answer.send(published(project, appended.epoch, ids, mine));
    }
}

fn published<'a>(
    project: ProjectId,
    epoch: Epoch,
    ids: impl Iterator<Item = (&'a str, &'a str)>,
    outcomes: &[Outcome],
) -> Result<Vec<Published>, PublishError> {
    let conflicts: Vec<_> = (0..outcomes.len()).filter(|i| outcomes[*i] == Outcome::Conflict).collect();
    if !conflicts.is_empty() {
        return Err(PublishError::Rejected(conflicts.into_iter().map(|i| (i, conflict())).collect()));
    }
    let of = |id: &str, channel: &str, place: Place, duplicate| Published {
        id: id.to_owned(),
        channel: channel.to_owned(),
        sequence: place.sequence,
        cursor: Cursor { project, epoch, position: place.position }.to_string(),
        duplicate,
    };
    let answers = ids.zip(outcomes).filter_map(|((id, channel), outcome)| match *outcome {
        Outcome::Stored(place) => Some(of(id, channel, place, false)),
        Outcome::Duplicate(place) => Some(of(id, channel, place, true)),
        Outcome::Conflict | Outcome::Withheld => None,
    });
    Ok(answers.collect())
}

fn conflict() -> EventError {
    let message = "an event of this channel, source and id is stored already, with other data".to_owned();
    EventError { code: Code::IdConflict, message }
}
