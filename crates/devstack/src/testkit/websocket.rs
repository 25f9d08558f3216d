//! A WebSocket client that sends whatever it is told, right or wrong, frame by frame (RFC 6455).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The bit of a frame's first byte that says that no other part of its message follows.
pub const FIN: u8 = 0x80;
/// A frame that goes on with a message.
pub const CONTINUATION: u8 = 0x0;
/// A frame of text.
pub const TEXT: u8 = 0x1;
/// A frame of bytes.
pub const BINARY: u8 = 0x2;
/// A frame that ends the connection.
pub const CLOSE: u8 = 0x8;
/// A frame that asks for a pong.
pub const PING: u8 = 0x9;
/// A frame that answers a ping.
pub const PONG: u8 = 0xA;

/// An ordinary key to shake hands with (RFC 6455, section 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A connection that has shaken hands.
#[derive(Debug)]
pub struct RawSocket {
    /// What is below it.
    pub stream: TcpStream,
    seen: Vec<u8>,
    head: String,
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: [`FIN`] and the opcode.
    pub first: u8,
    /// What it carries.
    pub body: Vec<u8>,
}

impl Frame {
    /// The code and the reason, where it is a close frame that has them.
    pub fn close(&self) -> Option<(u16, String)> {
        let (code, reason) = self.body.split_first_chunk()?;
        let is_close = self.first == FIN | CLOSE;
        is_close.then(|| (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
    }
}

/// A frame as a client has to send it: masked, here with a key that changes every byte.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let key = [0xA5, 0x5A, 0x0F, 0xF1];
    let mut frame = header(first, body.len() as u64);
    frame.extend(key);
    frame.extend(body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The beginning of a frame, up to its mask's key, with a length that its body need not have.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..126 => header.push(0x80 | length as u8),
        126..=0xFFFF => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header
}

impl RawSocket {
    /// Shakes hands at `host:port` for this path, with more headers.
    ///
    /// # Errors
    /// Where there is no connection, or the answer is not 101.
    pub async fn open(address: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Self> {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
        );
        let socket = Self::ask(address, &request).await?;
        let accepted = socket.head.starts_with("HTTP/1.1 101 ");
        if accepted { Ok(socket) } else { Err(io::Error::other(socket.head)) }
    }

    /// Sends a request as it is to `host:port`, and reads the head of whatever is answered.
    ///
    /// # Errors
    /// Where there is no connection, or it ends before that.
    pub async fn ask(address: &str, request: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut socket = Self { stream, seen: Vec::new(), head: String::new() };
        let end = loop {
            let end = socket.seen.windows(4).position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None if socket.read().await? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
        };
        socket.head = String::from_utf8_lossy(&socket.seen.drain(..end).collect::<Vec<_>>()).into_owned();
        Ok(socket)
    }

    /// The head of the server's answer to the handshake.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Where the server has gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a text message in one frame.
    ///
    /// # Errors
    /// Where the server has gone.
    pub async fn text(&mut self, text: &str) -> io::Result<()> {
        self.send(&frame(FIN | TEXT, text.as_bytes())).await
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.seen).await
    }

    /// The frame at the beginning of what was read, if it is whole. A server masks nothing.
    fn take(&mut self) -> Option<Frame> {
        let (&first, rest) = self.seen.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (length, start) = match short {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let end = start + usize::try_from(length).ok()?;
        let body = self.seen.get(start..end)?.to_vec();
        self.seen.drain(..end);
        Some(Frame { first, body })
    }
}
