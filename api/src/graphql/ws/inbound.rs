//! The reading half of a socket: tungstenite judges what a client sends, for as long as the client sends something.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::bounds::Bounds;
use super::out::Outgoing;
use super::tap::Tap;

/// Bytes read at once; larger messages grow the buffer while they last.
const READ_BUFFER: usize = 4 << 10;

/// What reads the messages of a client.
///
/// Clients of subscriptions are silent nearly always. Between two messages nothing is known of a client that would be
/// worth keeping: the buffer of the last message, which the client has chosen the size of, goes with the reader.
#[derive(Debug)]
pub(super) struct Inbound {
    max_message_bytes: usize,
    /// Reads; there while a message comes.
    reader: Option<Box<WebSocketContext>>,
    bounds: Bounds,
    /// Nothing more can be read.
    failed: bool,
}

impl Inbound {
    /// Begins with what was read of the client already.
    pub(super) fn new(early: &[u8], max_message_bytes: usize) -> Self {
        let mut inbound = Self { max_message_bytes, reader: None, bounds: Bounds::default(), failed: false };
        if !early.is_empty() {
            inbound.begin(early);
        }
        inbound
    }

    /// From the next message on, each may be this large.
    pub(super) fn allow(&mut self, max_message_bytes: usize) {
        self.max_message_bytes = max_message_bytes;
        if let Some(reader) = &mut self.reader {
            reader.set_config(|config| {
                *config =
                    config.max_message_size(Some(max_message_bytes)).max_frame_size(Some(max_message_bytes));
            });
        }
    }

    /// The next message. What is to be answered to it, a pong for instance, is appended to `out` at the next call.
    pub(super) fn poll_message<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        out: &mut Outgoing,
        context: &mut Context<'_>,
    ) -> Poll<Result<Message, Error>> {
        if self.failed {
            return Poll::Ready(Err(Error::AlreadyClosed));
        }
        if self.reader.is_none() {
            match ready!(poll_first(stream, context)) {
                Ok(first) if first.is_empty() => return self.fail(Error::ConnectionClosed),
                Ok(first) => self.begin(&first),
                Err(error) => return self.fail(error.into()),
            }
        }
        let Some(reader) = &mut self.reader else { return Poll::Pending };
        match reader.read(&mut Tap { stream, context, bounds: &mut self.bounds, out }) {
            Ok(message) => Poll::Ready(Ok(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => self.fail(error),
        }
    }

    /// Gives the memory back that the last message needed, unless the next one has begun. It is called when nothing
    /// can be read.
    pub(super) fn rest(&mut self) {
        if self.bounds.is_between() {
            self.reader = None;
        }
    }

    /// Whether nothing is kept of the client.
    pub(super) fn is_at_rest(&self) -> bool {
        self.reader.is_none()
    }

    /// Appends the answer to the client's own close frame.
    pub(super) fn answer_close<S: AsyncRead + Unpin>(&mut self, stream: &mut S, out: &mut Outgoing) {
        self.write(stream, out, None);
    }

    /// Appends a close frame, after which nothing may be written.
    pub(super) fn close<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        out: &mut Outgoing,
        frame: CloseFrame,
    ) {
        if self.reader.is_none() {
            self.begin(&[]);
        }
        self.write(stream, out, Some(frame));
    }

    fn write<S: AsyncRead + Unpin>(&mut self, stream: &mut S, out: &mut Outgoing, close: Option<CloseFrame>) {
        let Some(reader) = &mut self.reader else { return };
        // Writing never waits here, since it ends in memory.
        let mut context = Context::from_waker(Waker::noop());
        let mut tap = Tap { stream, context: &mut context, bounds: &mut self.bounds, out };
        // The one error is that the connection is closed, which is what is meant.
        let _ = if close.is_some() { reader.close(&mut tap, close) } else { reader.flush(&mut tap) };
    }

    fn begin(&mut self, bytes: &[u8]) {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_message_bytes));
        let reader = WebSocketContext::from_partially_read(bytes.to_vec(), Role::Server, Some(config));
        self.reader = Some(Box::new(reader));
        self.bounds.follow(bytes);
    }

    fn fail(&mut self, error: Error) -> Poll<Result<Message, Error>> {
        self.failed = true;
        Poll::Ready(Err(error))
    }
}

/// Reads what there is into memory that is needed only if there is anything; nothing at the end.
fn poll_first<S: AsyncRead + Unpin>(stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut space = [const { MaybeUninit::uninit() }; READ_BUFFER];
    let mut buffer = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().to_vec()))
}

/// Reads and forgets, to the end.
pub(super) fn poll_discard<S: AsyncRead + Unpin>(stream: &mut S, context: &mut Context<'_>) -> Poll<()> {
    let mut space = [const { MaybeUninit::uninit() }; READ_BUFFER];
    loop {
        let mut buffer = ReadBuf::uninit(&mut space);
        let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client that has sent these bytes and no more yet.
    struct Sent<'a>(&'a [u8]);

    impl AsyncRead for Sent<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            let (now, later) = self.0.split_at(self.0.len().min(into.remaining()));
            into.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    /// A frame as a client sends it, with a mask that leaves the body as it is.
    fn frame(first: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match body.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long => frame.extend([&[0x80 | 126][..], &(long as u16).to_be_bytes()].concat()),
        }
        [&frame, &[0; 4][..], body].concat()
    }

    /// A message, cut into frames where that is allowed.
    fn frames_of(message: &Message, parts: usize) -> Vec<u8> {
        let body = message.clone().into_data();
        if let Message::Ping(_) = message {
            return frame(0x89, &body);
        }
        let opcode = if message.is_text() { 1 } else { 2 };
        let parts: Vec<_> = body.chunks(body.len().div_ceil(parts).max(1)).collect();
        let Some((last, others)) = parts.split_last() else { return frame(0x80 | opcode, b"") };
        let mut frames = Vec::new();
        for (index, part) in others.iter().enumerate() {
            frames.extend(frame(if index == 0 { opcode } else { 0 }, part));
        }
        frames.extend(frame(0x80 | if others.is_empty() { opcode } else { 0 }, last));
        frames
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            prop_oneof!["[a-zä€😀]{0,200}", "[a-zä€😀]{1000,6000}"].prop_map(Message::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::from),
            prop::collection::vec(any::<u8>(), 0..126).prop_map(|body| Message::Ping(body.into())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The reader goes whenever nothing more is there, and yet no message is lost, cut or answered twice.
        #[test]
        fn resting_between_any_two_reads_changes_nothing(
            messages in prop::collection::vec((message(), 1..4_usize), 0..8),
            steps in prop::collection::vec(1..3_000_usize, 1..40),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(message, parts)| frames_of(message, *parts)).collect();
            let mut rest = &bytes[..];
            let (mut inbound, mut out, mut read) = (Inbound::new(&[], 100_000), Outgoing::default(), Vec::new());
            for step in steps.iter().cycle() {
                let (now, later) = rest.split_at((*step).min(rest.len()));
                let mut sent = Sent(now);
                let mut context = Context::from_waker(Waker::noop());
                while let Poll::Ready(message) = inbound.poll_message(&mut sent, &mut out, &mut context) {
                    read.push(message.expect("a good message"));
                }
                inbound.rest();
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(inbound.is_at_rest());
            let pongs = messages.iter().filter_map(|(message, _)| match message {
                Message::Ping(body) => Some(2 + body.len()),
                _ => None,
            });
            prop_assert_eq!(out.pending(), pongs.sum::<usize>());
            let expected: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
