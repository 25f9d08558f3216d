//! The socket below HTTP: it notices when its peer takes nothing, or does not come to the point, and gives the library's
//! own refusals the form of ours.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::connection::Patience;
use super::head::{Awaited, HeadWatch};
use super::last_word;
use crate::live::Handover;

/// Fails a write that has waited for the whole time without a single byte being taken, and a read that has waited too
/// long for a head.
///
/// A slow reader is never dropped while it takes something; one that takes nothing would keep its memory for good.
///
/// It also holds the connection's seat: an upgraded connection lives on without the task that accepted it.
pub(crate) struct SocketGuard<S> {
    socket: TcpStream,
    seat: S,
    patience: Patience,
    handover: Handover,
    heads: HeadWatch,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Runs while a head is awaited.
    listening: Option<Pin<Box<Sleep>>>,
    /// What is left to write of a refusal.
    refusal: Option<Bytes>,
}

impl<S> SocketGuard<S> {
    pub(super) fn new(
        socket: TcpStream,
        patience: Patience,
        seat: S,
        handover: Handover,
        heads: HeadWatch,
    ) -> Self {
        Self { socket, seat, patience, handover, heads, waiting: None, listening: None, refusal: None }
    }

    /// The socket and its seat, for whoever watches over the socket from now on.
    pub(crate) fn into_parts(self) -> (TcpStream, S) {
        (self.socket, self.seat)
    }

    /// Passes a write's result on, and watches how long one waits.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.patience.stalled)));
        ready!(waiting.as_mut().poll(context));
        metrics::counter!("nuncio_stalled_connections_total").increment(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }

    /// Fails once the next request, or the rest of its head, is overdue.
    fn listen(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let due: Instant = match self.heads.awaited() {
            Awaited::Request(since) => since + self.patience.idle,
            Awaited::Head(since) => since + self.patience.request,
            Awaited::Nothing => {
                self.listening = None;
                return Poll::Pending;
            }
        };
        let listening = self.listening.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if listening.deadline() != due {
            listening.as_mut().reset(due);
        }
        ready!(listening.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")))
    }

    /// Writes our refusal where the library would write its own of so many bytes.
    fn refuse(&mut self, context: &mut Context<'_>, instead_of: usize) -> Poll<io::Result<usize>> {
        while let Some(left) = self.refusal.as_mut().filter(|left| left.has_remaining()) {
            let written = Pin::new(&mut self.socket).poll_write(context, left);
            if let Poll::Ready(Ok(count)) = written {
                left.advance(count);
            }
            ready!(self.watch(context, written))?;
        }
        self.refusal = None;
        Poll::Ready(Ok(instead_of))
    }
}

impl<S: Unpin> AsyncRead for SocketGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Pending => self.listen(cx),
            read => {
                self.heads.saw(&buf.filled()[before..]);
                read
            }
        }
    }
}

impl<S: Unpin> AsyncWrite for SocketGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() {
            self.refusal = last_word::in_our_form(buf);
        }
        if self.refusal.is_some() {
            return self.refuse(cx, buf.len());
        }
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal of the library is a head alone.
        if let [one] = bufs {
            return self.poll_write(cx, one);
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        // HTTP flushes the socket when it has written all that it had.
        self.handover.flushed();
        self.heads.flushed();
        // It need not read again before something comes, so that the clock would not begin to run. If it has run out
        // already, the read that follows its bell tells.
        let _told_by_the_read = self.listen(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
