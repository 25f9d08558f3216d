//! One connection, from the first byte to the last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::guard::SocketGuard;
use super::head::HeadWatch;
use super::last_word;
use super::progress::{Progress, Unread};
use super::seats::Seat;
use crate::app::ApiSettings;
use crate::live::Handover;

/// The most bytes a request's head may have. The number of its fields is bounded by the library, at 100: as many as it
/// can read without asking for memory.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How much longer a socket waits than what is above it, so that a WebSocket can still say why it is closed.
const CLOSING: Duration = Duration::from_secs(5);
/// How many bytes the system may hold for a peer that has not taken them yet; Linux doubles it. Left to itself it holds
/// megabytes for each slow reader, and says that the socket has room again only once a third of them is taken: a reader
/// that takes a little all the time would look as if it took nothing.
const SEND_BUFFER: usize = 64 << 10;

/// What a connection is below HTTP: whoever upgrades one finds this.
pub(crate) type Below = TokioIo<SocketGuard<Seat>>;

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Without taking a single byte of what is written to it.
    pub(super) stalled: Duration,
    /// For a request's head; and how far its body may fall behind.
    pub(super) request: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

impl Patience {
    pub(super) fn of(settings: &ApiSettings) -> Self {
        Self { stalled: settings.stalled + CLOSING, request: settings.request, idle: settings.idle }
    }
}

/// An accepted connection.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) seat: Seat,
    pub(super) patience: Patience,
}

impl Connection {
    /// Serves it to its end. A stream that takes the socket over becomes one of the tasks.
    pub(super) async fn serve(self, router: Router, shutdown: CancellationToken, tasks: TaskTracker) {
        let Self { socket, peer, seat, patience } = self;
        // Small frames go out at once; without it they wait for the peer's acknowledgement of the one before. A socket
        // that refuses this is closed already, which the first read tells.
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
        let (handover, heads) = (Handover::default(), HeadWatch::new());
        let guard = SocketGuard::new(socket, patience, seat, handover.clone(), heads.clone());
        let offered = handover.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let unread = Unread::default();
            let body = |body| Body::new(Progress::of(body, patience.request, unread.clone()));
            let mut request = request.map(body);
            if let Some(ambiguous) = heads.taken() {
                request.extensions_mut().insert(ambiguous);
            }
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(offered.clone());
            let (answer, heads) = (router.clone().oneshot(request), heads.clone());
            async move {
                let mut answer = answer.await?;
                if unread.is_true() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer.map(|body| Answering { body, heads }))
            }
        });
        let mut connection = http1::Builder::new()
            // The guard has clocks of its own, as this one would count idle time and the head's together.
            .header_read_timeout(None)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(Below::new(guard), service)
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
        })
        .await;
        // Whoever has upgraded the connection has its parts.
        let Some(parts) = connection.into_parts() else { return };
        let ((socket, seat), unread) = (parts.io.into_inner().into_parts(), parts.read_buf);
        match served {
            Ok(takeover) => takeover(socket, seat, &tasks),
            Err(ended) => {
                last_word::say(socket, ended.err(), &unread).await;
                drop(seat);
            }
        }
    }
}

/// The body of an answer, which says when the library has all of it.
struct Answering {
    body: Body,
    heads: HeadWatch,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.heads.answered();
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}
