//! One socket: messages of the client come in, frames go out, with an eye on readers that take nothing.
//!
//! Whoever drives it calls [`Wire::poll_receive`] and [`Wire::push`], then [`Wire::poll_flush`] once: all that is ready
//! goes out in one write. Our frames go past the WebSocket library, since what they are made of is shared by thousands.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::super::operations::{FULL, Outlet};
use super::close::CloseReason;
use super::inbound::{Inbound, poll_discard};
use super::out::Outgoing;
use super::patience::Patience;

/// How long the peer has to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How long a reader that took nothing has to take at least the close frame.
const STALLED_CLOSE_WAIT: Duration = Duration::from_secs(4);

/// Why a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// We close it.
    Close(CloseReason),
    /// The peer closed it, or the connection broke.
    Gone,
}

/// A WebSocket that speaks text.
///
/// The stream below it must not keep back what is written to it: it is never flushed.
pub(super) struct Wire<S> {
    stream: S,
    inbound: Inbound,
    out: Outgoing,
    /// With a reader that takes nothing.
    patience: Patience,
    /// With a message that has begun: each may be large, and what a client can have kept by not ending it has an end.
    unfinished: Patience,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Takes over an upgraded connection, of which some bytes may have been read already.
    pub(super) fn new(stream: S, early: &[u8], max_message_bytes: usize, stalled: Duration) -> Self {
        let inbound = Inbound::new(early, max_message_bytes);
        let (patience, unfinished) = (Patience::new(stalled), Patience::new(stalled));
        Self { stream, inbound, out: Outgoing::default(), patience, unfinished }
    }

    /// The next text message.
    ///
    /// It never waits for the peer to take anything, and may leave answers of the protocol to be flushed, also when it
    /// is pending. A peer that sends pings and takes no pongs is not listened to: where too much is
    /// [pending](Self::pending) this is so too, and wakes nobody until that is flushed.
    ///
    /// # Errors
    /// [`End::Gone`] at the end, or the close code for what the client did wrong; `Unfinished` where it does not end a
    /// message that it has begun.
    pub(super) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, End>> {
        while self.pending() < FULL {
            match self.inbound.poll_message(&mut self.stream, &mut self.out, context) {
                Poll::Pending => return self.poll_unfinished(context),
                Poll::Ready(Ok(Message::Text(text))) => {
                    self.unfinished.rest();
                    return Poll::Ready(Ok(text));
                }
                Poll::Ready(Ok(Message::Binary(_))) => {
                    return Poll::Ready(Err(End::Close(CloseReason::BadMessage)));
                }
                Poll::Ready(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Poll::Ready(Ok(Message::Close(_))) => {
                    self.inbound.answer_close(&mut self.stream, &mut self.out);
                    // A courtesy: whoever does not take the answer at once sees the connection end without it.
                    let _ = self.poll_flush(context);
                    return Poll::Ready(Err(End::Gone));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(end_of(&error))),
            }
        }
        // Nobody is blamed for what is not listened to.
        self.unfinished.rest();
        Poll::Pending
    }

    /// Nothing more can be read now: waits on, unless a message that has begun was waited for too long.
    fn poll_unfinished(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, End>> {
        self.inbound.rest();
        if self.inbound.is_at_rest() {
            self.unfinished.rest();
            return Poll::Pending;
        }
        ready!(self.unfinished.poll_end(context, false));
        Poll::Ready(Err(End::Close(CloseReason::Unfinished)))
    }

    /// From now on messages of the client may be this large.
    pub(super) fn allow(&mut self, max_message_bytes: usize) {
        self.inbound.allow(max_message_bytes);
    }

    /// Writes all that is pending.
    ///
    /// # Errors
    /// `Stalled` where the peer has taken no byte for too long; [`End::Gone`] where the connection is broken.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let before = self.pending();
        if let Poll::Ready(written) = self.poll_write(context) {
            self.patience.rest();
            return Poll::Ready(written);
        }
        let moved = self.pending() < before;
        ready!(self.patience.poll_end(context, moved));
        Poll::Ready(Err(End::Close(CloseReason::Stalled)))
    }

    /// Writes all that is pending, however long it takes.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        while self.out.pending() > 0 {
            ready!(self.out.poll_write(&mut self.stream, context)).map_err(|_| End::Gone)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Says why, and waits a little for the peer to say the same, so that it gets to read it.
    pub(super) async fn close(mut self, reason: CloseReason) {
        let wait = if reason == CloseReason::Stalled { STALLED_CLOSE_WAIT } else { CLOSE_WAIT };
        // Whoever does not answer in time is let go all the same.
        let _ = timeout(wait, self.say_goodbye(reason)).await;
    }

    async fn say_goodbye(&mut self, reason: CloseReason) {
        let text = Utf8Bytes::from_static(reason.text());
        let frame = CloseFrame { code: CloseCode::from(reason.code()), reason: text };
        self.inbound.close(&mut self.stream, &mut self.out, frame);
        if poll_fn(|context| self.poll_write(context)).await.is_err() {
            return;
        }
        poll_fn(|context| self.poll_closed(context)).await;
        // A socket closed with bytes unread is reset, and a reset can overtake the close frame.
        if self.stream.shutdown().await.is_ok() {
            poll_fn(|context| poll_discard(&mut self.stream, context)).await;
        }
    }

    /// Waits for the peer's close frame; what else it sends is not listened to any more.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while ready!(self.inbound.poll_message(&mut self.stream, &mut self.out, context)).is_ok() {}
        Poll::Ready(())
    }
}

impl<S> Outlet for Wire<S> {
    fn pending(&self) -> usize {
        self.out.pending()
    }

    /// One text message; together the parts are UTF-8.
    fn push(&mut self, parts: &[&[u8]]) {
        self.out.push(parts);
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Close(CloseReason::TooBig),
        Error::Utf8(_) => End::Close(CloseReason::NotUtf8),
        // Nobody is there to be told.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => End::Close(CloseReason::BrokenFrame),
        _ => End::Gone,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
        /// As [`Self::poll_receive`], and flushes what is pending meanwhile. It may be dropped while it waits.
        pub(super) async fn receive(&mut self) -> Result<Utf8Bytes, End> {
            poll_fn(|context| {
                let received = self.poll_receive(context);
                let full = self.pending() >= FULL;
                if received.is_pending() {
                    match self.poll_flush(context) {
                        Poll::Ready(Err(end)) => return Poll::Ready(Err(end)),
                        // There may be more to read, now that there is room.
                        Poll::Ready(Ok(())) if full => context.waker().wake_by_ref(),
                        Poll::Ready(Ok(())) | Poll::Pending => {}
                    }
                }
                received
            })
            .await
        }

        /// As [`Self::poll_flush`].
        pub(super) async fn flush(&mut self) -> Result<(), End> {
            poll_fn(|context| self.poll_flush(context)).await
        }
    }

    const STALLED: Duration = Duration::from_secs(60);
    type Client = WebSocketStream<DuplexStream>;

    /// A wire, and its client behind a pipe that holds this many bytes.
    async fn joined(pipe: usize) -> (Wire<DuplexStream>, Client) {
        let (near, far) = duplex(pipe);
        let client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        (Wire::new(near, &[], 100_000, STALLED), client)
    }

    fn pending<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> bool {
        poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn frames_of_every_length_are_read_by_a_client() {
        let (mut wire, mut client) = joined(1 << 20).await;
        for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
            let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
            let (one, other) = text.as_bytes().split_at(length / 3);
            wire.push(&[one, b"", other]);
            wire.flush().await.expect("the client is there");
            assert_eq!(client.next().await.expect("a message").expect("whole"), Message::from(text));
        }
    }

    #[tokio::test]
    async fn pongs_and_messages_keep_their_frames_apart() {
        let (mut wire, mut client) = joined(64).await;
        let serve = async {
            loop {
                let text = match wire.receive().await {
                    Ok(text) => text,
                    Err(end) => break end,
                };
                let answer = text.repeat(40);
                wire.push(&[b"<", answer.as_bytes(), b">"]);
                if wire.pending() > 1_000 {
                    wire.flush().await.expect("the client is there");
                }
            }
        };
        let talk = async {
            for round in 0..50_u8 {
                let (text, ping) = (format!("{round:03}"), vec![round; usize::from(round)]);
                client.feed(Message::Ping(ping.clone().into())).await.expect("fed");
                client.send(Message::from(text.clone())).await.expect("sent");
                assert_eq!(client.next().await.expect("a pong").expect("whole"), Message::Pong(ping.into()));
                let answer = client.next().await.expect("an answer").expect("whole");
                assert_eq!(answer, Message::from(format!("<{}>", text.repeat(40))));
            }
            client.close(None).await.expect("said");
            assert_eq!(client.next().await.expect("an answer").expect("whole"), Message::Close(None));
        };
        assert_eq!(tokio::join!(serve, talk).0, End::Gone);
    }

    #[tokio::test]
    async fn a_silent_client_costs_no_buffer() {
        let (mut wire, mut client) = joined(1 << 20).await;
        client.send(Message::from("x".repeat(50_000))).await.expect("sent");
        assert_eq!(wire.receive().await.expect("a text").len(), 50_000);
        assert!(pending(|context| wire.poll_receive(context)) && wire.inbound.is_at_rest());
        // Half a message is kept.
        client.get_mut().write_all(&[0x01, 0x81, 0, 0, 0, 0, b'a']).await.expect("written");
        assert!(pending(|context| wire.poll_receive(context)) && !wire.inbound.is_at_rest());
        client.get_mut().write_all(&[0x80, 0x81, 0, 0, 0]).await.expect("written");
        assert!(pending(|context| wire.poll_receive(context)) && !wire.inbound.is_at_rest());
        client.get_mut().write_all(&[0, b'b']).await.expect("written");
        assert_eq!(wire.receive().await.expect("a text").as_str(), "ab");
        assert!(pending(|context| wire.poll_receive(context)) && wire.inbound.is_at_rest());
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first() {
        let (near, mut far) = duplex(100);
        let mut wire = Wire::new(near, &[0x81, 0x82, 0, 0, 0, 0, b'o'], 100, STALLED);
        far.write_all(b"k\x81\x81\0\0\0\0!").await.expect("written");
        assert_eq!(wire.receive().await.expect("a text").as_str(), "ok");
        assert_eq!(wire.receive().await.expect("a text").as_str(), "!");
    }

    #[tokio::test]
    async fn what_a_client_does_wrong_has_its_code() {
        for (bytes, end) in [
            (&b"\x82\x80\0\0\0\0"[..], End::Close(CloseReason::BadMessage)),
            (b"\x81\x01x", End::Close(CloseReason::BrokenFrame)),
            (b"\x83\x80\0\0\0\0", End::Close(CloseReason::BrokenFrame)),
            (b"\xC1\x80\0\0\0\0", End::Close(CloseReason::BrokenFrame)),
            (b"\x81\x81\0\0\0\0\xFF", End::Close(CloseReason::NotUtf8)),
            (b"\x81\xFF\0\0\0\0\0\x02\0\0\0\0\0\0", End::Close(CloseReason::TooBig)),
            (b"\x81\x85\0\0\0\0x", End::Gone),
            (b"", End::Gone),
        ] {
            let (near, mut far) = duplex(100);
            let mut wire = Wire::new(near, &[], 100_000, STALLED);
            far.write_all(bytes).await.expect("written");
            far.shutdown().await.expect("shut");
            assert_eq!(wire.receive().await, Err(end), "{bytes:?}");
            // What was wrong can be said.
            let End::Close(reason) = end else { continue };
            wire.close(reason).await;
            let mut said = Vec::new();
            far.read_to_end(&mut said).await.expect("read");
            let header = [0x88, 2 + reason.text().len() as u8];
            assert_eq!(said, [&header, &reason.code().to_be_bytes()[..], reason.text().as_bytes()].concat());
        }
    }

    /// Pongs went out of the bounds of everything else: whatever was read at once was answered at once.
    #[tokio::test]
    async fn a_flood_of_pings_is_read_only_as_fast_as_the_pongs_are_taken() {
        const PINGS: usize = 10_000;
        let (mut wire, mut client) = joined(4 << 20).await;
        for _ in 0..PINGS {
            client.feed(Message::Ping(vec![b'p'; 100].into())).await.expect("fed");
        }
        client.flush().await.expect("the pipe holds them all");
        assert!(pending(|context| wire.poll_receive(context)));
        assert!(wire.pending() < FULL + 200, "{}", wire.pending());
        let count = async {
            for _ in 0..PINGS {
                let pong = client.next().await.expect("a pong").expect("whole");
                assert_eq!(pong, Message::Pong(vec![b'p'; 100].into()));
            }
            client.close(None).await.expect("said");
        };
        let (end, ()) = tokio::join!(wire.receive(), count);
        assert_eq!(end, Err(End::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_stalled_and_who_takes_a_byte_now_and_then_is_not() {
        let (near, mut far) = duplex(10);
        let mut wire = Wire::new(near, &[], 100, STALLED);
        wire.push(&[&[b'x'; 50]]);
        let slow = async {
            for _ in 0..8 {
                sleep(STALLED - Duration::from_secs(1)).await;
                far.read_u8().await.expect("a byte");
            }
            Instant::now()
        };
        let (flushed, last) = tokio::join!(wire.flush(), slow);
        assert_eq!(flushed, Err(End::Close(CloseReason::Stalled)));
        let waited = last.elapsed();
        assert!(waited >= STALLED && waited < STALLED + Duration::from_millis(10), "{waited:?}");
        // It begins to read after all: then it is told why.
        let read = async {
            let mut said = Vec::new();
            far.read_to_end(&mut said).await.expect("read");
            said
        };
        let ((), said) = tokio::join!(wire.close(CloseReason::Stalled), read);
        assert!(said.ends_with(CloseReason::Stalled.text().as_bytes()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_has_begun_is_not_waited_for_forever() {
        let (near, mut far) = duplex(1_000);
        let mut wire = Wire::new(near, &[], 100_000, STALLED);
        // Each has most of the time, and silence between two has all of it.
        for _ in 0..3 {
            far.write_all(b"\x81\x82\0\0").await.expect("written");
            assert!(pending(|context| wire.poll_receive(context)));
            sleep(STALLED - Duration::from_secs(1)).await;
            far.write_all(b"\0\0hi").await.expect("written");
            assert_eq!(wire.receive().await.as_deref(), Ok("hi"));
            assert!(pending(|context| wire.poll_receive(context)));
            sleep(2 * STALLED).await;
        }
        // Going on with it does not help, and neither do pings.
        let begin = Instant::now();
        let dribble = async {
            far.write_all(b"\x01\x80\0\0\0\0").await.expect("written");
            loop {
                sleep(Duration::from_secs(1)).await;
                far.write_all(b"\0\x81\0\0\0\0x\x89\x80\0\0\0\0").await.expect("written");
            }
        };
        let end = tokio::select! { end = wire.receive() => end, () = dribble => Ok("".into()) };
        assert_eq!(end, Err(End::Close(CloseReason::Unfinished)));
        assert!(begin.elapsed() < STALLED + Duration::from_secs(2), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wire_with_nothing_to_say_is_never_stalled() {
        let (mut wire, mut client) = joined(100).await;
        assert_eq!(wire.flush().await, Ok(()));
        sleep(STALLED * 2).await;
        wire.push(&[b"hello"]);
        assert_eq!(wire.flush().await, Ok(()));
        assert_eq!(client.next().await.expect("a message").expect("whole"), Message::from("hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_waits_for_the_answer_but_not_for_long() {
        let (mut wire, mut client) = joined(1_000).await;
        wire.push(&[b"last words"]);
        let answer = async {
            assert_eq!(client.next().await.expect("a message").expect("whole"), Message::from("last words"));
            let Some(Ok(Message::Close(Some(frame)))) = client.next().await else { panic!("no close frame") };
            assert_eq!(u16::from(frame.code), 4403);
            assert!(client.next().await.is_none());
        };
        tokio::join!(wire.close(CloseReason::Forbidden), answer);

        let (wire, client) = joined(1_000).await;
        let start = Instant::now();
        wire.close(CloseReason::GoingAway).await;
        assert!(start.elapsed() < CLOSE_WAIT + Duration::from_millis(10));
        drop(client);
    }
}
