//! What a connection has in hand of messages that are not settled yet, in bytes.
//!
//! A prefetch counts messages, and RabbitMQ takes them of up to 128 MiB. So what comes from the broker is let in by its
//! size too ([`crate::guard`]): while too much is in hand, the connection is not read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The most bytes of messages that a consumer has in hand, and one message at least. The broker has sent more than that
/// by then; what is on its way waits there.
pub const MAX_HELD_BYTES: usize = 32 << 20;

/// A connection's account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    account: Mutex<Account>,
    /// Whether the connection is not read.
    full: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Account {
    /// None where nothing is counted.
    most: Option<usize>,
    bytes: usize,
    /// The sizes of the messages that were let in and not taken from the library yet, in their order.
    coming: VecDeque<usize>,
    /// The size of the message that has to wait, and who reads it then.
    waiting: Option<(usize, Waker)>,
    ended: bool,
}

impl Account {
    fn has_room(&self, size: usize) -> bool {
        self.bytes == 0 || self.most.is_none_or(|most| self.bytes.saturating_add(size) <= most)
    }
}

impl Hold {
    /// Counts from now on.
    pub(crate) fn bound(&self, most: usize) {
        self.0.account.lock().most = Some(most);
    }

    /// Lets a message of this size in, or wakes who is to ask again when there is room.
    pub(crate) fn admit(&self, size: usize, waker: &Waker) -> bool {
        let mut account = self.0.account.lock();
        if account.most.is_none() {
            return true;
        }
        let had_to_wait = account.waiting.take().is_some();
        let admitted = account.has_room(size);
        if admitted {
            account.bytes = account.bytes.saturating_add(size);
            account.coming.push_back(size);
        } else {
            account.waiting = Some((size, waker.clone()));
        }
        drop(account);
        if had_to_wait == admitted {
            self.0.full.send_replace(!admitted);
        }
        if !admitted && !had_to_wait {
            metrics::counter!("nuncio_ingest_paused_total").increment(1);
        }
        admitted
    }

    /// The next message was taken from the library; it counts until what is answered is dropped.
    pub(crate) fn take(&self) -> Held {
        let size = self.0.account.lock().coming.pop_front();
        Held(size.map(|size| Arc::new(Share { hold: self.clone(), size })))
    }

    fn release(&self, size: usize) {
        let mut account = self.0.account.lock();
        account.bytes = account.bytes.saturating_sub(size);
        if let Some((next, waker)) = &account.waiting
            && account.has_room(*next)
        {
            waker.wake_by_ref();
        }
    }

    /// How much is in hand.
    pub(crate) fn bytes(&self) -> usize {
        self.0.account.lock().bytes
    }

    /// Waits until the connection is not read.
    pub(crate) async fn full(&self) {
        // The sender is this very account's, which is held meanwhile.
        let _ = self.0.full.subscribe().wait_for(|full| *full).await;
    }

    /// Nobody will take or settle anything more: who waits is to give up.
    pub(crate) fn end(&self) {
        let mut account = self.0.account.lock();
        account.ended = true;
        if let Some((_, waker)) = account.waiting.take() {
            waker.wake();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.account.lock().ended
    }
}

/// A message's part of what is in hand: it is given back when this and its copies are dropped.
#[derive(Clone, Debug, Default)]
#[expect(dead_code, reason = "held for its end alone")]
pub struct Held(Option<Arc<Share>>);

#[derive(Debug)]
struct Share {
    hold: Hold,
    size: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold.release(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_at_least_and_then_as_many_as_have_room() {
        let (hold, waker) = (Hold::default(), Waker::noop());
        assert!(hold.admit(1_000, waker) && hold.bytes() == 0, "nothing is counted before there is a bound");
        hold.bound(100);
        assert!(hold.admit(1_000, waker), "alone, it may have any size");
        assert!(!hold.admit(1, waker) && *hold.0.full.borrow());
        let large = hold.take();
        let copy = large.clone();
        drop(large);
        assert!(!hold.admit(1, waker), "a copy is held still");
        drop(copy);
        assert!(hold.admit(60, waker) && hold.admit(40, waker) && !*hold.0.full.borrow());
        assert!(!hold.admit(1, waker));
        let (first, second) = (hold.take(), hold.take());
        drop(second);
        assert!(hold.admit(40, waker) && !hold.admit(1, waker) && hold.bytes() == 100);
        drop(first);
        assert_eq!(hold.bytes(), 40);
    }
}
