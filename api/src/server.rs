//! The accept loop: what a stranger can do to a connection before anything knows who it is.

mod away;
mod connection;
mod guard;
mod head;
mod last_word;
mod progress;
mod seats;

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::ApiSettings;
use away::Away;
use connection::{Connection, Patience};
use seats::Seats;

pub(crate) use connection::Below;
pub(crate) use head::Ambiguous;
pub(crate) use progress::TooSlow;
pub(crate) use seats::{Full, Seat};

/// How long to pause when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the router until `shutdown`, then takes no more connections and waits for those there are.
///
/// HTTP/1.1 only, with upgrades. It ends when the last request has: streams must end by themselves when the node is to
/// stop, and the deadline for all this is the caller's. Whoever connects meanwhile is refused by the system.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &ApiSettings,
    shutdown: CancellationToken,
) {
    let (seats, away) = (Seats::new(settings), Away::new());
    let patience = Patience::of(settings);
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = |seat| Connection { socket, peer, seat, patience };
        match seats.take(peer.ip()) {
            Ok(seat) => {
                let served = connection(seat).serve(router.clone(), shutdown.clone(), connections.clone());
                connections.spawn(served);
            }
            Err(full) => {
                metrics::counter!("nuncio_connections_refused_total").increment(1);
                if let Some((seat, router)) = away.admit(full) {
                    let told = connection(seat).serve(router, shutdown.clone(), connections.clone());
                    connections.spawn(away::briefly(told));
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}
