//! The broker crate against a real RabbitMQ.

mod messages;
mod topology;
mod wakes;

use std::time::Duration;

/// Waits until something holds, for at most half a minute.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !holds().await {
            look.tick().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "in vain: {what}");
}
