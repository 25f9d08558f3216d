//! The task of one project: a session after another, so that no project waits for another's troubles.

use std::time::Duration;

use nuncio_broker::reconnect_delays;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::session::{Ended, Session};

/// A session that lasted this long was a good one: the next fault is a new one, not more of the last.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// Serves a project until told to stop, or until it is deleted.
pub(crate) async fn run(session: Session, stop: CancellationToken) {
    let mut delays = reconnect_delays();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let ended = match session.run(&stop).await {
            Ok(()) | Err(Ended::Gone) => return,
            Err(ended) => ended,
        };
        if began.elapsed() > GOOD_SESSION {
            delays = reconnect_delays();
        }
        let delay = match &ended {
            // It leaves the queue when it has come often enough; what is behind it should not wait for that.
            Ended::Slowed => Duration::ZERO,
            Ended::Broker(error) if error.is_unreadable() => Duration::from_millis(20),
            _ => delays.next().unwrap_or_default(),
        };
        let project = session.committer.project.0;
        tracing::warn!(
            error = &ended as &dyn std::error::Error,
            project,
            ?delay,
            "a session with RabbitMQ ended"
        );
        metrics::counter!("nuncio_ingest_sessions_lost_total").increment(1);
        stop.run_until_cancelled(tokio::time::sleep(delay)).await;
    }
}
