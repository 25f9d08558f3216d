//! One subscriber: connects, subscribes, and listens until it is ended.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use super::crowd::Crowd;
use super::dialect::{Dialect, Step};
use super::frames::{self, Frame};
use super::marker;

/// The receive buffer of one that is to fall asleep: what it does not take is soon the server's business.
const SLEEPERS_BUFFER: u32 = 4_096;
const MAX_HEAD: usize = 16 << 10;

/// A subscription that has been asked for.
pub(super) struct Subscriber {
    member: usize,
    stream: TcpStream,
    /// What was cut off by the end of the last read.
    carry: Vec<u8>,
    dialect: Rc<Dialect>,
    crowd: Rc<Crowd>,
}

/// What a read came to.
enum Turn {
    Read,
    Asleep,
    Closed,
}

impl Subscriber {
    pub(super) async fn open(
        address: SocketAddr,
        dialect: Rc<Dialect>,
        crowd: Rc<Crowd>,
        member: usize,
        sleeper: bool,
    ) -> Result<Self, String> {
        let stream = connect(address, sleeper).await.map_err(|error| format!("cannot connect: {error}"))?;
        let mut subscriber = Self { member, stream, carry: Vec::new(), dialect, crowd };
        subscriber.shake_hands(address).await?;
        let after = subscriber.cursor();
        for step in subscriber.dialect.opening(member, after.as_deref()) {
            match step {
                Step::Send(text) => subscriber.send(text.as_bytes()).await?,
                Step::Await(part) => subscriber.expect(part).await?,
            }
        }
        Ok(subscriber)
    }

    /// The place to go on after, for one that was here before.
    fn cursor(&self) -> Option<String> {
        let cursors = self.crowd.cursors.borrow();
        cursors.as_ref().map(|cursors| cursors[self.member].clone()).filter(|cursor| !cursor.is_empty())
    }

    async fn shake_hands(&mut self, address: SocketAddr) -> Result<(), String> {
        let request = self.dialect.request(&address.to_string());
        self.stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.carry, b"\r\n\r\n") {
                break at + 4;
            }
            if self.carry.len() > MAX_HEAD || self.read_more().await? == 0 {
                return Err("no answer to the handshake".to_owned());
            }
        };
        if !self.carry.starts_with(self.dialect.status().as_bytes()) {
            return Err(format!("refused: {}", String::from_utf8_lossy(&self.carry)));
        }
        self.carry.drain(..end);
        Ok(())
    }

    async fn send(&mut self, text: &[u8]) -> Result<(), String> {
        let mut frame = Vec::with_capacity(text.len() + 8);
        frames::text(text, &mut frame);
        self.stream.write_all(&frame).await.map_err(|error| error.to_string())
    }

    /// Waits for a text that holds this; texts before it are of no interest.
    async fn expect(&mut self, part: &str) -> Result<(), String> {
        loop {
            let (mut found, mut closed) = (false, None);
            let used = frames::parse(&self.carry, |frame| match frame {
                Frame::Text(text) if memchr::memmem::find(text, part.as_bytes()).is_some() => {
                    found = true;
                    ControlFlow::Break(())
                }
                Frame::Close(why) => {
                    closed = Some(format!("closed: {}", String::from_utf8_lossy(why)));
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })?;
            self.carry.drain(..used);
            match closed {
                Some(why) => return Err(why),
                None if found => return Ok(()),
                None if self.read_more().await? == 0 => return Err(format!("no {part}")),
                None => {}
            }
        }
    }

    async fn read_more(&mut self) -> Result<usize, String> {
        self.stream.read_buf(&mut self.carry).await.map_err(|error| error.to_string())
    }

    /// Listens until the connection ends, which is a failure.
    pub(super) async fn listen(mut self) {
        let (crowd, member) = (self.crowd.clone(), self.member);
        let mut answer = Vec::new();
        let why = loop {
            match poll_fn(|context| self.poll_read(context, &mut answer)).await {
                Ok(Turn::Read) => {}
                // One thread drives all, so nobody can be woken between the look and the wait.
                Ok(Turn::Asleep) => crowd.woken.notified().await,
                Ok(Turn::Closed) => break "the server closed the connection".to_owned(),
                Err(why) => break why,
            }
            if !answer.is_empty() {
                if let Err(error) = self.stream.write_all(&answer).await {
                    break error.to_string();
                }
                answer.clear();
            }
        };
        crowd.fail(member, &why);
    }

    fn poll_read(&mut self, context: &mut Context<'_>, answer: &mut Vec<u8>) -> Poll<Result<Turn, String>> {
        if self.crowd.is_asleep(self.member) {
            return Poll::Ready(Ok(Turn::Asleep));
        }
        let crowd = self.crowd.clone();
        let mut scratch = crowd.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
            return Poll::Ready(Err(error.to_string()));
        }
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(Turn::Closed));
        }
        Poll::Ready(self.take(buffer.filled(), answer).map(|()| Turn::Read))
    }

    fn take(&mut self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<(), String> {
        if self.carry.is_empty() {
            let used = self.understand(bytes, answer)?;
            self.carry.extend_from_slice(&bytes[used..]);
        } else {
            let mut whole = std::mem::take(&mut self.carry);
            whole.extend_from_slice(bytes);
            let used = self.understand(&whole, answer)?;
            whole.drain(..used);
            self.carry = whole;
        }
        Ok(())
    }

    /// Takes what is whole of these bytes; says how many they were.
    fn understand(&self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<usize, String> {
        let now = Instant::now();
        if !self.dialect.is_websocket() {
            // A marker is found wherever it stands in the stream; only one that is cut off has to be kept.
            let end = self.crowd.hear(self.member, bytes, now);
            return Ok(end.max(bytes.len().saturating_sub(marker::BYTES - 1)));
        }
        let mut failure = Ok(());
        let used = frames::parse(bytes, |frame| match self.act(frame, now, answer) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                failure = Err(why);
                ControlFlow::Break(())
            }
        })?;
        failure.map(|()| used)
    }

    fn act(&self, frame: Frame<'_>, now: Instant, answer: &mut Vec<u8>) -> Result<(), String> {
        match frame {
            Frame::Text(text) if self.crowd.hear(self.member, text, now) > 0 => self.remember(text),
            Frame::Text(text) => {
                if let Some(reply) = self.dialect.answer(text)? {
                    frames::text(reply, answer);
                }
            }
            Frame::Ping(payload) => frames::pong(payload, answer),
            Frame::Close(why) => return Err(format!("closed: {}", String::from_utf8_lossy(why))),
            Frame::Other => {}
        }
        Ok(())
    }

    /// Keeps the cursor of an event, where it will be needed.
    fn remember(&self, text: &[u8]) {
        const NAME: &[u8] = b"\"cursor\":\"";
        let mut cursors = self.crowd.cursors.borrow_mut();
        let Some(cursors) = cursors.as_mut() else { return };
        let Some(at) = memchr::memmem::find(text, NAME) else { return };
        let rest = &text[at + NAME.len()..];
        let value = &rest[..memchr::memchr(b'"', rest).unwrap_or(rest.len())];
        let cursor = &mut cursors[self.member];
        cursor.clear();
        cursor.push_str(&String::from_utf8_lossy(value));
    }
}

async fn connect(address: SocketAddr, sleeper: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if sleeper {
        socket.set_recv_buffer_size(SLEEPERS_BUFFER)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
