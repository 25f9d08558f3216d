//! What a group made of the recent events, in order, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use nuncio_model::{Epoch, Event, Position};

/// What an entry costs in memory beside its bytes, about.
const ENTRY_OVERHEAD: usize = 64;

/// What a group makes of an event. It is made once and shared by all of the group's members.
#[derive(Clone, Debug)]
pub enum Content {
    /// The event as it is.
    Event(Arc<Event>),
    /// The event as it goes out on the wire, but for what each member's own frame adds.
    Text(Bytes),
}

/// An event as a group gives it out.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event's position.
    pub position: Position,
    /// What the group made of it.
    pub content: Content,
}

impl Entry {
    /// How many bytes it keeps in memory, about.
    pub fn cost(&self) -> usize {
        ENTRY_OVERHEAD
            + match &self.content {
                Content::Event(event) => event.draft.data.bytes().len(),
                Content::Text(bytes) => bytes.len(),
            }
    }
}

/// The newest entries of a group: all that there are after `floor`.
#[derive(Debug)]
pub(super) struct Line {
    epoch: Epoch,
    floor: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Line {
    /// A line that begins at a place.
    pub(super) fn new(epoch: Epoch, floor: Position) -> Self {
        Self { epoch, floor, entries: VecDeque::new(), bytes: 0 }
    }

    /// Adds what is newer than all there is, and keeps about so many bytes.
    pub(super) fn push(&mut self, entry: Entry, max_bytes: usize) {
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        while self.bytes > max_bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.floor = oldest.position;
        }
    }

    /// Lets go of all up to a place.
    pub(super) fn forget(&mut self, epoch: Epoch, through: Position) {
        if epoch != self.epoch {
            return;
        }
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.position <= through) {
            self.bytes -= entry.cost();
        }
        self.floor = self.floor.max(through);
    }

    /// Begins anew at a place: what lies between is not here.
    pub(super) fn restart(&mut self, epoch: Epoch, floor: Position) {
        *self = Self::new(epoch, floor);
    }

    /// All entries after a place; none at all where the place is of another epoch or older than the line.
    pub(super) fn after(&self, epoch: Epoch, place: Position) -> Option<impl Iterator<Item = &Entry>> {
        if epoch != self.epoch || place < self.floor {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.position <= place);
        Some(self.entries.range(first..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: Position, bytes: usize) -> Entry {
        Entry { position, content: Content::Text(vec![0; bytes].into()) }
    }

    fn positions(line: &Line, epoch: Epoch, place: Position) -> Option<Vec<Position>> {
        line.after(epoch, place).map(|entries| entries.map(|entry| entry.position).collect())
    }

    #[test]
    fn a_place_within_the_line_gets_all_after_it() {
        let mut line = Line::new(1, 10);
        [12, 15, 16].into_iter().for_each(|position| line.push(entry(position, 10), 1 << 20));
        assert_eq!(positions(&line, 1, 10), Some(vec![12, 15, 16]));
        assert_eq!(positions(&line, 1, 13), Some(vec![15, 16]));
        assert_eq!(positions(&line, 1, 99), Some(vec![]));
        assert_eq!((positions(&line, 1, 9), positions(&line, 2, 13)), (None, None));
    }

    #[test]
    fn the_oldest_leave_when_it_is_full_and_one_too_large_passes_by() {
        let (mut line, most) = (Line::new(1, 0), 3 * (ENTRY_OVERHEAD + 100));
        (1..=5).for_each(|position| line.push(entry(position, 100), most));
        assert_eq!((positions(&line, 1, 1), positions(&line, 1, 2)), (None, Some(vec![3, 4, 5])));
        line.push(entry(6, 100_000), most);
        assert_eq!((positions(&line, 1, 5), positions(&line, 1, 6)), (None, Some(vec![])));
        assert_eq!(line.bytes, 0);
    }

    #[test]
    fn what_was_purged_leaves_and_the_rest_stays() {
        let mut line = Line::new(1, 0);
        (1..=4).for_each(|position| line.push(entry(position, 10), 1 << 20));
        line.forget(2, 4);
        line.forget(1, 3);
        assert_eq!((positions(&line, 1, 2), positions(&line, 1, 3)), (None, Some(vec![4])));
        assert_eq!(line.bytes, ENTRY_OVERHEAD + 10);
    }

    #[test]
    fn a_line_begun_anew_forgets_what_was_before() {
        let mut line = Line::new(1, 0);
        line.push(entry(1, 1), 1 << 20);
        line.restart(2, 7);
        assert_eq!(
            (positions(&line, 1, 1), positions(&line, 2, 6), positions(&line, 2, 7)),
            (None, None, Some(vec![]))
        );
    }
}
