//! One project: its recent events, and the groups they are given to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use nuncio_model::{Channel, Epoch, Event, Pattern, Position, ProjectId};
use parking_lot::{Mutex, RwLock};
use slab::Slab;
use tokio::sync::Notify;

use super::group::{Clapper, Given, Group, GroupKey, Render};
use super::index::Index;
use super::line::Line;
use super::{Accepted, Bell, Entry, Read, Ring, Segment};

/// How many events are given to the groups at once, before their members are rung for.
const BATCH: usize = 64;

/// What a group keeps in any case of what it made, about, however many groups there are.
const LEAST_LINE_BYTES: usize = 8 << 10;

/// The counts of removals and purges before they were ever read.
const UNKNOWN: i64 = -1;

/// How much is kept in memory of the recent events.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of each project's events, about so many bytes.
    pub ring_bytes: usize,
    /// Of what each group made of them, about so many bytes,
    pub line_bytes: usize,
    /// and of what all groups of a project made of them together, as long as each has its least, 8 KiB.
    pub lines_bytes: usize,
}

/// A place in a project's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// The epoch; 0 before anything is known.
    pub epoch: Epoch,
    /// The position.
    pub position: Position,
}

/// A project's ring, and its groups.
///
/// What comes into the ring is given to the groups by [`Self::pump`], in order.
#[derive(Debug)]
pub struct Stream {
    project: ProjectId,
    ring: RwLock<Ring>,
    groups: Mutex<Groups>,
    bounds: Bounds,
    /// Everything up to here has been given to the groups it is for.
    given: RwLock<Tip>,
    trims: AtomicI64,
    purges: AtomicI64,
    filling: AtomicBool,
    pumping: Mutex<()>,
    advanced: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Groups {
    /// Everything up to here has been assigned to the groups there were then: a group made now begins here.
    routed: Tip,
    all: Slab<Arc<Group>>,
    by_key: HashMap<GroupKey, usize>,
    index: Index<usize>,
}

/// A member's place among those who listen to a project; left when it is dropped.
#[derive(Debug)]
pub struct Seat {
    stream: Arc<Stream>,
    group: Arc<Group>,
    clapper: Arc<Clapper>,
    number: usize,
}

/// What a member was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// All there is, up to this position. The bell rings when there is more.
    All(Position),
    /// As much as it wanted, up to this position. There may be more, and the bell does not ring for that.
    Enough(Position),
    /// Nothing: the place is older than what is in memory, or of another epoch.
    NotHere,
}

impl Stream {
    pub(super) fn new(project: ProjectId, bounds: Bounds) -> Self {
        Self {
            project,
            ring: RwLock::new(Ring::new(bounds.ring_bytes)),
            groups: Mutex::default(),
            bounds,
            given: RwLock::default(),
            trims: AtomicI64::new(UNKNOWN),
            purges: AtomicI64::new(UNKNOWN),
            filling: AtomicBool::new(false),
            pumping: Mutex::default(),
            advanced: Arc::default(),
        }
    }

    /// The project all this belongs to.
    pub fn project(&self) -> ProjectId {
        self.project
    }

    /// Takes a stretch of the log.
    pub fn accept(&self, segment: Segment) -> Accepted {
        let accepted = self.ring.write().accept(segment);
        self.advanced.notify_one();
        accepted
    }

    /// Takes the news of how far the log reaches.
    pub fn learn_head(&self, epoch: Epoch, head: Position) -> Accepted {
        let accepted = self.ring.write().learn_head(epoch, head);
        if accepted != Accepted::Known {
            self.advanced.notify_one();
        }
        accepted
    }

    /// Takes it that what lies before a place cannot be had whole any more: whoever still needs it asks the log, which
    /// knows what has been removed.
    pub fn skip_to(&self, epoch: Epoch, place: Position) {
        self.ring.write().skip_to(epoch, place);
        self.advanced.notify_one();
    }

    /// How often something has been removed, as it was last heard.
    pub fn trims(&self) -> i64 {
        self.trims.load(Ordering::Acquire)
    }

    /// Takes the news of how often something has been removed.
    pub fn learn_trims(&self, trims: i64) {
        self.trims.fetch_max(trims, Ordering::AcqRel);
    }

    /// How often something has been purged, as it was last heard.
    pub fn purges(&self) -> i64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Takes the news of how often something has been purged, as it stood when the log reached up to `head`. Where that
    /// is news, nothing that is in memory up to there is given out any more; nor is what comes late.
    pub fn learn_purges(&self, epoch: Epoch, head: Position, purges: i64) {
        // One at a time, and none while events are on their way from the ring to the groups.
        let _one_at_a_time = self.pumping.lock();
        if self.purges() >= purges {
            return;
        }
        self.ring.write().forget(epoch, head);
        self.purges.store(purges, Ordering::Release);
        let all: Vec<Arc<Group>> = self.groups.lock().all.iter().map(|(_, group)| group.clone()).collect();
        all.iter().for_each(|group| group.forget(epoch, head));
        // Whoever has a page in hand looks anew, and finds the log.
        all.iter().for_each(|group| group.ring());
        self.advanced.notify_one();
    }

    /// How far the log is known to reach without a hole.
    pub fn tip(&self) -> Tip {
        let ring = self.ring.read();
        Tip { epoch: ring.epoch(), position: ring.tail() }
    }

    /// What the ring has after a place of this epoch; see [`Ring::read`]. Places of another epoch are not here.
    pub fn read(&self, epoch: Epoch, after: Position, patterns: &[Pattern], max_events: usize) -> Read {
        let ring = self.ring.read();
        if ring.epoch() == epoch { ring.read(after, patterns, max_events) } else { Read::NotHere }
    }

    /// What is known to exist and is not in the ring, with its epoch.
    pub fn hole(&self) -> Option<(Epoch, Position, Position)> {
        let ring = self.ring.read();
        ring.hole().map(|(after, through)| (ring.epoch(), after, through))
    }

    /// Told when there is something to [`Self::pump`], and when the stream ends.
    pub fn advanced(&self) -> Arc<Notify> {
        self.advanced.clone()
    }

    /// Takes the task of filling the hole; false where somebody has it already.
    pub fn start_filling(&self) -> bool {
        !self.filling.swap(true, Ordering::AcqRel)
    }

    /// Gives the task of filling back.
    pub fn stop_filling(&self) {
        self.filling.store(false, Ordering::Release);
    }

    /// Joins the group of this key, made by `render` where it is the first member. The bell is rung, with this number,
    /// when there is something to take.
    pub fn join(
        self: &Arc<Self>,
        key: &GroupKey,
        render: impl FnOnce() -> Render,
        bell: &Arc<Bell>,
        number: u32,
    ) -> Seat {
        let clapper = Arc::new(Clapper::new(bell.clone(), number));
        let mut groups = self.groups.lock();
        let at = match groups.by_key.get(key) {
            Some(at) => *at,
            None => groups.make(key, render()),
        };
        let group = groups.all[at].clone();
        let number = group.add(clapper.clone());
        Seat { stream: self.clone(), group, clapper, number }
    }

    /// Gives the next events of the ring to the groups they are for; whether there may be more.
    pub fn pump(&self) -> bool {
        let _one_at_a_time = self.pumping.lock();
        let routed = self.groups.lock().routed;
        let (epoch, next) = {
            let ring = self.ring.read();
            let next = if ring.epoch() == routed.epoch { ring.next(routed.position, BATCH) } else { None };
            match next {
                Some(next) => (routed.epoch, next),
                None => {
                    let place = Tip { epoch: ring.epoch(), position: ring.floor() };
                    drop(ring);
                    // Nothing is known yet, and nothing else is.
                    return place != routed && self.restart(place);
                }
            }
        };
        let (events, through) = next;
        let line_bytes = self.line_bytes();
        let mut touched: Vec<Arc<Group>> = Vec::new();
        for event in &events {
            let heard = self.groups.lock().route(event);
            touched.extend(heard.into_iter().filter(|group| group.push(event, line_bytes)));
        }
        self.groups.lock().routed = Tip { epoch, position: through };
        *self.given.write() = Tip { epoch, position: through };
        touched.sort_unstable_by_key(Arc::as_ptr);
        touched.dedup_by_key(|group| Arc::as_ptr(group));
        touched.iter().for_each(|group| group.ring());
        events.len() >= BATCH
    }

    /// How many listen to the channel now, by whatever pattern.
    pub fn listeners(&self, channel: &Channel) -> usize {
        let groups = self.groups.lock();
        groups.index.matching(channel).into_iter().map(|at| groups.all[at].members()).sum()
    }

    /// Whether anybody listens to anything.
    pub fn is_read(&self) -> bool {
        !self.groups.lock().all.is_empty()
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups.lock().all.len()
    }

    /// Lets go of pages that nobody needs any more.
    pub fn tidy(&self) {
        self.groups.lock().all.iter().for_each(|(_, group)| group.shelf().tidy());
    }

    /// How much each group keeps: less where there are many.
    fn line_bytes(&self) -> usize {
        let share = self.bounds.lines_bytes / self.groups().max(1);
        share.max(LEAST_LINE_BYTES).min(self.bounds.line_bytes)
    }

    /// What the groups are given was interrupted: another epoch began, or events left the ring before they were given.
    /// Their lines begin anew, and their members find what they miss in the log.
    fn restart(&self, place: Tip) -> bool {
        let all: Vec<Arc<Group>> = {
            let mut groups = self.groups.lock();
            groups.routed = place;
            groups.all.iter().map(|(_, group)| group.clone()).collect()
        };
        all.iter().for_each(|group| group.restart(place.epoch, place.position));
        *self.given.write() = place;
        all.iter().for_each(|group| group.ring());
        true
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.advanced.notify_one();
    }
}

impl Groups {
    fn make(&mut self, key: &GroupKey, render: Render) -> usize {
        let Tip { epoch, position } = self.routed;
        let line = Line::new(epoch, position);
        let at = self.all.insert(Arc::new(Group::new(key.clone(), render, line)));
        self.by_key.insert(key.clone(), at);
        key.patterns.iter().for_each(|pattern| self.index.insert(pattern, at));
        at
    }

    /// The groups that hear of this event; those that are made from now on do not.
    fn route(&mut self, event: &Event) -> Vec<Arc<Group>> {
        self.routed.position = event.position;
        self.index.matching(&event.draft.channel).into_iter().map(|at| self.all[at].clone()).collect()
    }

    fn leave(&mut self, group: &Group, number: usize) {
        if group.remove(number) > 0 {
            return;
        }
        if let Some(at) = self.by_key.remove(group.key()) {
            group.patterns().iter().for_each(|pattern| self.index.remove(pattern, at));
            self.all.remove(at);
        }
    }
}

impl Seat {
    /// The stream sat in.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The group sat with.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Gives what is there after a place to `sink`, until that says that it has enough.
    pub fn take(&self, place: Tip, sink: impl FnMut(&Entry) -> bool) -> Took {
        // What is pushed from here on rings again, whether or not it is seen below.
        self.clapper.rest();
        // Read before the line: whatever had been given by then is in the line.
        let given = *self.stream.given.read();
        match self.group.read(place.epoch, place.position, sink) {
            None => Took::NotHere,
            Some(Given::Enough(last)) => Took::Enough(last),
            Some(Given::All(last)) if given.epoch == place.epoch => Took::All(last.max(given.position)),
            Some(Given::All(last)) => Took::All(last),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stream.groups.lock().leave(&self.group, self.number);
    }
}
