//! The queues aside: what came while there was no ingest queue, and what RabbitMQ threw out of the ingest queue.
//!
//! Both are read on a connection of their own, so that a message that cannot be read there does not stop the flow.

use std::time::Duration;

use nuncio_broker::{Link, Message, Names};

use crate::batch::Batch;
use crate::reason::{DELIVERY_LIMIT, Rejection};
use crate::session::{Ended, Session};

/// A message that came back this often from the queue of the dead as well is not decoded any more.
const LAST_RETURNS: i64 = 3;
/// More than the queue's delivery limit, and a bound for one look.
const MAX_ATTEMPTS: usize = 30;
/// How many unrouted messages are settled together.
const MAX_BATCH: u16 = 1_000;
/// How long to wait for a message that was counted.
const LAST_WAIT: Duration = Duration::from_secs(2);
const ATTEMPT_DELAY: Duration = Duration::from_millis(20);

/// Settles whatever waits aside. Costs two questions to the broker where nothing does. Not while the flow has its hands
/// full.
pub(crate) async fn look(session: &Session, link: &Link, names: &Names) -> Result<(), Ended> {
    let Some(unrouted) = link.unless_full(link.waiting(&names.unrouted)).await.transpose()? else {
        return Ok(());
    };
    let Some(dead) = link.unless_full(link.waiting(&names.dead)).await.transpose()? else { return Ok(()) };
    if unrouted > 0 {
        drain(session, &names.unrouted, unrouted, MAX_BATCH, |_| None).await?;
    }
    if dead > 0 {
        drain_dead(session, names, dead).await;
    }
    Ok(())
}

/// Reads the queue of the dead, without harm to the flow. What cannot be read at all leaves this queue too when it has
/// come often enough, and others may wait behind it: so the next attempt comes at once.
async fn drain_dead(session: &Session, names: &Names, dead: u32) {
    for _ in 0..MAX_ATTEMPTS {
        match drain(session, &names.dead, dead, 1, bury).await {
            Err(Ended::Broker(error)) if error.is_unreadable() => tokio::time::sleep(ATTEMPT_DELAY).await,
            Err(error) => {
                tracing::warn!(%error, queue = names.dead, "could not read what RabbitMQ put aside; trying again later");
                return;
            }
            Ok(()) => return,
        }
    }
}

/// Decides about a message from the queue of the dead, which is settled alone: one may be the end of its reader.
///
/// It is tried once more as an event, since it may have been the neighbour of the one to blame; one that fails here
/// too is kept as a dead letter, unread.
fn bury(message: &mut Message) -> Option<Rejection> {
    let detail =
        "it was handed out too often without being acknowledged; it may end the worker that reads it";
    let hopeless = message.returns() >= LAST_RETURNS;
    message.restore_origin();
    hopeless.then(|| Rejection::new(DELIVERY_LIMIT, detail))
}

/// Takes up to `count` messages and settles them, at most `together` at a time.
async fn drain(
    session: &Session,
    queue: &str,
    count: u32,
    together: u16,
    verdict: impl Fn(&mut Message) -> Option<Rejection>,
) -> Result<(), Ended> {
    let link = session.broker.connect(&format!("read {queue}")).await?;
    let mut consumer = link.consume(queue, together).await?;
    let mut batch = Batch::new(session.settings()?);
    for left in (0..count).rev() {
        // Another worker may have been faster, so that fewer come than were counted.
        let message = tokio::time::timeout(LAST_WAIT, consumer.next()).await;
        let last = left == 0 || message.is_err();
        if let Ok(message) = message {
            let mut message = message?;
            match verdict(&mut message) {
                Some(rejection) => batch.push_rejected(message, rejection),
                None => batch.push(message),
            }
        }
        if !batch.is_empty() && (last || batch.is_full() || batch.len() >= usize::from(together)) {
            let full = std::mem::replace(&mut batch, Batch::new(session.settings()?));
            link.ack_through(session.committer.settle(full).await?).await?;
        }
        if last {
            break;
        }
    }
    link.close().await;
    Ok(())
}
