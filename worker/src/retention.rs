//! Retention: what has had its time is removed, and partitions are made before they are needed.

use std::time::Duration;

use nuncio_store::Store;

const SWEEP_EVERY: Duration = Duration::from_secs(10);
const RESERVATIONS_EVERY: Duration = Duration::from_secs(30);
const PARTITIONS_EVERY: Duration = Duration::from_secs(3_600);
const RESUMES_EVERY: Duration = Duration::from_secs(600);
const ANSWERS_EVERY: Duration = Duration::from_secs(600);
const AUDIT_EVERY: Duration = Duration::from_secs(3_600);

/// Sweeps until it is dropped. A failure is logged, and the next sweep takes up what was left; several workers may do
/// this at once.
pub(crate) async fn run(store: Store, audit_days: u32) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut partitions = tokio::time::interval(PARTITIONS_EVERY);
    let mut resumes = tokio::time::interval(RESUMES_EVERY);
    let mut answers = tokio::time::interval(ANSWERS_EVERY);
    let mut audit = tokio::time::interval(AUDIT_EVERY);
    let mut reservations = tokio::time::interval(RESERVATIONS_EVERY);
    loop {
        let (work, done) = tokio::select! {
            _ = partitions.tick() => ("make partitions", store.maintain_partitions().await),
            _ = resumes.tick() => ("forget old resume ids", store.forget_resumes().await),
            _ = answers.tick() => ("forget old answers", store.sweep_answers().await),
            _ = audit.tick(), if audit_days > 0 => {
                ("shorten the audit log", store.sweep_audit_log(audit_days).await)
            }
            _ = reservations.tick() => ("forget streams that nobody holds", store.sweep_reservations().await),
            _ = sweep.tick() => ("sweep what has had its time", store.sweep_retention().await),
        };
        if let Err(error) = done {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not {work}; trying again later");
        }
    }
}
