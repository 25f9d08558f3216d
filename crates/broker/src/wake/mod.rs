//! The wake bus: tells api nodes that a project's log has grown, and hands them what is new.
//!
//! A wake is a hint. It may be lost, doubled or late, so nothing ever waits for one and no failure of it is told to
//! the sender; readers compare positions and read what they miss from the log.

mod amqp;
mod frame;
mod receiver;

use std::sync::Arc;

use nuncio_model::{Epoch, Event, Position, ProjectId, Secret};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use self::amqp::AmqpBus;
pub use self::receiver::WakeReceiver;

/// Wakes held for a receiver that is behind; older ones are dropped (`nuncio_wakes_dropped_total{where="receive"}`).
/// At the most they hold 64 MiB, since a batch ends at 1 MiB.
const RECEIVE_QUEUE: usize = 64;

/// New events of a project: the positions `first..=last`.
#[derive(Clone, Debug, PartialEq)]
pub struct Wake {
    /// The project.
    pub project: ProjectId,
    /// The epoch of the positions.
    pub epoch: Epoch,
    /// The position of the first new event.
    pub first: Position,
    /// The position of the last new event.
    pub last: Position,
    /// All of them in order, or none where they are too large to send: then they are to be read from the log.
    pub events: Vec<Arc<Event>>,
}

impl Wake {
    /// The wake for events that have just been committed; `None` where there are none.
    pub fn of(events: Vec<Arc<Event>>) -> Option<Self> {
        let (first, last) = (events.first()?, events.last()?);
        Some(Self {
            project: first.project,
            epoch: first.epoch,
            first: first.position,
            last: last.position,
            events,
        })
    }
}

/// How wakes travel from who commits to who serves subscribers.
#[derive(Clone, Debug)]
pub enum WakeBus {
    /// Within one process, which is the only one.
    Memory(broadcast::Sender<Arc<Wake>>),
    /// Over RabbitMQ.
    Amqp(AmqpBus),
    /// Within one process; what others commit is found by looking at the heads of the projects.
    Polling(broadcast::Sender<Arc<Wake>>),
}

impl WakeBus {
    /// A bus for a process that is the only one.
    pub fn memory() -> Self {
        Self::Memory(broadcast::Sender::new(RECEIVE_QUEUE))
    }

    /// A bus over RabbitMQ, on connections of its own, which are made and mended in the background until the token is
    /// cancelled. Should one of those tasks die, it cancels the token, so that the process ends.
    pub fn amqp(url: Secret, token: CancellationToken) -> Self {
        Self::Amqp(AmqpBus::start(url, token))
    }

    /// A bus within this process, for one of several without a broker: the others are heard of by polling.
    pub fn polling() -> Self {
        Self::Polling(broadcast::Sender::new(RECEIVE_QUEUE))
    }

    /// Sends a wake. Never waits and never fails: what finds no room is dropped and counted.
    pub fn send(&self, wake: Wake) {
        match self {
            // An error says that nobody listens, which is as good.
            Self::Memory(sender) | Self::Polling(sender) => drop(sender.send(Arc::new(wake))),
            Self::Amqp(bus) => bus.send(wake),
        }
    }

    /// Wakes from now on. One per node: over RabbitMQ, all receivers of a node share its queue.
    pub fn receive(&self) -> WakeReceiver {
        match self {
            Self::Memory(sender) | Self::Polling(sender) => WakeReceiver::new(sender.subscribe()),
            Self::Amqp(bus) => bus.receive(),
        }
    }

    /// Asks for the wakes of a project that has subscribers here. A bus in memory brings those of all.
    pub fn bind(&self, project: ProjectId) {
        if let Self::Amqp(bus) = self {
            bus.bind(project, true);
        }
    }

    /// The last subscriber of this project here is gone.
    pub fn unbind(&self, project: ProjectId) {
        if let Self::Amqp(bus) = self {
            bus.bind(project, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake(project: i32) -> Wake {
        Wake { project: ProjectId(project), epoch: 1, first: 1, last: 1, events: Vec::new() }
    }

    #[tokio::test]
    async fn a_receiver_that_is_behind_loses_the_oldest_and_goes_on() {
        let bus = WakeBus::memory();
        let mut receiver = bus.receive();
        for project in 0..100 {
            bus.send(wake(project));
        }
        let first = receiver.next().await.expect("the bus is open");
        assert_eq!(first.project, ProjectId(100 - 64));
        drop(bus);
        let mut rest = 0;
        while receiver.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, 63);
    }

    #[tokio::test]
    async fn without_a_broker_wakes_are_handed_over_within_the_process() {
        let bus = WakeBus::polling();
        let mut receiver = bus.receive();
        bus.clone().send(wake(7));
        assert_eq!(receiver.next().await.expect("the bus is open").project, ProjectId(7));
    }

    #[test]
    fn nothing_new_is_no_wake() {
        assert_eq!(Wake::of(Vec::new()), None);
    }
}
