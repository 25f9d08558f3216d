//! What is on its way to one reader.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Timing;

/// How many pieces are written at once.
const MOST_PIECES: usize = 64;
/// How many places for pieces are kept while there are none.
const IDLE_PIECES: usize = 4;

/// The pieces that a socket has not taken yet. They are shared with other readers, and never copied.
#[derive(Debug)]
pub(crate) struct Out<S> {
    socket: S,
    pieces: VecDeque<Bytes>,
    /// How many bytes the socket has taken since this was last asked.
    taken: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Out<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, pieces: VecDeque::new(), taken: 0 }
    }

    /// Whether the socket has taken everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes the socket has not taken yet.
    pub(crate) fn pending(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// How many bytes the socket has taken since this was last asked.
    pub(crate) fn taken(&mut self) -> u64 {
        std::mem::take(&mut self.taken)
    }

    /// Puts a piece behind the others.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Writes all there is. A peer may be slow; one that takes nothing at all for as long as `timing` has patience is
    /// left.
    ///
    /// # Errors
    /// Where the peer is gone, or left.
    pub(crate) fn poll_drain(
        &mut self,
        timing: &mut Timing,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            if let Poll::Ready(written) = self.poll_write(context) {
                written?;
                timing.taken();
                continue;
            }
            timing.waits();
            if !timing.is_stalled() {
                return Poll::Pending;
            }
            metrics::counter!("nuncio_stalled_connections_total").increment(1);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Writes as much as the socket takes at once, and tells how much that was. There must be something.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let socket = Pin::new(&mut self.socket);
        let taken = if let [piece] = self.pieces.as_slices().0
            && self.pieces.len() == 1
        {
            ready!(socket.poll_write(context, piece))?
        } else {
            let mut slices = [IoSlice::new(&[]); MOST_PIECES];
            let count = slices
                .iter_mut()
                .zip(&self.pieces)
                .map(|(slice, piece)| *slice = IoSlice::new(piece))
                .count();
            ready!(socket.poll_write_vectored(context, &slices[..count]))?
        };
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(taken);
        Poll::Ready(Ok(taken))
    }

    /// Whether the reader has left. What it sends is dropped: it has nothing to say.
    pub(crate) fn has_left(&mut self, context: &mut Context<'_>) -> bool {
        let mut bytes = [0; 64];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(context, &mut read) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => return true,
            }
        }
    }

    /// Tells the reader that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn advance(&mut self, mut taken: usize) {
        self.taken += taken as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if taken < piece.len() {
                piece.advance(taken);
                return;
            }
            taken -= piece.len();
            self.pieces.pop_front();
        }
        if self.pieces.capacity() > IDLE_PIECES {
            self.pieces = VecDeque::with_capacity(IDLE_PIECES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn pieces_go_out_whole_and_in_order_whatever_the_socket_takes_at_once() {
        let (near, mut far) = duplex(7);
        let mut out = Out::new(near);
        let pieces: Vec<Bytes> = (0..200).map(|n| vec![n as u8; n % 23].into()).collect();
        let expected = pieces.concat();
        pieces.into_iter().for_each(|piece| out.push(piece));
        let write = async {
            while !out.is_empty() {
                poll_fn(|context| out.poll_write(context)).await.expect("it is open");
            }
            assert!(out.pieces.capacity() <= IDLE_PIECES);
        };
        let mut read = vec![0; expected.len()];
        let (_, got) = tokio::join!(write, far.read_exact(&mut read));
        assert!(got.is_ok() && read == expected);
    }

    #[tokio::test]
    async fn what_a_reader_sends_is_dropped_and_its_leaving_is_seen() {
        let (near, mut far) = duplex(1_000);
        let mut out = Out::new(near);
        far.write_all(&[0; 500]).await.expect("it is open");
        assert!(!poll_fn(|context| Poll::Ready(out.has_left(context))).await);
        drop(far);
        assert!(poll_fn(|context| Poll::Ready(out.has_left(context))).await);
    }
}
