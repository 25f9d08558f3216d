//! What one subscriber has heard, and whether that is every event once and in order.
//!
//! A run in which anything is wrong here is no result: a server that drops events is easily fast.

use std::fmt;

/// The place in the events up to which a subscriber has heard everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// The number that has to come next; none before the first, as a live subscriber begins wherever it joins.
    next: Option<u32>,
}

/// An event that should not have come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    expected: u32,
    heard: u32,
}

impl History {
    /// Takes the next event's number.
    pub(super) fn hear(&mut self, number: u32) -> Result<(), Wrong> {
        match self.next {
            Some(expected) if expected != number => Err(Wrong { expected, heard: number }),
            _ => {
                self.next = Some(number + 1);
                Ok(())
            }
        }
    }

    /// Whether anything has come.
    pub(super) fn has_begun(self) -> bool {
        self.next.is_some()
    }

    /// Whether everything below this number has come.
    pub(super) fn has_reached(self, number: u32) -> bool {
        self.next.is_some_and(|next| next >= number)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, heard } = self;
        let what = if heard > expected { "missing, or out of order" } else { "doubled, or out of order" };
        write!(formatter, "{what}: event {heard} came where {expected} was due")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear_all(numbers: &[u32]) -> Result<(), Wrong> {
        let mut history = History::default();
        numbers.iter().try_for_each(|number| history.hear(*number))
    }

    #[test]
    fn a_whole_history_passes_wherever_it_begins() {
        assert_eq!(hear_all(&[0, 1, 2, 3]), Ok(()));
        assert_eq!(hear_all(&[7, 8, 9]), Ok(()));
    }

    #[test]
    fn a_wrong_history_fails() {
        assert_eq!(hear_all(&[0, 1, 3]), Err(Wrong { expected: 2, heard: 3 }), "missing");
        assert_eq!(hear_all(&[0, 1, 1, 2]), Err(Wrong { expected: 2, heard: 1 }), "doubled");
        assert_eq!(hear_all(&[0, 2, 1, 3]), Err(Wrong { expected: 1, heard: 2 }), "swapped");
        assert_eq!(hear_all(&[4, 0]), Err(Wrong { expected: 5, heard: 0 }), "begun again");
    }

    #[test]
    fn the_last_events_are_missed_too() {
        let mut history = History::default();
        assert!(!history.has_begun() && !history.has_reached(0));
        for number in 0..9 {
            assert_eq!(history.hear(number), Ok(()));
        }
        assert!(history.has_reached(9) && !history.has_reached(10));
    }
}
