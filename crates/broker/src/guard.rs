//! What comes from the broker, looked through before the AMQP library parses it.
//!
//! A message whose headers are nested too deep goes on without them, and with a mark in their place. While too much is
//! in hand no further message is let in, and nothing is read; the broker waits then.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::{DummyIO, RuntimeParts};
use async_rs::{Runtime, Tokio};
use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::AsyncTcpStream;

use crate::hold::Hold;
use crate::nesting::{BYTES_PER_LEVEL, HEADERS, MAX_HEADER_NESTING, is_too_deep};

/// The header that stands in the place of those that were nested too deep.
pub(crate) const MARK: &str = "x-nuncio-headers-too-deep";

/// The type, channel and size before a frame's payload.
const FRAME_HEAD: usize = 7;
/// The type of the frame that holds a message's properties.
const CONTENT_HEADER: u8 = 2;
/// The class, weight and size of the body, which stand before the properties.
const BEFORE_PROPERTIES: usize = 12;
/// A frame that says no more than that the other side is there.
const HEARTBEAT: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0xce];
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
        async move { Ok(Guarded::new(AsyncTcpStream::Plain(connecting.await?), Hold::default())) }
    }
}

/// A stream of AMQP frames of which each content header is looked at.
pub(crate) struct Guarded<S> {
    inner: S,
    hold: Hold,
    /// What is left of a frame that goes through as it is.
    passing: usize,
    /// What has come and was not decided on: the beginning of a frame; with all behind it that was read with it, where
    /// it has to wait.
    held: BytesMut,
    /// What was decided on and not taken yet.
    cleared: BytesMut,
    /// Who waits for room, where what is held begins with a message that has to wait.
    paused: Option<Waker>,
    /// Whether the library has written something since it was last told that the broker is there.
    is_asked: bool,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, hold: Hold) -> Self {
        let (held, cleared) = (BytesMut::new(), BytesMut::new());
        Self { inner, hold, passing: 0, held, cleared, paused: None, is_asked: false }
    }

    /// How many of these bytes go through as they are: up to a content header that may be too deep or has to wait, or to
    /// the middle of a frame's head.
    fn pass(&mut self, bytes: &[u8], waker: &Waker) -> usize {
        let mut at = 0;
        loop {
            let passed = self.passing.min(bytes.len() - at);
            self.passing -= passed;
            at += passed;
            let frame = &bytes[at..];
            match size_of(frame) {
                Some(size) if !is_suspect(frame, size) && self.admits(frame, size, waker) => {
                    self.passing = FRAME_HEAD + size + 1;
                }
                _ => return at,
            }
        }
    }

    /// Whether this frame may come now. A content header stands for its whole message; it has to be far enough there to
    /// tell the message's size.
    fn admits(&mut self, frame: &[u8], size: usize, waker: &Waker) -> bool {
        if frame[0] != CONTENT_HEADER || size < BEFORE_PROPERTIES {
            return true;
        }
        let Some(body) = frame.get(FRAME_HEAD + 4..FRAME_HEAD + BEFORE_PROPERTIES) else { return false };
        let body = u64::from_be_bytes(body.try_into().expect("eight bytes"));
        let whole = usize::try_from(body).unwrap_or(usize::MAX).saturating_add(size);
        let admitted = self.hold.admit(whole, waker);
        self.paused = (!admitted).then(|| waker.clone());
        admitted
    }

    /// Clears what is held, as far as can be decided.
    fn decide(&mut self, waker: &Waker) -> io::Result<()> {
        loop {
            let mut held = std::mem::take(&mut self.held);
            let passed = self.pass(&held, waker);
            self.cleared.unsplit(held.split_to(passed));
            self.held = held;
            let Some(size) = size_of(&self.held) else { return Ok(()) };
            if size > MOST_HELD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of the broker is too large"));
            }
            let whole = FRAME_HEAD + size + 1;
            let held = std::mem::take(&mut self.held);
            let is_ready = held.len() >= whole && self.paused.is_none() && self.admits(&held, size, waker);
            self.held = held;
            if !is_ready {
                return Ok(());
            }
            let frame = self.held.split_to(whole);
            self.cleared.extend_from_slice(&without_deep_headers(frame.to_vec()));
        }
    }

    fn give(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.cleared.len().min(buffer.len());
        self.cleared.copy_to_slice(&mut buffer[..count]);
        count
    }

    fn has_written(&mut self) {
        if let Some(reader) = &self.paused {
            self.is_asked = true;
            reader.wake_by_ref();
        }
    }

    /// Something has to wait for room: what can be cleared by now, or nothing.
    ///
    /// The library ends a connection on which nothing comes for long. So it is told that the broker is there whenever it
    /// says so itself, which it does by its heartbeats; what cannot be written is not answered.
    fn resume(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        if self.hold.has_ended() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if std::mem::take(&mut self.is_asked) {
            self.cleared.extend_from_slice(HEARTBEAT);
            return Poll::Ready(Ok(()));
        }
        self.paused = None;
        self.decide(waker)?;
        if self.cleared.is_empty() && self.paused.is_some() { Poll::Pending } else { Poll::Ready(Ok(())) }
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
            if this.paused.is_some() {
                ready!(this.resume(cx.waker()))?;
            } else if this.held.is_empty() {
                let count = ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                let passed = this.pass(&buf[..count], cx.waker());
                this.held.extend_from_slice(&buf[passed..count]);
                if this.paused.is_none() {
                    this.decide(cx.waker())?;
                }
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
                this.decide(cx.waker())?;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        self.has_written();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs));
        self.has_written();
        Poll::Ready(written)
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
    use futures_util::FutureExt;
    use futures_util::io::{AllowStdIo, AsyncReadExt, AsyncWriteExt};

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
        let mut guarded = Guarded::new(AllowStdIo::new(Pieces(bytes, piece)), Hold::default());
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

    /// Takes writes as well.
    impl Write for Pieces<'_> {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What can be read now.
    fn ready(guarded: &mut Guarded<AllowStdIo<Pieces<'_>>>) -> io::Result<Vec<u8>> {
        let (mut all, mut some) = (Vec::new(), [0; 500]);
        while let Some(count) = guarded.read(&mut some).now_or_never() {
            match count? {
                0 => break,
                count => all.extend_from_slice(&some[..count]),
            }
        }
        Ok(all)
    }

    /// Twenty messages of 16 MiB were once all held at once.
    #[test]
    fn messages_wait_for_room_and_the_library_hears_that_the_broker_is_there() {
        let (large, small) = (content(&nested(300, b'F')), content(&nested(1, b'F')));
        for content in [small, large] {
            let (method, body) = (frame(1, b"a delivery"), frame(3, b"7 bytes"));
            let begun = [&body[..], &method].concat();
            let sent = [method.clone(), [&content[..], &begun].concat().repeat(4)].concat();
            // Of the headers that are too deep a mark is left.
            let kept = without_deep_headers(content.clone());
            let size = content.len() - FRAME_HEAD - 1 + 7;
            for piece in [1, 13, 100, usize::MAX] {
                let hold = Hold::default();
                hold.bound(2 * size);
                let mut guarded = Guarded::new(AllowStdIo::new(Pieces(&sent, piece)), hold.clone());
                let two = [&kept[..], &begun].concat().repeat(2);
                assert_eq!(ready(&mut guarded).expect("no fault"), [method.clone(), two].concat(), "{piece}");
                assert_eq!(ready(&mut guarded).expect("no fault"), b"", "{piece}");
                assert!(guarded.write(b"a heartbeat").now_or_never().is_some_and(|written| written.is_ok()));
                assert_eq!(ready(&mut guarded).expect("no fault"), HEARTBEAT, "{piece}");
                drop(hold.take());
                assert_eq!(ready(&mut guarded).expect("no fault"), [&kept[..], &begun].concat(), "{piece}");
                assert_eq!(hold.bytes(), 2 * size);
                hold.end();
                assert!(ready(&mut guarded).is_err(), "nobody will make room any more");
            }
        }
    }
}
