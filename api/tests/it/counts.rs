//! What a node counts, read as an operator would.

use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// The counters of this thread. A test runs on one thread with its node, and so counts for itself alone.
pub(crate) struct Counts(PrometheusRecorder);

impl Counts {
    pub(crate) fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }

    /// Counts from now on; before the node is started.
    pub(crate) fn begin(&self) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.0)
    }

    /// The value of a counter or gauge, all labels together; 0 where nothing was counted.
    pub(crate) fn of(&self, name: &str) -> i64 {
        let text = self.0.handle().render();
        let of_this = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let values = text.lines().filter(of_this).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<f64>().expect("a number") as i64).sum()
    }
}
