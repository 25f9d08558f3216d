//! The recent events of one project, put together from wakes that may be doubled, late, overlapping or crossing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nuncio_model::{Epoch, Event, Pattern, Position};

/// How many segments that came too early are kept, waiting for what belongs before them.
const MAX_WAITING: usize = 16;
/// How many events one read looks at, so that a rare pattern does not hold the ring for long.
const MAX_SCAN: usize = 4_096;
/// What an event costs in memory beside its texts, about.
const EVENT_OVERHEAD: usize = 400;

/// A stretch of a project's log: all events that there are in `(after, through]`.
///
/// Positions may be missing inside, where events have been removed; the stretch is complete nevertheless.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The epoch of the positions.
    pub epoch: Epoch,
    /// The place the stretch begins at, exclusive.
    pub after: Position,
    /// The place it ends at, inclusive.
    pub through: Position,
    /// Its events, oldest first.
    pub events: Vec<Arc<Event>>,
}

/// What became of a segment or a head that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It told nothing new.
    Known,
    /// The ring reaches further than before, and misses nothing that is known of.
    Advanced,
    /// Something before it is missing: all after the ring's tail, up to what is known of, is to be read from the log.
    Hole,
    /// The log was replaced by an older copy of itself: the ring began anew, and places of the old epoch are void.
    Replaced,
}

/// What [`Ring::read`] found.
#[derive(Clone, Debug)]
pub enum Read {
    /// All matching events in `(after, through]`; there may be none, and the place moves on all the same.
    Chunk {
        /// The matching events, oldest first.
        events: Vec<Arc<Event>>,
        /// The place to go on from.
        through: Position,
    },
    /// Nothing newer is known.
    AtTail,
    /// The place is older than the ring's oldest, or the ring has not begun: read the log.
    NotHere,
}

/// The newest events of one project, in order and without holes, bounded in bytes.
///
/// It covers `(floor, tail]`. What is handed in may touch, overlap or repeat what is there; what leaves a hole waits
/// aside until the hole is filled.
#[derive(Debug)]
pub struct Ring {
    epoch: Epoch,
    begun: bool,
    floor: Position,
    tail: Position,
    known: Position,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    max_bytes: usize,
    waiting: BTreeMap<Position, Segment>,
}

impl Ring {
    /// An empty ring that holds events of about so many bytes in all.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            epoch: 0,
            begun: false,
            floor: 0,
            tail: 0,
            known: 0,
            events: VecDeque::new(),
            bytes: 0,
            max_bytes,
            waiting: BTreeMap::new(),
        }
    }

    /// The epoch of all positions here; 0 before anything is known.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The place up to which everything is known.
    pub fn tail(&self) -> Position {
        self.tail
    }

    /// The place after which everything up to the tail is here.
    pub fn floor(&self) -> Position {
        self.floor
    }

    /// What is known to exist and is not here: all in `(.0, .1]`.
    pub fn hole(&self) -> Option<(Position, Position)> {
        (self.begun && self.known > self.tail).then_some((self.tail, self.known))
    }

    /// Takes a stretch of the log, in whatever order and however often it comes.
    pub fn accept(&mut self, segment: Segment) -> Accepted {
        if self.begun && segment.epoch < self.epoch {
            return Accepted::Known;
        }
        let replaced = self.enter_epoch(segment.epoch, segment.after);
        let before = (self.tail, self.known);
        self.known = self.known.max(segment.through);
        if segment.after > self.tail {
            self.set_aside(segment);
        } else {
            self.join(segment);
            self.join_waiting();
        }
        self.evict();
        self.outcome(replaced, before)
    }

    /// Takes the news of how far the log reaches.
    pub fn learn_head(&mut self, epoch: Epoch, head: Position) -> Accepted {
        if self.begun && epoch < self.epoch {
            return Accepted::Known;
        }
        let replaced = self.enter_epoch(epoch, head);
        let before = (self.tail, self.known);
        self.known = self.known.max(head);
        self.outcome(replaced, before)
    }

    /// Begins anew at a place: what lies before it cannot be had whole.
    pub fn skip_to(&mut self, epoch: Epoch, place: Position) {
        if self.begun && (epoch, place) <= (self.epoch, self.tail) {
            return;
        }
        self.enter_epoch(epoch, place);
        self.events.clear();
        self.bytes = 0;
        (self.floor, self.tail, self.known) = (place, place, self.known.max(place));
        self.join_waiting();
        self.evict();
    }

    /// Lets go of all up to a place, as it may have been purged: whoever still needs it asks the log. What comes later
    /// and is older than that is not taken either.
    pub fn forget(&mut self, epoch: Epoch, through: Position) {
        if self.begun && epoch < self.epoch {
            return;
        }
        self.enter_epoch(epoch, through);
        while let Some(event) = self.events.pop_front_if(|event| event.position <= through) {
            self.bytes -= cost(&event);
        }
        self.floor = self.floor.max(through);
        (self.tail, self.known) = (self.tail.max(through), self.known.max(through));
        self.waiting.retain(|_, segment| segment.through > through);
        self.join_waiting();
    }

    /// The next events after a place that match any of the patterns: at most so many, and those of one bounded scan.
    pub fn read(&self, after: Position, patterns: &[Pattern], max_events: usize) -> Read {
        if !self.begun || after < self.floor {
            return Read::NotHere;
        }
        if after >= self.tail {
            return Read::AtTail;
        }
        let start = self.events.partition_point(|event| event.position <= after);
        let mut events = Vec::new();
        for event in self.events.range(start..).take(MAX_SCAN) {
            if patterns.iter().any(|pattern| pattern.matches(&event.draft.channel)) {
                events.push(event.clone());
                if events.len() >= max_events {
                    return Read::Chunk { events, through: event.position };
                }
            }
        }
        let scanned_all = self.events.len() - start <= MAX_SCAN;
        let through = if scanned_all { self.tail } else { self.events[start + MAX_SCAN - 1].position };
        Read::Chunk { events, through }
    }

    /// The next events after a place, whatever their channel, and the place after them; none where the place is older
    /// than the ring.
    pub fn next(&self, after: Position, max_events: usize) -> Option<(Vec<Arc<Event>>, Position)> {
        if !self.begun || after < self.floor {
            return None;
        }
        let start = self.events.partition_point(|event| event.position <= after);
        let events: Vec<_> = self.events.range(start..).take(max_events).cloned().collect();
        let through = match events.last() {
            Some(last) if events.len() == max_events => last.position,
            _ => self.tail.max(after),
        };
        Some((events, through))
    }

    /// Begins at a place, if nothing is known yet or what is known is of an older epoch.
    fn enter_epoch(&mut self, epoch: Epoch, place: Position) -> bool {
        if self.begun && epoch == self.epoch {
            return false;
        }
        let replaced = self.begun;
        let max_bytes = self.max_bytes;
        *self = Self { epoch, begun: true, floor: place, tail: place, known: place, ..Self::new(max_bytes) };
        replaced
    }

    fn outcome(&self, replaced: bool, (tail, known): (Position, Position)) -> Accepted {
        if replaced {
            Accepted::Replaced
        } else if self.known > self.tail && (self.known > known || self.tail > tail) {
            Accepted::Hole
        } else if self.tail > tail {
            Accepted::Advanced
        } else {
            Accepted::Known
        }
    }

    fn set_aside(&mut self, segment: Segment) {
        let longer = self.waiting.get(&segment.after).is_none_or(|other| other.through < segment.through);
        if longer {
            self.waiting.insert(segment.after, segment);
        }
        // What is let go here is read from the log with the hole before it.
        while self.waiting.len() > MAX_WAITING {
            self.waiting.pop_last();
        }
    }

    fn join(&mut self, segment: Segment) {
        if segment.through <= self.tail {
            return;
        }
        let tail = self.tail;
        for event in segment.events.into_iter().filter(|event| event.position > tail) {
            self.bytes += cost(&event);
            self.events.push_back(event);
        }
        self.tail = segment.through;
    }

    fn join_waiting(&mut self) {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.tail {
                break;
            }
            let segment = entry.remove();
            self.join(segment);
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.max_bytes {
            let Some(event) = self.events.pop_front() else { break };
            self.bytes -= cost(&event);
            self.floor = event.position;
        }
    }
}

fn cost(event: &Event) -> usize {
    let draft = &event.draft;
    EVENT_OVERHEAD + draft.data.bytes().len() + draft.id.len() + draft.source.len() + draft.r#type.len()
}

#[cfg(test)]
mod tests;
