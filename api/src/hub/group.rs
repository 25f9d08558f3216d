//! Those who are given the same: an event is made ready for them once, whatever their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nuncio_model::{Epoch, Event, Pattern, Position};
use parking_lot::{Mutex, RwLock};
use slab::Slab;

use super::line::Line;
use super::shelf::Shelf;
use super::{Bell, Cause, Content, Counted, Entry};

/// Makes of an event what the members of a group are given; nothing where the event is not for them.
pub type Render = Box<dyn Fn(&Arc<Event>) -> Option<Content> + Send + Sync>;

/// What makes two members of a project be given the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Channels that match any of these.
    pub patterns: Arc<[Pattern]>,
    /// What is made of an event, in the words of whoever makes it: the kind of stream, the fields, the filter. It
    /// never depends on who is asking; two who may not be given the same must not have the same key.
    pub form: Arc<str>,
}

/// What has been removed of what a group may read, as it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The epoch it was asked in.
    pub epoch: Epoch,
    /// The count of removals at the time: while it stays the same, so does the rest.
    pub trims: i64,
    /// The position of the newest event that has been removed; 0 where none has.
    pub through: Position,
}

/// Members that are given the same, and what was made for them of the newest events.
pub struct Group {
    key: GroupKey,
    render: Render,
    line: RwLock<Line>,
    shelf: Shelf,
    removed: tokio::sync::Mutex<Option<Removed>>,
    members: Mutex<Slab<Arc<Clapper>>>,
    _counted: Counted,
}

/// What rings a member's bell, once until the member has looked.
#[derive(Debug)]
pub(super) struct Clapper {
    bell: Arc<Bell>,
    number: u32,
    rung: AtomicBool,
}

impl Clapper {
    pub(super) fn new(bell: Arc<Bell>, number: u32) -> Self {
        Self { bell, number, rung: AtomicBool::new(false) }
    }

    /// Has the member look.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.ring(Cause::Member(self.number));
        }
    }

    /// The member looks now: what comes from here on rings again.
    pub(super) fn rest(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Group {
    /// A group without members whose line begins at a place.
    pub(super) fn new(key: GroupKey, render: Render, line: Line) -> Self {
        Self {
            key,
            render,
            line: RwLock::new(line),
            shelf: Shelf::default(),
            removed: tokio::sync::Mutex::default(),
            members: Mutex::default(),
            _counted: Counted::group(),
        }
    }

    /// What is listened to.
    pub fn patterns(&self) -> &[Pattern] {
        &self.key.patterns
    }

    /// Pages of older events that several members need.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// What is known to have been removed. Whoever finds it out holds the lock meanwhile, so that one asks for all.
    pub fn removed(&self) -> &tokio::sync::Mutex<Option<Removed>> {
        &self.removed
    }

    /// What the group makes of an event.
    pub fn entry(&self, event: &Arc<Event>) -> Option<Entry> {
        Some(Entry { position: event.position, content: (self.render)(event)? })
    }

    /// Makes the event ready for all members, in a line of about so many bytes; whether it is for them at all.
    pub(super) fn push(&self, event: &Arc<Event>, line_bytes: usize) -> bool {
        let Some(entry) = self.entry(event) else { return false };
        self.line.write().push(entry, line_bytes);
        true
    }

    /// Begins the line anew at a place.
    pub(super) fn restart(&self, epoch: Epoch, place: Position) {
        self.line.write().restart(epoch, place);
    }

    /// Lets go of what was made of events up to a place.
    pub(super) fn forget(&self, epoch: Epoch, through: Position) {
        self.line.write().forget(epoch, through);
        self.shelf.clear();
    }

    /// Gives the entries after a place to `sink` until that has enough; the last place given, or none where the place
    /// is not here.
    pub(super) fn read(
        &self,
        epoch: Epoch,
        place: Position,
        mut sink: impl FnMut(&Entry) -> bool,
    ) -> Option<Given> {
        let line = self.line.read();
        let mut last = place;
        for entry in line.after(epoch, place)? {
            last = entry.position;
            if !sink(entry) {
                return Some(Given::Enough(last));
            }
        }
        Some(Given::All(last))
    }

    /// Has all members look.
    pub(super) fn ring(&self) {
        self.members.lock().iter().for_each(|(_, clapper)| clapper.ring());
    }

    pub(super) fn add(&self, clapper: Arc<Clapper>) -> usize {
        self.members.lock().insert(clapper)
    }

    /// Removes a member; how many are left.
    pub(super) fn remove(&self, seat: usize) -> usize {
        let mut members = self.members.lock();
        members.remove(seat);
        members.len()
    }

    pub(super) fn members(&self) -> usize {
        self.members.lock().len()
    }

    pub(super) fn key(&self) -> &GroupKey {
        &self.key
    }
}

/// How far [`Group::read`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The sink had enough after the entry at this position; there may be more.
    Enough(Position),
    /// All there is was given, up to this position.
    All(Position),
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("key", &self.key)
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}
