//! The accept loop: what a stranger can do to a connection before anything knows who it is.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::app::ApiSettings;
use crate::live::Handover;
use crate::stall::StallGuard;

/// How long a client may take to send a request's head; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes a request's head may have.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How much longer a socket waits than what is above it, so that a WebSocket can still say why it is closed.
const CLOSING: Duration = Duration::from_secs(5);
/// How many bytes the system may hold for a peer that has not taken them yet; Linux doubles it. Left to itself it holds
/// megabytes for each slow reader, and says that the socket has room again only once a third of them is taken: a reader
/// that takes a little all the time would look as if it took nothing.
const SEND_BUFFER: usize = 64 << 10;
/// How long to pause when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the router until `shutdown`, then takes no more connections and waits for those there are.
///
/// HTTP/1.1 only, with upgrades. It ends when the last request has: streams must end by themselves when the node is to
/// stop, and the deadline for all this is the caller's.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &ApiSettings,
    shutdown: CancellationToken,
) {
    let seats = Seats::new(settings);
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, peer)) => match seats.take(peer.ip()) {
                Some(seat) => {
                    let socket = Socket { socket, peer, seat };
                    let patience = settings.stalled + CLOSING;
                    let tasks = connections.clone();
                    connections.spawn(socket.serve(router.clone(), patience, shutdown.clone(), tasks));
                }
                None => metrics::counter!("nuncio_connections_refused_total").increment(1),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// What a connection is below HTTP: whoever upgrades one finds this.
pub(crate) type Below = TokioIo<StallGuard<Seat>>;

/// An accepted connection.
struct Socket {
    socket: TcpStream,
    peer: SocketAddr,
    seat: Seat,
}

impl Socket {
    async fn serve(self, router: Router, stalled: Duration, shutdown: CancellationToken, tasks: TaskTracker) {
        let Self { socket, peer, seat } = self;
        // Small frames go out at once; without it they wait for the peer's acknowledgement of the one before. A socket
        // that refuses this is closed already, which the first read tells.
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
        let handover = Handover::default();
        let offered = handover.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(offered.clone());
            router.clone().oneshot(request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(Below::new(StallGuard::new(socket, stalled, seat, handover.clone())), service)
            .with_upgrades();
        let mut draining = false;
        let mut shutdown = pin!(shutdown.cancelled());
        let served = poll_fn(|context| {
            if !draining && shutdown.as_mut().poll(context).is_ready() {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            match (Pin::new(&mut connection).poll(context), handover.take()) {
                (Poll::Ready(ended), _) => Poll::Ready(Err(ended)),
                (Poll::Pending, Some(takeover)) => Poll::Ready(Ok(takeover)),
                (Poll::Pending, None) => Poll::Pending,
            }
        });
        match served.await {
            Ok(takeover) => {
                let Some(parts) = connection.into_parts() else { return };
                let (socket, seat) = parts.io.into_inner().into_parts();
                takeover(socket, seat, &tasks);
            }
            // A connection that breaks is ordinary; whoever was served by it has noticed.
            Err(Err(error)) => tracing::debug!(%error, "a connection broke"),
            Err(Ok(())) => {}
        }
    }
}

/// How many connections there are, by address.
struct Seats(Arc<Taken>);

struct Taken {
    per_address: usize,
    in_all: usize,
    now: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// One connection's place; free again when it is dropped.
pub(crate) struct Seat {
    taken: Arc<Taken>,
    address: IpAddr,
}

impl Seats {
    fn new(settings: &ApiSettings) -> Self {
        let (per_address, in_all) = (settings.connections_per_address, settings.connections);
        Self(Arc::new(Taken { per_address, in_all, now: Mutex::default() }))
    }

    /// A place for one more connection, unless all are taken or this address has its share.
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let address = network_of(address);
        let mut now = self.0.now.lock();
        let (all, by_address) = &mut *now;
        if *all >= self.0.in_all || by_address.get(&address).is_some_and(|mine| *mine >= self.0.per_address) {
            return None;
        }
        *all += 1;
        *by_address.entry(address).or_default() += 1;
        Some(Seat { taken: self.0.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut now = self.taken.now.lock();
        let (all, by_address) = &mut *now;
        *all -= 1;
        if let Some(mine) = by_address.get_mut(&self.address) {
            *mine -= 1;
            if *mine == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// One subscriber of IPv6 has a whole /64: its addresses count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let settings = ApiSettings { connections_per_address: 2, connections: 3, ..ApiSettings::default() };
        let seats = Seats::new(&settings);
        let take = |text: &str| seats.take(text.parse().expect("an address"));
        let first = take("2001:db8::1");
        let _second = take("2001:db8::2");
        assert!(first.is_some() && take("2001:db8::3").is_none());
        let _third = take("::ffff:10.0.0.1");
        assert!(take("10.0.0.2").is_none());
        drop(first);
        let _fourth = take("10.0.0.1");
        assert!(_fourth.is_some() && seats.0.now.lock().1.len() == 2);
    }
}
