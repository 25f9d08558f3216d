//! All subscribers of a run together: what each has heard, and how late it was.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::history::History;
use super::marker::Markers;

/// The most that is read at once; shared by all connections, so that a subscriber costs the driver little memory.
const SCRATCH: usize = 256 << 10;
/// How many failures are kept for the report.
const KEPT: usize = 5;
/// The longest latency that is told apart, in microseconds.
const LATEST: u64 = 120_000_000;
/// A subscriber is with the others again once an event reaches it this soon after it was due.
const PROMPT: Duration = Duration::from_millis(250);

/// When each event is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) begin: Instant,
    pub(super) first: u32,
    pub(super) per_second: u32,
}

impl Schedule {
    pub(super) fn due(&self, number: u32) -> Instant {
        let after = u64::from(number - self.first) * 1_000_000_000 / u64::from(self.per_second);
        self.begin + Duration::from_nanos(after)
    }
}

/// What all subscribers share. One thread drives them all, so cells are enough.
pub(super) struct Crowd {
    pub(super) scratch: RefCell<Vec<u8>>,
    pub(super) markers: Markers,
    histories: RefCell<Vec<History>>,
    /// The newest cursor of each subscriber, kept only where they are to resume.
    pub(super) cursors: RefCell<Option<Vec<String>>>,
    schedule: Cell<Option<Schedule>>,
    histogram: RefCell<Histogram<u64>>,
    last_receipt: Cell<Instant>,
    deliveries: Cell<u64>,
    failures: RefCell<Vec<String>>,
    failed: Cell<usize>,
    /// The first so many subscribers do not read.
    asleep: Cell<usize>,
    pub(super) woken: Notify,
    /// When the connections were cut, and since when each subscriber is up to date again.
    cut: Cell<Option<Instant>>,
    caught_up: RefCell<Vec<Option<Duration>>>,
}

impl Crowd {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            scratch: RefCell::new(vec![0; SCRATCH]),
            markers: Markers::default(),
            histories: RefCell::default(),
            cursors: RefCell::default(),
            schedule: Cell::default(),
            histogram: RefCell::new(Histogram::new_with_bounds(1, LATEST, 3)?),
            last_receipt: Cell::new(Instant::now()),
            deliveries: Cell::default(),
            failures: RefCell::default(),
            failed: Cell::default(),
            asleep: Cell::default(),
            woken: Notify::new(),
            cut: Cell::default(),
            caught_up: RefCell::default(),
        })
    }

    /// Makes room for one more subscriber; its number.
    pub(super) fn join(&self) -> usize {
        let mut histories = self.histories.borrow_mut();
        histories.push(History::default());
        self.caught_up.borrow_mut().push(None);
        if let Some(cursors) = self.cursors.borrow_mut().as_mut() {
            cursors.push(String::new());
        }
        histories.len() - 1
    }

    /// Takes events out of a text that came at `now`; says where the last one ends.
    pub(super) fn hear(&self, member: usize, text: &[u8], now: Instant) -> usize {
        self.markers.each(text, |number| {
            if let Err(wrong) = self.histories.borrow_mut()[member].hear(number) {
                return self.fail(member, &wrong.to_string());
            }
            self.deliveries.set(self.deliveries.get() + 1);
            if let Some(schedule) = self.schedule.get()
                && number >= schedule.first
            {
                self.time(member, now.saturating_duration_since(schedule.due(number)), now);
            }
        })
    }

    fn time(&self, member: usize, late: Duration, now: Instant) {
        self.last_receipt.set(now);
        self.histogram.borrow_mut().saturating_record(late.as_micros() as u64);
        if let Some(cut) = self.cut.get()
            && late <= PROMPT
        {
            self.caught_up.borrow_mut()[member].get_or_insert(now - cut);
        }
    }

    pub(super) fn fail(&self, member: usize, why: &str) {
        self.failed.set(self.failed.get() + 1);
        let mut failures = self.failures.borrow_mut();
        if failures.len() < KEPT {
            failures.push(format!("subscriber {member}: {why}"));
        }
    }

    /// An error where any subscriber has heard anything wrong, or was closed.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.failed.get() {
            0 => Ok(()),
            count => Err(format!("{count} failures, such as {}", self.failures.borrow().join("; "))),
        }
    }

    /// How many of those that read have not heard everything below this number; with none, nothing at all.
    pub(super) fn short_of(&self, number: Option<u32>) -> usize {
        let histories = self.histories.borrow();
        let awake = histories.iter().skip(self.asleep.get());
        awake
            .filter(|history| !number.map_or(history.has_begun(), |number| history.has_reached(number)))
            .count()
    }

    pub(super) fn begin(&self, schedule: Schedule) {
        self.histogram.borrow_mut().reset();
        self.last_receipt.set(schedule.begin);
        self.deliveries.set(0);
        self.schedule.set(Some(schedule));
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries.get()
    }

    pub(super) fn last_receipt(&self) -> Instant {
        self.last_receipt.get()
    }

    /// From the first event's due time to the last receipt.
    pub(super) fn elapsed(&self) -> Duration {
        let begin = self.schedule.get().map_or(self.last_receipt.get(), |schedule| schedule.begin);
        self.last_receipt.get().saturating_duration_since(begin)
    }

    /// The latency at these quantiles, in microseconds.
    pub(super) fn latency<const N: usize>(&self, quantiles: [f64; N]) -> [u64; N] {
        quantiles.map(|quantile| self.histogram.borrow().value_at_quantile(quantile))
    }

    pub(super) fn sleep(&self, members: usize) {
        self.asleep.set(members);
        self.woken.notify_waiters();
    }

    pub(super) fn is_asleep(&self, member: usize) -> bool {
        member < self.asleep.get()
    }

    pub(super) fn cut(&self, now: Instant) {
        self.caught_up.borrow_mut().fill(None);
        self.cut.set(Some(now));
    }

    /// How many are up to date again after the cut, and how long the last of them took.
    pub(super) fn caught_up(&self) -> (usize, Duration) {
        let caught_up = self.caught_up.borrow();
        (caught_up.iter().flatten().count(), caught_up.iter().flatten().max().copied().unwrap_or_default())
    }
}
