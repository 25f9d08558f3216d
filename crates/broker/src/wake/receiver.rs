//! The receiving end of the wake bus.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Wake;

/// Takes wakes as they come.
#[derive(Debug)]
pub struct WakeReceiver(broadcast::Receiver<Arc<Wake>>);

impl WakeReceiver {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Wake>>) -> Self {
        Self(receiver)
    }

    /// Waits for the next wake; `None` once the bus is gone. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Arc<Wake>> {
        loop {
            match self.0.recv().await {
                Ok(wake) => return Some(wake),
                Err(RecvError::Lagged(lost)) => {
                    metrics::counter!("nuncio_wakes_dropped_total", "where" => "receive").increment(lost);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
