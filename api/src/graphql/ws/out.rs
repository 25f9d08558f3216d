//! What is to be written to a socket: frames of ours and of the WebSocket library, one after the other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The first byte of a text frame that is a whole message (RFC 6455, section 5.2).
const WHOLE_TEXT: u8 = 0x81;

/// Bytes that wait for the peer to take them.
///
/// It is memory only while there are any: an idle connection has no buffer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them the peer has taken.
    taken: usize,
}

impl Outgoing {
    /// Appends one text message made of the parts; together they are UTF-8.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum();
        self.bytes.reserve(10 + length);
        self.bytes.push(WHOLE_TEXT);
        // A server masks nothing, so that the second byte is the length alone (RFC 6455, sections 5.1 and 5.2).
        match length {
            0..126 => self.bytes.push(length as u8),
            126..=0xFFFF => {
                self.bytes.push(126);
                self.bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(127);
                self.bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    /// Appends bytes that are frames already.
    pub(super) fn append(&mut self, frames: &[u8]) {
        self.bytes.extend_from_slice(frames);
    }

    /// How many bytes wait.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Has the peer take at least one byte of what waits, in one write of all of it.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let taken = ready!(Pin::new(stream).poll_write(context, &self.bytes[self.taken..]))?;
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(taken);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, taken: usize) {
        self.taken += taken;
        if self.pending() == 0 {
            *self = Self::default();
        } else if self.taken > self.pending() {
            // What is moved is less than what was taken: in all, no byte is moved more than once on average, and a
            // reader that never takes everything does not make the buffer grow.
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Notes the length of each write, and takes all of it.
    #[derive(Default)]
    struct Writes(Vec<usize>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn all_that_waits_is_one_write() {
        let (mut out, mut writes) = (Outgoing::default(), Writes::default());
        (0..1_000).for_each(|_| out.push(&[b"[", b"x", b"]"]));
        out.append(b"\x8A\0");
        let written = out.poll_write(&mut writes, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(written, Poll::Ready(Ok(()))));
        assert_eq!((writes.0, out.pending()), (vec![5_002], 0));
    }

    #[test]
    fn the_header_is_as_short_as_the_length_allows() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (mut out, body) = (Outgoing::default(), vec![b'x'; length]);
            out.push(&[&body[..length / 3], b"", &body[length / 3..]]);
            assert_eq!(out.bytes[..header.len()], *header);
            assert_eq!(out.bytes[header.len()..], body);
        }
    }

    #[test]
    fn what_was_taken_is_given_back_even_if_something_always_waits() {
        let mut out = Outgoing::default();
        for _ in 0..10_000 {
            out.append(&[7; 1_000]);
            out.advance(if out.pending() > 2_500 { 1_000 } else { 1 });
        }
        assert!(out.pending() > 1_000 && out.bytes.capacity() < 16_000, "{}", out.bytes.capacity());
        out.advance(out.pending());
        assert_eq!((out.pending(), out.bytes.capacity()), (0, 0));
    }
}

#[cfg(test)]
mod hot {
    use super::*;
    use crate::hot::repeat;

    /// As often as it takes to fill a socket's share, and then all is taken.
    #[test]
    fn frame() {
        let mut out = Outgoing::default();
        repeat(|n| {
            out.push(&[br#"{"type":"next","id":"1","payload":"#, &[b'x'; 300], b"}"]);
            if n % 16 == 0 {
                out.advance(out.pending());
            }
        });
    }
}
