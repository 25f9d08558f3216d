//! The receiving end of the wake bus.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Wake;

/// Takes wakes as they come.
#[derive(Debug)]
pub struct WakeReceiver(Option<broadcast::Receiver<Arc<Wake>>>);

impl WakeReceiver {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Wake>>) -> Self {
        Self(Some(receiver))
    }

    /// A receiver that nothing ever comes to.
    pub(super) fn silent() -> Self {
        Self(None)
    }

    /// Waits for the next wake; `None` once the bus is gone. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Arc<Wake>> {
        let Some(receiver) = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            match receiver.recv().await {
                Ok(wake) => return Some(wake),
                Err(RecvError::Lagged(lost)) => {
                    metrics::counter!("nuncio_wakes_dropped_total", "where" => "receive").increment(lost);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
