//! What waits to be stored in one project.

use std::collections::VecDeque;

use nuncio_model::Draft;
use nuncio_model::event::Published;
use nuncio_model::limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS};
use nuncio_store::Policy;
use tokio::sync::oneshot;

use super::PublishError;

/// The most bytes that may wait in one lane: some tens of full commits. Over it, requests are refused as `UNAVAILABLE`.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// What an event takes beside its data, about.
const OVERHEAD_BYTES: usize = 512;

/// The events of one request.
pub(super) struct Job {
    /// The events in their order, each with how it is kept.
    pub(super) events: Vec<(Policy, Draft)>,
    /// What they take in memory, about.
    bytes: usize,
    /// Whoever waits for the outcome.
    pub(super) answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

impl Job {
    pub(super) fn new(
        events: Vec<(Policy, Draft)>,
        answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
    ) -> Self {
        let bytes = events.iter().map(|(_, draft)| draft.data.bytes().len() + OVERHEAD_BYTES).sum();
        Self { events, bytes, answer }
    }
}

/// The queue of one project.
#[derive(Default)]
pub(super) struct Lane {
    waiting: VecDeque<Job>,
    bytes: usize,
    /// Whether a task is committing here.
    pub(super) busy: bool,
}

impl Lane {
    /// Whether one more may wait; where nothing waits, one of any size may.
    pub(super) fn has_room_for(&self, job: &Job) -> bool {
        self.waiting.is_empty() || self.bytes + job.bytes <= MAX_WAITING_BYTES
    }

    pub(super) fn push(&mut self, job: Job) {
        self.bytes += job.bytes;
        self.waiting.push_back(job);
    }

    /// Takes whole requests, the oldest first, as many as fit one commit and at least one.
    pub(super) fn take_batch(&mut self) -> Vec<Job> {
        let (mut events, mut bytes, mut count) = (0, 0, 0);
        for job in &self.waiting {
            events += job.events.len();
            bytes += job.bytes;
            if count > 0 && (events > MAX_BATCH_EVENTS || bytes > MAX_BATCH_BYTES) {
                break;
            }
            count += 1;
        }
        let jobs: Vec<Job> = self.waiting.drain(..count).collect();
        self.bytes -= jobs.iter().map(|job| job.bytes).sum::<usize>();
        jobs
    }
}

#[cfg(test)]
mod tests {
    use nuncio_model::{Channel, Data, NamespaceSettings};

    use super::*;

    fn job(events: usize, bytes: usize) -> Job {
        let draft = Draft {
            channel: Channel::parse("a").expect("a good name"),
            id: String::new(),
            source: String::new(),
            r#type: String::new(),
            subject: None,
            time: None,
            content_type: None,
            data: Data::Binary(vec![0; bytes].into()),
            extensions: Default::default(),
        };
        let policy = Policy::of(&NamespaceSettings::default());
        Job::new(vec![(policy, draft); events], oneshot::channel().0)
    }

    #[test]
    fn a_batch_is_whole_requests_up_to_the_limits_of_a_commit() {
        let mut lane = Lane::default();
        for events in [600, 400, 1, 999] {
            lane.push(job(events, 1));
        }
        let mut take = || lane.take_batch().iter().map(|job| job.events.len()).collect::<Vec<_>>();
        assert_eq!((take(), take(), take()), (vec![600, 400], vec![1, 999], vec![]));
        assert_eq!(lane.bytes, 0);
    }

    #[test]
    fn one_that_is_larger_than_a_commit_goes_alone() {
        let mut lane = Lane::default();
        lane.push(job(1, MAX_BATCH_BYTES * 2));
        lane.push(job(1, 1));
        assert_eq!((lane.take_batch().len(), lane.take_batch().len()), (1, 1));
    }

    #[test]
    fn what_waits_is_bounded_by_bytes() {
        let mut lane = Lane::default();
        assert!(lane.has_room_for(&job(1, MAX_WAITING_BYTES * 2)));
        lane.push(job(1, MAX_WAITING_BYTES - 2 * OVERHEAD_BYTES));
        assert!(lane.has_room_for(&job(1, 0)) && !lane.has_room_for(&job(1, OVERHEAD_BYTES)));
    }
}
