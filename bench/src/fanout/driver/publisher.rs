//! Publishes by HTTP on a schedule, whatever the server makes of it: requests go out on one connection when they are
//! due, without waiting for the answers before them, so that their order is kept and a slow server does not slow them.

use std::cell::Cell;
use std::rc::Rc;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinHandle;

use super::crowd::Schedule;
use super::marker;

/// The size of an event's `data`.
const DATA_BYTES: usize = 120;

/// Where and how events are published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outlet {
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    /// Whether what is sent is the whole envelope, for a server that hands on what it was given.
    pub(crate) whole: bool,
}

impl Outlet {
    fn request(&self, number: u32) -> String {
        let data = marker::data(number, DATA_BYTES);
        let body = if self.whole { envelope(number, &data) } else { format!(r#"{{"data":{data}}}"#) };
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{body}",
            self.path,
            self.address,
            body.len(),
            token.unwrap_or_default()
        )
    }
}

/// What the other servers make around the data, of the same size.
fn envelope(number: u32, data: &str) -> String {
    let event = json!({
        "id": format!("0192f1a4-7c55-7b3e-9a51-{number:012}"),
        "type": "message",
        "time": "2026-01-01T00:00:00.000000Z",
        "sequence": number,
        "cursor": format!("AQEBBCr1TQ{number:08}"),
    });
    let event = event.to_string();
    let fields = &event[..event.len() - 1];
    format!(r#"{{"id":"1","type":"next","payload":{{"data":{{"events":{fields},"data":{data}}}}}}}}}"#)
}

/// A connection on which events are published.
pub(super) struct Publisher {
    outlet: Outlet,
    stream: tokio::net::tcp::OwnedWriteHalf,
    answered: Rc<Cell<u32>>,
    answers: JoinHandle<Result<(), String>>,
    asked: u32,
}

impl Publisher {
    pub(super) async fn connect(outlet: &Outlet) -> Result<Self, String> {
        let stream = TcpStream::connect(&outlet.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (read, write) = stream.into_split();
        let answered = Rc::new(Cell::new(0));
        let answers = tokio::task::spawn_local(count_answers(read, answered.clone()));
        Ok(Self { outlet: outlet.clone(), stream: write, answered, answers, asked: 0 })
    }

    pub(super) async fn publish(&mut self, number: u32) -> Result<(), String> {
        self.asked += 1;
        let request = self.outlet.request(number);
        self.stream.write_all(request.as_bytes()).await.map_err(|error| format!("cannot publish: {error}"))
    }

    /// Publishes so many events, each when it is due, and waits for all answers.
    pub(super) async fn follow(mut self, schedule: Schedule, events: u32) -> Result<(), String> {
        for number in schedule.first..schedule.first + events {
            tokio::time::sleep_until(schedule.due(number).into()).await;
            self.publish(number).await?;
        }
        self.finish().await
    }

    /// Waits for the answers and closes the connection.
    pub(super) async fn finish(mut self) -> Result<(), String> {
        while self.answered.get() < self.asked {
            if self.answers.is_finished() {
                let ended = (&mut self.answers).await.map_err(|error| error.to_string())?;
                return ended.and(Err("the server closed the publisher's connection".to_owned()));
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        self.answers.abort();
        Ok(())
    }
}

/// Counts answers until the connection ends; one that is no success is an error.
async fn count_answers(mut stream: OwnedReadHalf, answered: Rc<Cell<u32>>) -> Result<(), String> {
    const START: &[u8] = b"HTTP/1.1 ";
    let finder = Finder::new(START);
    let mut buffer = Vec::with_capacity(16 << 10);
    while stream.read_buf(&mut buffer).await.map_err(|error| error.to_string())? > 0 {
        let mut from = 0;
        while let Some(at) = finder.find(&buffer[from..]) {
            let status = from + at + START.len();
            match buffer.get(status) {
                Some(b'2') => answered.set(answered.get() + 1),
                Some(_) => return Err(format!("refused: {}", String::from_utf8_lossy(&buffer[from + at..]))),
                None => break,
            }
            from = status;
        }
        let keep = buffer.len().saturating_sub(START.len()).max(from);
        buffer.drain(..keep);
    }
    Ok(())
}
