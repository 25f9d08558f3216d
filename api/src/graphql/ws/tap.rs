//! The stream as the WebSocket library sees it for the time of one call: it reads from the socket, and what it writes
//! goes behind what waits already.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::bounds::Bounds;
use super::out::Outgoing;

/// A socket without blocking, for the time of one poll.
pub(super) struct Tap<'a, 'w, S> {
    pub(super) stream: &'a mut S,
    pub(super) context: &'a mut Context<'w>,
    /// Follows what is read.
    pub(super) bounds: &'a mut Bounds,
    /// Takes what is written.
    pub(super) out: &'a mut Outgoing,
}

impl<S: AsyncRead + Unpin> Read for Tap<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut *self.stream).poll_read(self.context, &mut buffer) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) => {
                self.bounds.follow(buffer.filled());
                Ok(buffer.filled().len())
            }
        }
    }
}

impl<S> Write for Tap<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
