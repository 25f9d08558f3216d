//! Tells operators how much is in memory.

use metrics::{Gauge, gauge};

/// Counts one more of something for as long as it is in memory.
pub struct Counted(Gauge);

impl Counted {
    /// A group, in `nuncio_groups`: what an event costs to make ready.
    pub fn group() -> Self {
        Self::new(gauge!("nuncio_groups"))
    }

    /// A page of older events, in `nuncio_pages`: what readers cost who cannot keep up.
    pub fn page() -> Self {
        Self::new(gauge!("nuncio_pages"))
    }

    fn new(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counted")
    }
}
