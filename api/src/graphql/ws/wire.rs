//! The writing half of a socket: what is ready is fed, then flushed once, with an eye on readers that take nothing.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::close::CloseReason;
use super::meter::Metered;

/// Bytes read at once; larger messages grow the buffer while they last.
const READ_BUFFER: usize = 2 << 10;
/// Bytes gathered before they are written, if nothing flushes them before.
const WRITE_BUFFER: usize = 4 << 10;
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
pub(super) struct Wire<S> {
    socket: WebSocketStream<Metered<S>>,
    stalled: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Takes over an upgraded connection.
    pub(super) async fn new(stream: S, max_message_bytes: usize, stalled: Duration) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let socket = WebSocketStream::from_raw_socket(Metered::new(stream), Role::Server, Some(config)).await;
        Self { socket, stalled }
    }

    /// The next text message. It may be dropped while it waits.
    ///
    /// # Errors
    /// [`End::Gone`] at the end, or the close code for what the client did wrong.
    pub(super) async fn receive(&mut self) -> Result<Utf8Bytes, End> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Binary(_))) => return Err(End::Close(CloseReason::BadMessage)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
                Some(Err(error)) => return Err(end_of(&error)),
            }
        }
    }

    /// Puts a text into the outgoing buffer; waits while that is full.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub(super) async fn feed(&mut self, text: impl Into<Bytes>) -> Result<(), End> {
        let text = Utf8Bytes::try_from(text.into()).map_err(|_| End::Close(CloseReason::Defect))?;
        self.drive(|socket, context| socket.poll_ready_unpin(context)).await?;
        self.socket.start_send_unpin(Message::Text(text)).map_err(|error| end_of(&error))
    }

    /// Writes all that was fed.
    ///
    /// # Errors
    /// `Stalled` where the peer has taken no byte for too long; [`End::Gone`] where the connection is broken.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        self.drive(|socket, context| socket.poll_flush_unpin(context)).await
    }

    /// Says why, and waits a little for the peer to say the same, so that it gets to read it.
    pub(super) async fn close(mut self, reason: CloseReason) {
        let text = Utf8Bytes::from_static(reason.text());
        let frame = CloseFrame { code: CloseCode::from(reason.code()), reason: text };
        let wait = if reason == CloseReason::Stalled { STALLED_CLOSE_WAIT } else { CLOSE_WAIT };
        let goodbye = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
            // A socket closed with bytes unread is reset, and a reset can overtake the close frame.
            let stream = self.socket.get_mut();
            let mut rest = [0; READ_BUFFER];
            if stream.shutdown().await.is_ok() {
                while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            }
        };
        // Whoever does not answer in time is let go all the same.
        let _ = timeout(wait, goodbye).await;
    }

    /// Waits for the socket, for as long as the peer takes at least one byte in every `stalled`.
    async fn drive(
        &mut self,
        poll: impl Fn(
            &mut WebSocketStream<Metered<S>>,
            &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Error>>,
    ) -> Result<(), End> {
        loop {
            let taken = self.socket.get_ref().taken();
            let done = timeout(self.stalled, poll_fn(|context| poll(&mut self.socket, context))).await;
            match done {
                Ok(result) => return result.map_err(|error| end_of(&error)),
                Err(_) if self.socket.get_ref().taken() > taken => {}
                Err(_) => return Err(End::Close(CloseReason::Stalled)),
            }
        }
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Close(CloseReason::TooBig),
        Error::Utf8(_) => End::Close(CloseReason::NotUtf8),
        Error::Protocol(_) => End::Close(CloseReason::BrokenFrame),
        _ => End::Gone,
    }
}
