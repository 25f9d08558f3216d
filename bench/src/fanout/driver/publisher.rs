//! Publishes by HTTP on a schedule, whatever the server makes of it: requests go out on one connection when they are
//! due, without waiting for the answers before them, so that their order is kept and a slow server does not slow them.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::crowd::Schedule;
use super::marker;

/// How many requests may be without an answer where events are batched: one that is worked on, one that is next.
const WINDOW: u32 = 1;
/// How many events a request may hold.
const LARGEST_BATCH: u32 = 500;
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
    /// Whether a request may hold an array of events, for a server that stores what it takes in: where one commit
    /// takes longer than the next event, those that are due go together, as any client that publishes much would send
    /// them. What is measured is fanning out, not committing one by one.
    pub(crate) batches: bool,
}

impl Outlet {
    fn request(&self, numbers: Range<u32>) -> String {
        let one = numbers.len() == 1;
        let events = numbers.map(|number| {
            let data = marker::data(number, DATA_BYTES);
            if self.whole { envelope(number, &data) } else { format!(r#"{{"data":{data}}}"#) }
        });
        let body = events.collect::<Vec<_>>().join(",");
        let body = if one { body } else { format!("[{body}]") };
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
    stream: OwnedWriteHalf,
    answers: Rc<Answers>,
    reading: JoinHandle<()>,
    asked: u32,
}

/// What came back.
#[derive(Default)]
struct Answers {
    count: Cell<u32>,
    /// Why no more will come.
    ended: RefCell<Option<String>>,
    changed: Notify,
}

impl Publisher {
    pub(super) async fn connect(outlet: &Outlet) -> Result<Self, String> {
        let stream = TcpStream::connect(&outlet.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (read, stream) = stream.into_split();
        let answers = Rc::new(Answers::default());
        let reading = tokio::task::spawn_local(read_answers(read, answers.clone()));
        Ok(Self { outlet: outlet.clone(), stream, answers, reading, asked: 0 })
    }

    /// Sends one request with these events.
    pub(super) async fn publish(&mut self, numbers: Range<u32>) -> Result<(), String> {
        self.asked += 1;
        let request = self.outlet.request(numbers);
        self.stream.write_all(request.as_bytes()).await.map_err(|error| format!("cannot publish: {error}"))
    }

    /// Publishes so many events, each when it is due, and waits for all answers.
    pub(super) async fn follow(mut self, schedule: Schedule, events: u32) -> Result<(), String> {
        let (mut next, end) = (schedule.first, schedule.first + events);
        while next < end {
            tokio::time::sleep_until(schedule.due(next).into()).await;
            let mut until = next + 1;
            if self.outlet.batches {
                self.wait_for_answers(WINDOW).await?;
                let now = Instant::now();
                while until < end && until - next < LARGEST_BATCH && schedule.due(until) <= now {
                    until += 1;
                }
            }
            self.publish(next..until).await?;
            next = until;
        }
        self.finish().await
    }

    /// Waits for all answers and closes the connection.
    pub(super) async fn finish(self) -> Result<(), String> {
        self.wait_for_answers(0).await?;
        self.reading.abort();
        Ok(())
    }

    /// Waits until no more requests than this are without an answer.
    async fn wait_for_answers(&self, open: u32) -> Result<(), String> {
        while self.asked - self.answers.count.get() > open {
            if let Some(why) = self.answers.ended.take() {
                return Err(why);
            }
            self.answers.changed.notified().await;
        }
        Ok(())
    }
}

async fn read_answers(stream: OwnedReadHalf, answers: Rc<Answers>) {
    let Err(why) = count_answers(stream, &answers).await;
    answers.ended.replace(Some(why));
    answers.changed.notify_one();
}

/// Counts answers until the connection ends, or one is no success.
async fn count_answers(mut stream: OwnedReadHalf, answers: &Answers) -> Result<Infallible, String> {
    const START: &[u8] = b"HTTP/1.1 ";
    let finder = Finder::new(START);
    let mut buffer = Vec::with_capacity(16 << 10);
    while stream.read_buf(&mut buffer).await.map_err(|error| error.to_string())? > 0 {
        let mut from = 0;
        while let Some(at) = finder.find(&buffer[from..]) {
            let status = from + at + START.len();
            match buffer.get(status) {
                Some(b'2') => answers.count.set(answers.count.get() + 1),
                Some(_) => return Err(format!("refused: {}", String::from_utf8_lossy(&buffer[from + at..]))),
                None => break,
            }
            from = status;
        }
        // What may be the beginning of the next answer is kept.
        let keep = buffer.len().saturating_sub(START.len()).max(from);
        buffer.drain(..keep);
        answers.changed.notify_one();
    }
    Err("the server closed the publisher's connection".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(whole: bool, numbers: Range<u32>) -> serde_json::Value {
        let (address, path) = ("127.0.0.1:1".to_owned(), "/publish".to_owned());
        let outlet = Outlet { address, path, token: Some("secret".to_owned()), whole, batches: true };
        let request = outlet.request(numbers);
        let (head, body) = request.split_once("\r\n\r\n").expect("a request has a head");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        serde_json::from_str(body).expect("a body is JSON")
    }

    #[test]
    fn one_event_goes_alone_and_several_as_an_array() {
        assert_eq!(body(false, 7..8)["data"]["n"], "@@00000007@@");
        assert_eq!(body(false, 7..9)[1]["data"]["n"], "@@00000008@@");
    }

    #[test]
    fn an_envelope_is_as_large_as_what_others_make() {
        let envelope = body(true, 7..8);
        assert_eq!(envelope["payload"]["data"]["events"]["data"]["n"], "@@00000007@@");
        assert!((290..340).contains(&envelope.to_string().len()), "{envelope}");
    }
}
