//! GraphQL over WebSocket: the subprotocol `graphql-transport-ws`, and the legacy `graphql-ws`.
//!
//! [`dialect`] tells the two apart; [`protocol`] decides what a message means, without sockets; [`wire`] reads and writes
//! frames; [`connection`] joins them with the operations that run.

mod bounds;
mod close;
mod confirm;
mod connection;
mod dialect;
mod inbound;
mod message;
mod out;
mod patience;
mod protocol;
mod tap;
mod upgrade;
mod wire;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use nuncio_model::Identity;

use super::http::Endpoint;
use super::operations::Outlet;
use crate::address::ClientAddress;
use crate::connections::Client;
use crate::cors::Origin;
use connection::{Connection, Opening};
use upgrade::Upgraded;
use wire::{End, Wire};

pub use close::CloseReason;
pub(crate) use upgrade::is_upgrade;

/// How long a client for which there is no room has to take that word, and how much it may say meanwhile.
const FAREWELL: Duration = Duration::from_secs(5);
const MAX_FAREWELL_BYTES: usize = 1 << 10;

/// The most bytes of a message before `connection_ack`. Credentials have 8 KiB at most, and what a stranger can have a
/// node keep should be little.
const MAX_GREETING_BYTES: usize = 64 << 10;

/// Limits and times of WebSockets.
#[derive(Clone, Debug)]
pub struct SocketSettings {
    /// How long a client has to send `connection_init`.
    pub init_timeout: Duration,
    /// How often the server pings.
    pub ping_every: Duration,
    /// How many operations may run on a connection at a time.
    pub max_operations: usize,
    /// The most bytes of a message from a client.
    pub max_message_bytes: usize,
    /// Whether the legacy subprotocol `graphql-ws` is spoken.
    pub legacy: bool,
    /// Over how long connections are closed when the node stops, so that not all come back at once.
    pub drain_spread: Duration,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            init_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(25),
            max_operations: 1_000,
            max_message_bytes: 1 << 20,
            legacy: true,
            drain_spread: Duration::from_secs(5),
        }
    }
}

/// Numbers the connections of a node.
#[derive(Debug, Default)]
pub(super) struct Connections(AtomicU64);

impl Connections {
    /// A share of `spread` for the next connection: even over all connections, without chance.
    fn share_of(&self, spread: Duration) -> Duration {
        // The golden ratio's fraction spreads any run of numbers evenly (Knuth, volume 3, section 6.4).
        let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        spread.mul_f64((number >> 32) as f64 / f64::from(u32::MAX))
    }
}

/// Accepts the handshake and serves the socket in a task of its own.
pub(super) fn open(
    mut endpoint: Endpoint,
    connections: &Connections,
    by_header: Option<Arc<Identity>>,
    mut request: Request,
) -> Response {
    endpoint.visitor = endpoint.visitor.connected(&endpoint.app);
    let app = &endpoint.app;
    let settings = app.settings.sockets.clone();
    let handshake = match upgrade::accept(&mut request, settings.legacy) {
        Ok(handshake) => handshake,
        Err(error) => {
            let mut response = error.into_response();
            // What is understood (RFC 6455, section 4.4).
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return response;
        }
    };
    let stalled = app.settings.stalled;
    let goaway_after = connections.share_of(settings.drain_spread);
    let (address, origin) = (ClientAddress::of(request.extensions()), Origin::of(request.headers()));
    let client = Some(Box::new(Client::of(request.headers(), request.extensions())));
    let opening = Opening { by_header, address, client, origin, goaway_after };
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        let Some(upgraded) = upgrade::take_over(handshake.connection).await else { return };
        let Upgraded { socket, seat: _seat, early } = upgraded;
        let greeting = settings.max_message_bytes.min(MAX_GREETING_BYTES);
        let mut wire = Wire::new(socket, &early, greeting, stalled);
        let end = match handshake.dialect {
            Some(dialect) => {
                let mut connection = Connection::new(endpoint, opening, dialect);
                let served = AssertUnwindSafe(poll_fn(|context| connection.poll(&mut wire, context)));
                served.catch_unwind().await.unwrap_or(End::Close(CloseReason::Defect))
            }
            None => End::Close(CloseReason::UnknownSubprotocol),
        };
        if let End::Close(reason) = end {
            if handshake.dialect.is_some_and(|dialect| dialect.explains(reason)) {
                wire.push(&[&message::connection_error(reason)]);
            }
            count_close(reason);
            // Apart, so that it takes no memory before.
            Box::pin(wire.close(reason)).await;
        }
    });
    handshake.response
}

/// Accepts the handshake only to say that there is no room: a refusal of the handshake itself tells a client nothing,
/// and a browser's WebSocket not even that there was one.
pub(crate) fn turn_away(mut request: Request) -> Response {
    let handshake = match upgrade::accept(&mut request, true) {
        Ok(handshake) => handshake,
        Err(error) => return error.into_response(),
    };
    tokio::spawn(async move {
        let Some(upgraded) = upgrade::take_over(handshake.connection).await else { return };
        let Upgraded { socket, seat: _seat, early } = upgraded;
        let wire = Wire::new(socket, &early, MAX_FAREWELL_BYTES, FAREWELL);
        count_close(CloseReason::Overloaded);
        wire.close(CloseReason::Overloaded).await;
    });
    handshake.response
}

fn count_close(reason: CloseReason) {
    let code = reason.code().to_string();
    metrics::counter!("nuncio_websocket_closes_total", "code" => code).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_close_spread_over_the_time_given() {
        let connections = Connections::default();
        let spread = Duration::from_secs(10);
        let mut shares: Vec<_> = (0..1_000).map(|_| connections.share_of(spread)).collect();
        shares.sort();
        assert!(shares.iter().all(|share| *share <= spread));
        let largest_gap = shares.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(largest_gap < Some(Duration::from_millis(50)), "{largest_gap:?}");
    }
}
