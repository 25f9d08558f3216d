//! The private servers and the test kit, tried on what is installed here.

mod parent;
mod postgres;
mod proxy;
mod rabbit;
mod testkit;

use std::time::Duration;

/// Waits until something holds, for at most half a minute.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "in vain: {what}");
}

/// Whether something listens at `host:port`.
async fn listens(address: &str) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}
