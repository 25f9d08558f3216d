//! A connection on which anything can be sent, and what comes back on it.

use std::io;
use std::net::IpAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::leaks::Leaks;
use crate::program::within;

/// A TCP connection to the node.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    /// What has come and was not part of an answer yet.
    pub(crate) seen: Vec<u8>,
    leaks: Leaks,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(super) async fn connect(address: &str, leaks: Leaks) -> Self {
        let socket = TcpStream::connect(address).await.expect("the node listens");
        Self { socket, seen: Vec::new(), leaks }
    }

    pub(super) async fn connect_from(from: &str, address: &str, leaks: Leaks) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from: IpAddr = from.parse().expect("an address");
        socket.bind((from, 0).into()).expect("an address of this machine");
        let socket = socket.connect(address.parse().expect("an address")).await.expect("the node listens");
        Self { socket, seen: Vec::new(), leaks }
    }

    /// Sends all of it, or as much as is taken: whoever is refused may be cut off in the middle.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("bytes to be taken", self.socket.write_all(bytes.as_ref())).await
    }

    /// Sends, reading meanwhile, so that a refusal in the middle is not lost, and gives the answer.
    pub(crate) async fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        let (mut reading, mut writing) = self.socket.split();
        let seen = &mut self.seen;
        let read = async {
            while Answer::parse(seen, false).is_none() {
                if reading.read_buf(seen).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        let write = async {
            let _may_be_cut_off = writing.write_all(bytes.as_ref()).await;
            std::future::pending::<()>().await;
        };
        within("an answer", async {
            tokio::select! { () = read => {}, () = write => {} }
        })
        .await;
        self.answer().await
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = self.answer_or_end().await;
        answer
            .unwrap_or_else(|| panic!("the end without an answer: {:?}", String::from_utf8_lossy(&self.seen)))
    }

    /// The next answer, or nothing where the connection ends without one.
    pub(crate) async fn answer_or_end(&mut self) -> Option<Answer> {
        let mut ended = false;
        let (answer, length) = loop {
            if let Some(whole) = Answer::parse(&self.seen, ended) {
                break whole;
            }
            if ended {
                return None;
            }
            let read = within("an answer or the end", self.socket.read_buf(&mut self.seen)).await;
            ended = read.unwrap_or(0) == 0;
        };
        self.seen.drain(..length);
        self.leaks.assert_clean(&answer.head);
        self.leaks.assert_clean(&String::from_utf8_lossy(&answer.body));
        Some(answer)
    }

    /// Waits for the end of the connection and gives what came before it.
    pub(crate) async fn ended(&mut self) -> Vec<u8> {
        // A reset is an end too.
        let _reset = within("the end of a connection", self.socket.read_to_end(&mut self.seen)).await;
        self.leaks.assert_clean(&String::from_utf8_lossy(&self.seen));
        std::mem::take(&mut self.seen)
    }
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (this, value) = line.split_once(':')?;
            this.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Checks that it is a problem in Nuncio's form.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?} {}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    }

    /// The first answer in these bytes and its length, once it is whole.
    fn parse(bytes: &[u8], ended: bool) -> Option<(Self, usize)> {
        let start = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer =
            Self { status: status.unwrap_or_else(|| panic!("no answer: {head}")), head, body: Vec::new() };
        let rest = &bytes[start..];
        let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let taken = match (length, answer.header("transfer-encoding")) {
            _ if answer.status < 200 || matches!(answer.status, 204 | 304) => 0,
            (Some(length), _) => {
                rest.get(..length).map(|body| answer.body = body.to_vec()).map(|()| length)?
            }
            (None, Some(_)) => answer.take_chunks(rest)?,
            (None, None) if ended => {
                answer.body = rest.to_vec();
                rest.len()
            }
            (None, None) => return None,
        };
        Some((answer, start + taken))
    }

    /// Reads a chunked body, and gives its length once its end is there.
    fn take_chunks(&mut self, rest: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let line = rest[at..].windows(2).position(|window| window == b"\r\n")?;
            let size = std::str::from_utf8(&rest[at..at + line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let from = at + line + 2;
            self.body.extend_from_slice(rest.get(from..from + size)?);
            at = from + size + 2;
            if size == 0 {
                return (rest.len() >= at).then_some(at);
            }
        }
    }
}
