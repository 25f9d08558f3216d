//! What wakes a connection's task, and says what for.
//!
//! A task that waits for a socket, for a thousand places in the feed, for time and for its credentials would have to
//! look at them all whenever it is woken. A bell tells it where to look: each ring costs one short lock, whatever the
//! number of things the task waits for.

use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// What a task is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A time that it asked for has come.
    Time,
    /// The settings have changed: its credentials may be worth nothing any more.
    Credentials,
    /// The node is about to stop.
    Draining,
    /// Other requests have asked for something that this task is to do.
    Orders,
    /// An administrator has ended the connection.
    Disconnected,
    /// There is something for the member of this number.
    Member(u32),
}

impl Cause {
    /// A bit of its own for each cause that is worth saying once; none for a member.
    fn bit(self) -> u8 {
        match self {
            Self::Time => 1,
            Self::Credentials => 2,
            Self::Draining => 4,
            Self::Orders => 8,
            Self::Disconnected => 64,
            Self::Member(_) => 0,
        }
    }
}

/// Wakes one task, and keeps what for until it is asked.
///
/// Of every cause but [`Cause::Member`] there is one at most. A member is not looked for among those that wait, which
/// would cost a walk for each ring: whoever rings for a member knows whether it has done so already.
#[derive(Debug, Default)]
pub struct Bell {
    waker: AtomicWaker,
    rung: Mutex<Rung>,
}

/// What was rung and not taken yet.
#[derive(Debug, Default)]
struct Rung {
    causes: Vec<Cause>,
    /// The bits of those causes that are in the list once.
    once: u8,
}

impl Bell {
    /// Has the task woken for a cause.
    pub fn ring(&self, cause: Cause) {
        if self.rung.lock().add(cause) {
            self.waker.wake();
        }
    }

    /// Says whom to wake. It must come before [`Self::take`] in every poll: what is rung between the two is then either
    /// taken or wakes the task once more.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Moves what was rung to the end of `into`, in the order of the rings.
    ///
    /// An empty list is exchanged for that of the bell, so that neither has to grow again.
    pub fn take(&self, into: &mut Vec<Cause>) {
        let mut rung = self.rung.lock();
        rung.once = 0;
        if into.is_empty() {
            std::mem::swap(into, &mut rung.causes);
        } else {
            into.append(&mut rung.causes);
        }
    }
}

impl Rung {
    /// Notes the cause. Only the first since the last taking has anyone woken: the task finds the others with it.
    fn add(&mut self, cause: Cause) -> bool {
        let bit = cause.bit();
        if self.once & bit != 0 {
            return false;
        }
        self.once |= bit;
        self.causes.push(cause);
        self.causes.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Poll, Wake};

    use super::*;

    fn taken(bell: &Bell) -> Vec<Cause> {
        let mut causes = Vec::new();
        bell.take(&mut causes);
        causes
    }

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_cause_but_a_member_is_kept_once() {
        let bell = Bell::default();
        for cause in [Cause::Time, Cause::Member(1), Cause::Time, Cause::Draining, Cause::Credentials] {
            bell.ring(cause);
            bell.ring(cause);
        }
        let expected = [Cause::Time, Cause::Member(1), Cause::Member(1), Cause::Draining, Cause::Credentials];
        assert_eq!(taken(&bell), expected);
        assert!(taken(&bell).is_empty());
        bell.ring(Cause::Time);
        assert_eq!(taken(&bell), [Cause::Time]);
    }

    #[test]
    fn what_is_taken_comes_after_what_the_list_holds() {
        let bell = Bell::default();
        let mut causes = vec![Cause::Member(7)];
        bell.ring(Cause::Time);
        bell.take(&mut causes);
        assert_eq!(causes, [Cause::Member(7), Cause::Time]);
    }

    #[test]
    fn many_rings_wake_once() {
        let (bell, count) = (Bell::default(), Arc::new(Count::default()));
        for round in 1..=3 {
            bell.register(&Waker::from(count.clone()));
            assert!(taken(&bell).is_empty());
            (0..100).for_each(|member| bell.ring(Cause::Member(member)));
            assert_eq!(count.0.load(Ordering::Relaxed), round);
            assert_eq!(taken(&bell).len(), 100);
        }
    }

    #[test]
    fn what_was_rung_before_anyone_listened_is_there() {
        let (bell, count) = (Bell::default(), Arc::new(Count::default()));
        bell.ring(Cause::Draining);
        bell.register(&Waker::from(count.clone()));
        assert_eq!(taken(&bell), [Cause::Draining]);
        bell.ring(Cause::Member(0));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_ring_of_any_thread_is_lost() {
        const RINGERS: u32 = 4;
        const RINGS: u32 = 20_000;
        let bell = Arc::new(Bell::default());
        let ringers: Vec<_> = (0..RINGERS)
            .map(|ringer| {
                let bell = bell.clone();
                std::thread::spawn(move || {
                    (0..RINGS).for_each(|ring| bell.ring(Cause::Member(ringer * RINGS + ring)));
                })
            })
            .collect();
        let (mut seen, mut causes) = (vec![false; (RINGERS * RINGS) as usize], Vec::new());
        let mut missing = seen.len();
        // Hangs, and is ended by the test runner, where a wake-up is lost.
        poll_fn(|context| {
            bell.register(context.waker());
            bell.take(&mut causes);
            for cause in causes.drain(..) {
                let Cause::Member(member) = cause else { panic!("{cause:?} was not rung") };
                assert!(!std::mem::replace(&mut seen[member as usize], true), "{member} came twice");
                missing -= 1;
            }
            if missing == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        ringers.into_iter().for_each(|ringer| ringer.join().expect("a ringer does not panic"));
    }
}
