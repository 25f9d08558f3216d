//! How a stream leaves HTTP behind: when its head and first bytes are out, it has the socket to itself.
//!
//! What HTTP keeps for a connection (the buffer that requests are read into, the body in the wrappers of all layers)
//! would take most of the memory of a quiet stream, and most of the time of a busy one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::server::Seat;

/// Goes on with the socket alone, in a task of its own among these.
pub(crate) type Takeover = Box<dyn FnOnce(TcpStream, Seat, &TaskTracker) + Send>;

/// Where a connection is asked to hand its socket over. Each has one, and every request finds it in its extensions.
#[derive(Clone, Default)]
pub(crate) struct Handover(Arc<Mutex<Offer>>);

#[derive(Default)]
struct Offer {
    takeover: Option<Takeover>,
    /// Whether all that was written before is out.
    due: bool,
}

impl Handover {
    /// Told by the socket when all that HTTP wrote has gone out.
    pub(crate) fn flushed(&self) {
        let mut offer = self.0.lock();
        offer.due = offer.takeover.is_some();
    }

    /// Who is to have the socket now.
    pub(crate) fn take(&self) -> Option<Takeover> {
        let mut offer = self.0.lock();
        if offer.due { offer.takeover.take() } else { None }
    }

    fn ask(&self, takeover: Takeover) {
        self.0.lock().takeover = Some(takeover);
    }
}

/// The body of the answer that opens a stream: the first bytes, and then nothing more by way of HTTP.
///
/// The socket is asked for when the body is asked for more: whoever sent HEAD is answered without.
pub(super) struct Opening {
    hello: Option<Bytes>,
    takeover: Option<(Handover, Takeover)>,
}

impl Opening {
    pub(super) fn new(hello: Bytes, handover: Handover, takeover: Takeover) -> Self {
        Self { hello: Some(hello), takeover: Some((handover, takeover)) }
    }
}

impl Body for Opening {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Ok(Frame::data(hello))));
        }
        if let Some((handover, takeover)) = self.takeover.take() {
            handover.ask(takeover);
        }
        Poll::Pending
    }
}
