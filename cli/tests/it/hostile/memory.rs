//! How much memory a process takes, as Linux tells it.

use std::fs;

use crate::program::eventually;

/// How much more than at first a node may take at its worst, unless a test says otherwise. One request may have 24 MiB,
/// and allocators keep what was given back for a while.
const PEAK: u64 = 192;
/// How much more than at first it may keep.
const REST: u64 = 96;

/// The memory of a process, in MiB, compared with what it was at first.
pub(crate) struct Memory {
    process: u32,
    first: u64,
    peak: u64,
    rest: u64,
}

impl Memory {
    /// From now on.
    pub(super) fn of(process: u32) -> Self {
        let first = mebibytes(process, "VmRSS:");
        Self { process, first, peak: PEAK, rest: REST }
    }

    /// Lets it take so many MiB more at its worst, and keep so many.
    pub(crate) fn allow(&mut self, peak: u64, rest: u64) {
        (self.peak, self.rest) = (peak, rest);
    }

    /// Checks the worst there has been since the last time, and waits until enough was given back.
    pub(super) async fn is_back(&self, after: &str) {
        let worst = mebibytes(self.process, "VmHWM:").saturating_sub(self.first);
        assert!(worst <= self.peak, "{after} took {worst} MiB");
        let what = format!("the memory to be given back after {after}");
        eventually(&what, async || mebibytes(self.process, "VmRSS:") <= self.first + self.rest).await;
        fs::write(format!("/proc/{}/clear_refs", self.process), "5").expect("the mark is set back");
    }
}

/// A line of `/proc/<process>/status`, which is in KiB.
fn mebibytes(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("every process has it");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes / 1024
}
