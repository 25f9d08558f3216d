//! What comes from the broker, looked through before the AMQP library parses it.
//!
//! A message whose headers are nested too deep goes on without them, and with a mark in their place.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::{DummyIO, RuntimeParts};
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::AsyncTcpStream;

use crate::nesting::{BYTES_PER_LEVEL, HEADERS, MAX_HEADER_NESTING, is_too_deep};

/// The header that stands in the place of those that were nested too deep.
pub(crate) const MARK: &str = "x-nuncio-headers-too-deep";

/// The type, channel and size before a frame's payload.
const FRAME_HEAD: usize = 7;
/// The type of the frame that holds a message's properties.
const CONTENT_HEADER: u8 = 2;
/// The class, weight and size of the body, which stand before the properties.
const BEFORE_PROPERTIES: usize = 12;
/// A payload of so many bytes cannot be nested too deep.
const SURELY_FLAT: usize = MAX_HEADER_NESTING * BYTES_PER_LEVEL;
/// The largest payload that is looked through. RabbitMQ's frames have 128 KiB, unless its administrator wants larger ones.
const MOST_HELD: usize = 16 << 20;
/// How much is read at a time while a frame is held.
const CHUNK: usize = 8 << 10;

/// The AMQP library's runtime: tokio's, with connections that are looked through.
pub(crate) type GuardedRuntime = Runtime<RuntimeParts<Tokio, GuardedTokio>>;

/// A connection to the broker, whether by TLS or not.
pub(crate) type Socket = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// A runtime of the current tokio's.
pub(crate) fn runtime() -> GuardedRuntime {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), GuardedTokio(tokio)))
}

/// tokio's reactor, but for the type of its connections.
#[derive(Clone, Debug)]
pub(crate) struct GuardedTokio(Tokio);

impl Reactor for GuardedTokio {
    type TcpStream = Guarded<Socket>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// For sockets that were made elsewhere. The AMQP library asks for none, and the trait's own bound on them has no
    /// public name, so that they could not be passed on.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Guarded::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// A stream of AMQP frames of which each content header is looked at.
pub(crate) struct Guarded<S> {
    inner: S,
    /// What is left of a frame that goes through as it is.
    passing: usize,
    /// What has come and was not decided on: the beginning of a frame.
    held: Vec<u8>,
    /// What was decided on and not taken yet.
    cleared: Vec<u8>,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, passing: 0, held: Vec::new(), cleared: Vec::new() }
    }

    /// How many of these bytes go through as they are: up to a content header that may be too deep, or to the middle of
    /// a frame's head.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let passed = self.passing.min(bytes.len() - at);
            self.passing -= passed;
            at += passed;
            match size_of(&bytes[at..]) {
                Some(size) if !is_suspect(&bytes[at..], size) => self.passing = FRAME_HEAD + size + 1,
                _ => return at,
            }
        }
    }

    /// Clears what is held, as far as can be decided.
    fn decide(&mut self) -> io::Result<()> {
        loop {
            let held = std::mem::take(&mut self.held);
            let passed = self.pass(&held);
            self.cleared.extend_from_slice(&held[..passed]);
            self.held = held[passed..].to_vec();
            let Some(size) = size_of(&self.held) else { return Ok(()) };
            if size > MOST_HELD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of the broker is too large"));
            }
            let whole = FRAME_HEAD + size + 1;
            if self.held.len() < whole {
                return Ok(());
            }
            let rest = self.held.split_off(whole);
            let frame = std::mem::replace(&mut self.held, rest);
            self.cleared.extend(without_deep_headers(frame));
        }
    }

    fn give(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.cleared.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.cleared[..count]);
        self.cleared.drain(..count);
        count
    }
}

/// The size of the payload of the frame that begins here; none while its head is not there.
fn size_of(frame: &[u8]) -> Option<usize> {
    let size = frame.get(3..FRAME_HEAD)?;
    u32::from_be_bytes(size.try_into().ok()?).try_into().ok()
}

fn is_suspect(frame: &[u8], size: usize) -> bool {
    frame[0] == CONTENT_HEADER && size > SURELY_FLAT
}

/// The frame as it is; or with the mark alone where its headers are too deep.
fn without_deep_headers(frame: Vec<u8>) -> Vec<u8> {
    let payload = &frame[FRAME_HEAD..frame.len() - 1];
    let Some((before, properties)) = payload.split_at_checked(BEFORE_PROPERTIES) else { return frame };
    if !is_too_deep(properties) {
        return frame;
    }
    let name = u8::try_from(MARK.len()).expect("a short name");
    let entry = [&[name], MARK.as_bytes(), b"t\x01"].concat();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a small table").to_be_bytes();
    let payload = [before, &HEADERS.to_be_bytes(), &length(&entry), &entry].concat();
    [&frame[..3], &length(&payload), &payload, &frame[frame.len() - 1..]].concat()
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            if !this.cleared.is_empty() {
                return Poll::Ready(Ok(this.give(buf)));
            }
            if this.held.is_empty() {
                let count = ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                let passed = this.pass(&buf[..count]);
                this.held.extend_from_slice(&buf[passed..count]);
                this.decide()?;
                if passed > 0 || count == 0 {
                    return Poll::Ready(Ok(passed));
                }
            } else {
                let mut chunk = [0; CHUNK];
                let count = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
                if count == 0 {
                    // A frame that was cut off; the library has its own word for that.
                    return Poll::Ready(Ok(0));
                }
                this.held.extend_from_slice(&chunk[..count]);
                this.decide()?;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::io::{AllowStdIo, AsyncReadExt};

    use super::*;
    use crate::nesting::tests::nested;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, &[0xce]].concat()
    }

    fn content(properties: &[u8]) -> Vec<u8> {
        frame(CONTENT_HEADER, &[&[0, 60, 0, 0], &7_u64.to_be_bytes()[..], properties].concat())
    }

    /// Gives out so many bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            Read::read(&mut self.0, &mut buffer[..most])
        }
    }

    async fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut guarded = Guarded::new(AllowStdIo::new(Pieces(bytes, piece)));
        let mut out = Vec::new();
        guarded.read_to_end(&mut out).await.expect("no fault");
        out
    }

    #[tokio::test]
    async fn only_what_is_too_deep_loses_its_headers_however_the_bytes_come() {
        let large = content(
            &[&HEADERS.to_be_bytes()[..], b"\0\0\x03\x0b\x03bigS\0\0\x03\x02", &[b'x'; 770]].concat(),
        );
        let others = [
            frame(1, b"a method"),
            content(&nested(2, b'F')),
            content(&nested(128, b'F')),
            large,
            frame(3, &[2; 5_000]),
            frame(8, b""),
        ];
        let deep = content(&nested(20_000, b'A'));
        let mut marked = b"\0\x3c\0\0\0\0\0\0\0\0\0\x07\x20\0\0\0\0\x1c\x19".to_vec();
        marked.extend_from_slice(MARK.as_bytes());
        marked.extend_from_slice(b"t\x01");
        let (sent, wanted) = (
            [others.concat(), deep.clone(), others.concat(), deep].concat(),
            [others.concat(), frame(2, &marked), others.concat(), frame(2, &marked)].concat(),
        );
        for piece in [1, 3, 7, 1_000, 8_192, 100_000, usize::MAX] {
            assert_eq!(through(&sent, piece).await, wanted, "{piece}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_off_ends_the_stream() {
        let deep = content(&nested(300, b'F'));
        assert_eq!(through(&deep[..deep.len() - 1], 100).await, b"");
        assert_eq!(through(b"\x01\0\0", 100).await, b"");
    }
}
