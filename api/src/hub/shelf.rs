//! Pages of older events that several members of a group need at about the same time.

use std::sync::Arc;

use nuncio_model::{Epoch, Position};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{Counted, Entry};

/// How many pages a group keeps.
const PAGES: usize = 4;

/// A stretch of the log as a group gives it out: all that is in `(after, through]`.
#[derive(Debug)]
pub struct Page {
    /// The epoch of the positions.
    pub epoch: Epoch,
    /// The place it begins at, exclusive.
    pub after: Position,
    /// The place it ends at, inclusive.
    pub through: Position,
    /// The position of the newest event that is known to be missing from the log since this was read; 0 where none is.
    pub removed: Position,
    /// Where the log ended at the time.
    pub head: Position,
    /// How often something had been purged when it was begun to be read: what is older than the last time is not
    /// given out.
    pub purges: i64,
    /// How many events the next page should hold: fewer where they are large.
    pub stride: usize,
    /// Its entries, oldest first.
    pub entries: Vec<Entry>,
    /// Counts it.
    pub counted: Counted,
}

impl Page {
    /// Whether a member at this place can go on with it.
    pub fn serves(&self, place: Position) -> bool {
        self.after <= place && place < self.through
    }

    /// Whether it stopped short of this place, and not because the log did: to read it again would be of no use.
    fn stops_before(&self, place: Position) -> bool {
        self.through <= place && self.through < self.head
    }
}

/// Where a page is read to by the first who needs it; the others wait for it.
pub type Slot = Arc<OnceCell<Arc<Page>>>;

/// The pages that were needed last.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    start: Position,
    slot: Slot,
    /// Whether it was needed since [`Shelf::tidy`] last looked.
    needed: bool,
}

impl Shelf {
    /// The slot of the page that begins at `start`, empty where none is there yet or it does not serve this place any
    /// more: the log goes on beyond what was its end. None where that page is too small to reach this place.
    pub fn slot(&self, start: Position, place: Position) -> Option<Slot> {
        let mut kept = self.0.lock();
        let stops = |page: &&Kept| page.slot.get().is_some_and(|page| page.stops_before(place));
        if kept.iter().find(|page| page.start == start).is_some_and(|page| stops(&page)) {
            return None;
        }
        let serves = |slot: &Slot| slot.get().is_none_or(|page| page.serves(place));
        let found = kept.iter().position(|page| page.start == start && serves(&page.slot));
        let slot = found.map(|at| kept.remove(at).slot).unwrap_or_default();
        kept.retain(|page| page.start != start);
        if kept.len() >= PAGES {
            kept.remove(0);
        }
        kept.push(Kept { start, slot: slot.clone(), needed: true });
        Some(slot)
    }

    /// Lets go of all pages: what they hold may have been purged.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Lets go of the pages that nobody has needed since this was last called.
    pub fn tidy(&self) {
        self.0.lock().retain_mut(|page| std::mem::take(&mut page.needed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: Position, through: Position) -> Arc<Page> {
        let (removed, head, purges, stride, entries) = (0, through, 0, 1, Vec::new());
        Arc::new(Page {
            epoch: 1,
            after,
            through,
            removed,
            head,
            purges,
            stride,
            entries,
            counted: Counted::page(),
        })
    }

    fn slot(shelf: &Shelf, start: Position, place: Position) -> Slot {
        shelf.slot(start, place).expect("a page that may reach this place")
    }

    /// A thousand readers of large events each read the same page again, which could not reach them.
    #[test]
    fn a_page_that_ended_early_is_not_read_again_for_who_is_beyond_it() {
        let shelf = Shelf::default();
        let mut short = Arc::into_inner(page(0, 3)).expect("nobody else has it");
        short.head = 100;
        slot(&shelf, 0, 1).set(Arc::new(short)).expect("it is empty");
        assert!(shelf.slot(0, 2).is_some() && shelf.slot(0, 3).is_none() && shelf.slot(0, 7).is_none());
        assert!(shelf.slot(7, 7).is_some(), "their own page is shared by all who are there");
    }

    #[test]
    fn all_who_need_a_page_share_its_slot() {
        let shelf = Shelf::default();
        let first = slot(&shelf, 0, 5);
        assert!(Arc::ptr_eq(&first, &slot(&shelf, 0, 7)), "while it is being read it is everybody's");
        first.set(page(0, 10)).expect("it is empty");
        assert!(Arc::ptr_eq(&first, &slot(&shelf, 0, 9)));
        assert!(!Arc::ptr_eq(&first, &slot(&shelf, 0, 10)), "the log has gone on since");
    }

    #[test]
    fn the_page_not_needed_for_longest_leaves() {
        let shelf = Shelf::default();
        let first = slot(&shelf, 0, 0);
        first.set(page(0, 10)).expect("it is empty");
        (1..PAGES as Position).for_each(|n| drop(slot(&shelf, n * 100, n * 100)));
        assert!(Arc::ptr_eq(&first, &slot(&shelf, 0, 0)));
        drop(slot(&shelf, 9_000, 9_000));
        assert!(Arc::ptr_eq(&first, &slot(&shelf, 0, 0)), "it was needed a moment ago");
        (1..=PAGES as Position).for_each(|n| drop(slot(&shelf, n * 100, n * 100)));
        assert!(!Arc::ptr_eq(&first, &slot(&shelf, 0, 0)));
    }

    #[test]
    fn pages_that_nobody_needs_any_more_leave() {
        let shelf = Shelf::default();
        let first = slot(&shelf, 0, 0);
        shelf.tidy();
        assert!(Arc::ptr_eq(&first, &slot(&shelf, 0, 0)));
        (0..2).for_each(|_| shelf.tidy());
        assert!(!Arc::ptr_eq(&first, &slot(&shelf, 0, 0)));
    }
}
