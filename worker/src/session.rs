//! One connection's life in the service of one project: its messages are taken, settled and acknowledged.
//!
//! Any fault of the connection ends the session, and a new one starts over: what was not acknowledged comes again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nuncio_broker::{Broker, Consumer, Link, Names};
use nuncio_store::{Directory, Limiter, Project};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::aside;
use crate::batch::Batch;
use crate::commit::{Committer, Gone};
use crate::pace::{self, Pace};
use crate::topology;

/// The most messages of a project that are held unacknowledged: two commits' worth, one under way and one to follow.
const PREFETCH: u16 = 2_000;
/// A message that came back this often is taken alone, so that what it may do to its reader harms no other message.
const SUSPECT_RETURNS: i64 = 2;
/// For how long a message may be on its way that was handed out before the session was told to stop.
const LAST_WAIT: Duration = Duration::from_millis(100);
/// How often a session looks whether its consumer hangs, and whether something waits aside.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A batch of this size says that messages come faster than they are stored. Then the next one is let grow for a moment:
/// every commit has a cost of its own, which more events should share.
const BUSY_MESSAGES: usize = 50;
/// How far a batch is let grow for that.
const WORTHWHILE_MESSAGES: usize = 500;
/// How long it is let grow at most; nobody notices it at such a rate.
const GROW_FOR: Duration = Duration::from_millis(2);

/// What a session works with.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) broker: Broker,
    pub(crate) directory: Directory,
    pub(crate) limiter: Limiter,
    pub(crate) committer: Committer,
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The broker or the connection failed.
    #[error(transparent)]
    Broker(#[from] nuncio_broker::Error),
    /// PostgreSQL is away, so nothing is taken: each message taken and given back comes nearer to its limit.
    #[error(transparent)]
    Store(#[from] nuncio_store::Error),
    /// Messages wait, and none comes.
    #[error("the consumer hangs: messages wait, and none comes")]
    Hung,
    /// The project was deleted.
    #[error("the project was deleted")]
    Gone,
    /// A rate limit was made or changed, and what is in hand would wait too long for it.
    #[error("less is to be held unacknowledged, by a new rate limit")]
    Slowed,
}

impl From<Gone> for Ended {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

type Settling = Pin<Box<dyn Future<Output = Result<u64, Gone>> + Send>>;

impl Session {
    /// Serves the project until told to stop; then what has been taken is settled first.
    pub(crate) async fn run(&self, stop: &CancellationToken) -> Result<(), Ended> {
        let project = self.settings()?;
        // Before anything is taken: it could not be settled.
        self.committer.store.ping().await?;
        let link = self.broker.connect(&format!("ingest {}", project.name)).await?;
        let served = self.serve(&link, project, stop).await;
        // Also after a fault: what is in hand has its place before all that another worker may be given.
        link.close().await;
        served
    }

    async fn serve(&self, link: &Link, project: Arc<Project>, stop: &CancellationToken) -> Result<(), Ended> {
        let committer = &self.committer;
        let names = topology::declare(&committer.store, link, committer.project, &project.name).await?;
        // What came while there was no queue is older than all that is in it now.
        aside::look(self, link, &names).await?;
        let Some(consumer) = self.start(link, &names, stop).await? else { return Ok(()) };
        let flow = Flow {
            session: self,
            link,
            names: &names,
            consumer,
            prefetch: self.prefetch()?,
            next: Batch::new(project),
            pace: Pace::default(),
            settling: None,
            busy: false,
        };
        flow.run(stop).await
    }

    /// How many messages are held unacknowledged.
    fn prefetch(&self) -> Result<u16, Ended> {
        Ok(pace::prefetch(&self.settings()?.rate_limits, PREFETCH))
    }

    /// The project with its settings now.
    pub(crate) fn settings(&self) -> Result<Arc<Project>, Ended> {
        self.directory.snapshot().project_by_id(self.committer.project).cloned().ok_or(Ended::Gone)
    }

    /// Takes messages one at a time while they are suspect, then opens the flow. `None` where told to stop.
    ///
    /// A worker that dies with two thousand messages in hand raises the count of returns of each. Without this, a few
    /// such deaths in a row would push healthy ones over the queue's delivery limit along with the one to blame.
    async fn start(
        &self,
        link: &Link,
        names: &Names,
        stop: &CancellationToken,
    ) -> Result<Option<Consumer>, Ended> {
        let mut single = link.consume(&names.ingest, 1).await?;
        let mut look = looks();
        loop {
            let message = tokio::select! {
                biased;
                message = single.next() => message?,
                // One may be on its way already.
                () = stop.cancelled() => match tokio::time::timeout(LAST_WAIT, single.next()).await {
                    Ok(message) => message?,
                    Err(_) => return Ok(None),
                },
                _ = look.tick() => {
                    if link.waiting(&names.ingest).await? > 0 {
                        return Err(Ended::Hung);
                    }
                    aside::look(self, link, names).await?;
                    continue;
                }
            };
            let suspect = message.returns() >= SUSPECT_RETURNS;
            let mut batch = Batch::new(self.settings()?);
            batch.push(message);
            if !pace::wait(self, &batch, stop).await? {
                return Ok(None);
            }
            let tag = self.committer.settle(batch).await?;
            if !suspect || stop.is_cancelled() {
                // Stored, then cancelled, then acknowledged. In any other order there would be a message in hand at
                // the change of consumers, and RabbitMQ could hand out a later one before it; or give it back behind
                // all others that have come back.
                single.cancel().await?;
                link.ack_through(tag).await?;
                if stop.is_cancelled() {
                    return Ok(None);
                }
                return Ok(Some(link.consume(&names.ingest, self.prefetch()?).await?));
            }
            link.ack_through(tag).await?;
            look.reset();
        }
    }
}

fn looks() -> tokio::time::Interval {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.reset();
    look
}

/// The flow of messages: while one batch is being settled, the next is decoded; what is ready goes at once.
struct Flow<'a> {
    session: &'a Session,
    link: &'a Link,
    names: &'a Names,
    consumer: Consumer,
    /// How many messages are held unacknowledged.
    prefetch: u16,
    /// What is gathered; what a rate limit does not let through yet stays in front.
    next: Batch,
    /// Slows it down to the project's limits.
    pace: Pace,
    settling: Option<Settling>,
    /// Whether the last batch was a large one.
    busy: bool,
}

impl Flow<'_> {
    async fn run(mut self, stop: &CancellationToken) -> Result<(), Ended> {
        let (mut look, mut last_sign) = (looks(), Instant::now());
        loop {
            if !stop.is_cancelled() {
                self.take_ready()?;
                let may_grow = self.busy && !self.pace.is_waiting();
                if may_grow && self.settling.is_none() && !self.next.is_empty() {
                    self.grow().await?;
                }
            }
            // Whatever a limit still holds back when this is to stop stays in RabbitMQ.
            self.settle_next()?;
            if self.settling.is_none() && stop.is_cancelled() {
                return Ok(());
            }
            tokio::select! {
                settled = settling(&mut self.settling) => {
                    self.settling = None;
                    self.link.ack_through(settled?).await?;
                    last_sign = Instant::now();
                }
                message = self.consumer.next(), if !self.next.is_full() && !stop.is_cancelled() => {
                    self.next.push(message?);
                    last_sign = Instant::now();
                }
                () = self.pace.wait(), if self.settling.is_none() && self.pace.is_waiting() => {}
                _ = look.tick(), if self.settling.is_none() => {
                    if self.pace.is_waiting() {
                        // It does not hang: it is held back.
                        last_sign = Instant::now();
                        self.check_hold()?;
                    }
                    self.look(last_sign).await?;
                }
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
    }

    fn take_ready(&mut self) -> Result<(), Ended> {
        while !self.next.is_full() {
            match self.consumer.ready()? {
                Some(message) => self.next.push(message),
                None => break,
            }
        }
        Ok(())
    }

    /// Lets the batch become worth its commit, for a moment.
    async fn grow(&mut self) -> Result<(), Ended> {
        let end = Instant::now() + GROW_FOR;
        while self.next.len() < WORTHWHILE_MESSAGES && !self.next.is_full() {
            match tokio::time::timeout_at(end, self.consumer.next()).await {
                Ok(message) => self.next.push(message?),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Starts to settle what was gathered, unless a batch is under way.
    fn settle_next(&mut self) -> Result<(), Ended> {
        if self.settling.is_none() && !self.next.is_empty() {
            let settings = self.session.settings()?;
            let admitted = self.pace.admit(&self.session.limiter, &settings, &self.next);
            if admitted == 0 {
                return Ok(());
            }
            self.busy = self.next.len() >= BUSY_MESSAGES;
            let batch = if admitted < self.next.len() {
                self.next.take_front(admitted)
            } else {
                std::mem::replace(&mut self.next, Batch::new(settings))
            };
            let committer = self.session.committer.clone();
            self.settling = Some(Box::pin(async move { committer.settle(batch).await }));
        }
        Ok(())
    }

    /// Gives back what would be held too long by a limit that is slower than those at the start.
    fn check_hold(&self) -> Result<(), Ended> {
        if self.session.prefetch()? < self.prefetch / 2 { Err(Ended::Slowed) } else { Ok(()) }
    }

    /// Nothing is in hand: looks whether that is right, and into the queues aside.
    async fn look(&mut self, last_sign: Instant) -> Result<(), Ended> {
        let waiting = self.link.unless_full(self.link.waiting(&self.names.ingest)).await.transpose()?;
        // With full hands it does not hang, and no answer would come.
        let Some(waiting) = waiting else { return Ok(()) };
        if waiting > 0 && last_sign.elapsed() > 2 * LOOK_EVERY {
            return Err(Ended::Hung);
        }
        aside::look(self.session, self.link, self.names).await
    }
}

/// The end of what is being settled; never, where nothing is.
async fn settling(under_way: &mut Option<Settling>) -> Result<u64, Gone> {
    match under_way {
        Some(settling) => settling.await,
        None => std::future::pending().await,
    }
}
