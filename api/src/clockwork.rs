//! One clock for all open connections: it rings their bells when it is time, when the settings change and when the node
//! is about to stop.
//!
//! A timer, a subscription to the settings and a token per connection would each be looked at in every turn of every
//! connection. Here one task waits for all of that, and an idle connection costs a few words.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::{Bell, Cause};

/// How exact the clock is: what is due within one tick is rung together.
const TICK: Duration = Duration::from_millis(50);
/// Below how many appointments nobody looks for those of connections that are gone.
const FEW: usize = 1_024;

/// The clock of a node.
#[derive(Clone, Debug)]
pub struct Clockwork(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// When tick 0 was.
    origin: Instant,
    state: Mutex<State>,
    /// Tells the task that something is due sooner than it thinks.
    sooner: Notify,
}

#[derive(Debug)]
struct State {
    /// The number of the next connection. None is used twice: an appointment of one that is gone rings for nobody.
    next: u64,
    bells: HashMap<u64, Weak<Bell>>,
    /// Which connection is to be rung for at which tick.
    due: BTreeSet<(u64, u64)>,
    /// At how many appointments to look for those of connections that are gone.
    crowded: usize,
    draining: bool,
}

/// A connection that the clock knows; forgotten when this is dropped.
#[derive(Debug)]
pub struct Watched {
    clock: Clockwork,
    number: u64,
}

impl Clockwork {
    /// Starts the clock.
    ///
    /// It goes on while the node drains, since connections leave at their time, and ends with the last of `tasks`. It
    /// is none of them itself: it would wait for itself.
    ///
    /// `changes` tells of changed settings, and `stale` whether it is not known which are in force.
    pub fn start(
        tasks: &TaskTracker,
        changes: watch::Receiver<i64>,
        stale: watch::Receiver<bool>,
        drain: CancellationToken,
    ) -> Self {
        let (bells, due) = (HashMap::new(), BTreeSet::new());
        let state = Mutex::new(State { next: 0, bells, due, crowded: FEW, draining: false });
        let clock = Self(Arc::new(Shared { origin: Instant::now(), state, sooner: Notify::new() }));
        let (tasks, running) = (tasks.clone(), clock.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = tasks.wait() => {}
                () = running.ring_times() => {}
                () = running.ring_changes(changes) => {}
                () = running.ring_pauses(stale) => {}
                () = running.ring_draining(drain) => {}
            }
        });
        clock
    }

    /// Has the bell rung for [`Cause::Credentials`] and [`Cause::Draining`] from now on.
    ///
    /// What happened before is not rung, except for draining: whoever registers looks at its credentials once more.
    pub fn watch(&self, bell: &Arc<Bell>) -> Watched {
        let (number, draining) = self.0.state.lock().add(bell);
        if draining {
            bell.ring(Cause::Draining);
        }
        Watched { clock: self.clone(), number }
    }

    async fn ring_times(&self) {
        loop {
            let next = self.0.state.lock().due.first().map(|(tick, _)| *tick);
            let time = async {
                match next {
                    Some(tick) => sleep_until(self.0.time_of(tick)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                () = self.0.sooner.notified() => continue,
            }
            let now = self.0.tick_before(Instant::now());
            let due = self.0.state.lock().take_due(now);
            ring(&due, Cause::Time);
        }
    }

    async fn ring_changes(&self, mut changes: watch::Receiver<i64>) {
        while changes.changed().await.is_ok() {
            let all = self.0.state.lock().all();
            ring(&all, Cause::Credentials);
        }
        // The settings cannot change any more; the clock goes on.
        std::future::pending().await
    }

    /// Nothing is delivered while it is not known who may still have it; when it is known again, all look at once.
    async fn ring_pauses(&self, mut stale: watch::Receiver<bool>) {
        let paused = metrics::gauge!("nuncio_delivery_paused");
        paused.set(0.0);
        while stale.changed().await.is_ok() {
            let is_stale = *stale.borrow_and_update();
            paused.set(f64::from(u8::from(is_stale)));
            if is_stale {
                tracing::warn!(
                    "delivery pauses: it is not known whether the rights known here are still in force"
                );
            } else {
                tracing::info!("the settings in force are known; delivery goes on");
            }
            let all = self.0.state.lock().all();
            ring(&all, Cause::Credentials);
        }
        std::future::pending().await
    }

    async fn ring_draining(&self, drain: CancellationToken) {
        drain.cancelled().await;
        let all = {
            let mut state = self.0.state.lock();
            state.draining = true;
            state.all()
        };
        ring(&all, Cause::Draining);
        std::future::pending().await
    }
}

/// Rings without the lock: a waker may drop what it wakes, and that may be [`Watched`].
fn ring(bells: &[Arc<Bell>], cause: Cause) {
    bells.iter().for_each(|bell| bell.ring(cause));
}

impl Watched {
    /// Has the bell rung for [`Cause::Time`] at this time, or up to a tick of 50 ms later. A time that has passed
    /// means now. Each appointment is kept: one for later does not replace one for sooner.
    pub fn ring_at(&self, time: Instant) {
        let shared = &*self.clock.0;
        let tick = shared.tick_after(time);
        if shared.state.lock().appoint(tick, self.number) {
            shared.sooner.notify_one();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.clock.0.state.lock().bells.remove(&self.number);
    }
}

impl Shared {
    fn time_of(&self, tick: u64) -> Instant {
        self.origin + Duration::from_millis(tick.saturating_mul(TICK.as_millis() as u64))
    }

    /// The first tick that is not before this time.
    fn tick_after(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.origin).as_nanos();
        since.div_ceil(TICK.as_nanos()) as u64
    }

    /// The last tick that is not after this time.
    fn tick_before(&self, time: Instant) -> u64 {
        (time.saturating_duration_since(self.origin).as_nanos() / TICK.as_nanos()) as u64
    }
}

impl State {
    fn add(&mut self, bell: &Arc<Bell>) -> (u64, bool) {
        let number = self.next;
        self.next += 1;
        self.bells.insert(number, Arc::downgrade(bell));
        (number, self.draining)
    }

    /// Notes an appointment, and says whether it is now the next of all.
    fn appoint(&mut self, tick: u64, number: u64) -> bool {
        if self.due.len() >= self.crowded {
            self.due.retain(|(_, number)| self.bells.contains_key(number));
            // Twice what is left: each appointment pays for a look at two.
            self.crowded = FEW.max(self.due.len() * 2);
        }
        self.due.insert((tick, number));
        self.due.first() == Some(&(tick, number))
    }

    /// The bells that are due at this tick or were before.
    fn take_due(&mut self, now: u64) -> Vec<Arc<Bell>> {
        let mut bells = Vec::new();
        while self.due.first().is_some_and(|(tick, _)| *tick <= now) {
            let number = self.due.pop_first().map(|(_, number)| number);
            bells.extend(number.and_then(|number| self.bells.get(&number)).and_then(Weak::upgrade));
        }
        bells
    }

    fn all(&self) -> Vec<Arc<Bell>> {
        self.bells.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    struct Kit {
        clock: Clockwork,
        tasks: TaskTracker,
        settings: watch::Sender<i64>,
        stale: watch::Sender<bool>,
        drain: CancellationToken,
    }

    impl Kit {
        fn new() -> Self {
            let (tasks, drain) = (TaskTracker::new(), CancellationToken::new());
            let (settings, stale) = (watch::Sender::new(0), watch::Sender::new(false));
            let clock = Clockwork::start(&tasks, settings.subscribe(), stale.subscribe(), drain.clone());
            Self { clock, tasks, settings, stale, drain }
        }

        fn watched(&self) -> (Arc<Bell>, Watched) {
            let bell = Arc::new(Bell::default());
            let watched = self.clock.watch(&bell);
            (bell, watched)
        }
    }

    /// Waits for the bell.
    async fn rung(bell: &Bell) -> Vec<Cause> {
        poll_fn(|context| {
            let mut causes = Vec::new();
            bell.register(context.waker());
            bell.take(&mut causes);
            if causes.is_empty() { Poll::Pending } else { Poll::Ready(causes) }
        })
        .await
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[tokio::test(start_paused = true)]
    async fn each_appointment_is_rung_at_its_time() {
        let kit = Kit::new();
        let (start, (bell, watched)) = (Instant::now(), kit.watched());
        for wait in [25_000, 1_010, 100] {
            watched.ring_at(start + ms(wait));
        }
        for wait in [100, 1_050, 25_000] {
            assert_eq!(rung(&bell).await, [Cause::Time]);
            // Tokio's clock is exact to a millisecond, and rounds up.
            let late = start.elapsed() - ms(wait);
            assert!(late <= ms(2), "{late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sooner_appointment_wakes_the_clock_from_a_longer_sleep() {
        let kit = Kit::new();
        let ((_late, late), (soon, sooner)) = (kit.watched(), kit.watched());
        let start = Instant::now();
        late.ring_at(start + ms(60_000));
        tokio::time::sleep(ms(1_000)).await;
        sooner.ring_at(start + ms(2_000));
        assert_eq!(rung(&soon).await, [Cause::Time]);
        assert!(start.elapsed() < ms(2_100));
        sooner.ring_at(start);
        assert_eq!(rung(&soon).await, [Cause::Time]);
        assert!(start.elapsed() < ms(2_100));
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_connections_are_rung_each_at_its_own_time() {
        let kit = Kit::new();
        let start = Instant::now();
        let watched: Vec<_> = (0..10_000).map(|_| kit.watched()).collect();
        for (number, (_, watched)) in watched.iter().enumerate() {
            watched.ring_at(start + ms(number as u64 * 5 / 2));
        }
        for (number, (bell, _)) in watched.iter().enumerate() {
            assert_eq!(rung(bell).await, [Cause::Time]);
            assert!(start.elapsed() < ms(number as u64 * 5 / 2 + 60), "{number}");
        }
        assert!(kit.clock.0.state.lock().due.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn changed_settings_ring_all_bells() {
        let kit = Kit::new();
        let (one, other) = (kit.watched(), kit.watched());
        kit.settings.send_replace(1);
        assert_eq!(rung(&one.0).await, [Cause::Credentials]);
        assert_eq!(rung(&other.0).await, [Cause::Credentials]);
        for stale in [true, false] {
            kit.stale.send_replace(stale);
            assert_eq!(rung(&one.0).await, [Cause::Credentials]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_draining_node_rings_all_bells_also_new_ones_and_still_tells_the_time() {
        let kit = Kit::new();
        let held = kit.tasks.token();
        let early = kit.watched();
        kit.drain.cancel();
        kit.tasks.close();
        assert_eq!(rung(&early.0).await, [Cause::Draining]);
        let late = kit.watched();
        assert_eq!(rung(&late.0).await, [Cause::Draining]);
        for (bell, watched) in [&early, &late] {
            watched.ring_at(Instant::now() + ms(5_000));
            assert_eq!(rung(bell).await, [Cause::Time]);
        }
        drop((early, late, held));
        kit.tasks.wait().await;
        // Nothing but this is left of the clock when its task has ended.
        while Arc::strong_count(&kit.clock.0) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_gone_take_no_memory() {
        let kit = Kit::new();
        let (bell, kept) = kit.watched();
        kept.ring_at(Instant::now() + ms(3_600_000));
        for _ in 0..10 * FEW {
            let (_, gone) = kit.watched();
            gone.ring_at(Instant::now() + ms(3_600_000));
        }
        let (watched, due) = {
            let state = kit.clock.0.state.lock();
            (state.bells.len(), state.due.len())
        };
        assert!(watched == 1 && due <= FEW, "{watched} {due}");
        assert_eq!(rung(&bell).await, [Cause::Time]);
    }
}
