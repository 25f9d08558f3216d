//! The budget of one evaluation.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// What one evaluation may spend, in steps of about 50 ns.
pub(super) const BUDGET: u32 = 16_000;
/// The bytes of text that are compared, copied or skipped in the time of a step.
const BYTES_PER_STEP: u32 = 64;

/// Counts what an evaluation spends. Atomic only because values of CEL have to be `Sync`.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU32,
    spent: AtomicBool,
    /// What one turn of a loop costs.
    turn: AtomicU32,
}

impl Meter {
    /// A full budget for an expression whose loops have so many nodes.
    pub(super) fn new(turn: u32) -> Self {
        Self { left: AtomicU32::new(BUDGET), spent: AtomicBool::new(false), turn: AtomicU32::new(turn) }
    }

    /// Takes steps from the budget; false where there are not as many left.
    pub(super) fn charge(&self, steps: u32) -> bool {
        let left = self.left.load(Relaxed).checked_sub(steps);
        self.left.store(left.unwrap_or(0), Relaxed);
        if left.is_none() {
            self.spent.store(true, Relaxed);
        }
        left.is_some()
    }

    /// Takes what a text of so many bytes costs each time that it is looked at.
    pub(super) fn charge_text(&self, bytes: usize, times: u32) -> bool {
        self.charge(steps_of(bytes).saturating_mul(times))
    }

    /// Takes what one turn of a loop costs.
    pub(super) fn charge_turn(&self) -> bool {
        self.charge(self.turn.load(Relaxed))
    }

    /// From here on a loop may look at texts of so many bytes, so often in each turn.
    pub(super) fn weigh_turn(&self, bytes: usize, times: u32) {
        let turn = self.turn.load(Relaxed);
        self.turn.store(turn.saturating_add(steps_of(bytes).saturating_mul(times)), Relaxed);
    }

    /// Whether more was asked for than there was.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.load(Relaxed)
    }
}

fn steps_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX) / BYTES_PER_STEP
}
