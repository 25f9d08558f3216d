//! A client of event streams that reads them as the HTML standard has it.

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::node::{SOON, Site};

/// A stream as the HTML standard reads it.
pub(crate) struct Source {
    response: Response,
    buffer: String,
    /// What EventSource would send as `Last-Event-ID`.
    pub(crate) last_id: String,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Source {
    pub(crate) async fn open(node: &Site, path: &str, key: &str, last_id: &str) -> Self {
        let request = node.request(Method::GET, path, key).header("accept", "text/event-stream");
        let request = if last_id.is_empty() { request } else { request.header("last-event-id", last_id) };
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new(), last_id: last_id.to_owned() }
    }

    /// The next block of lines; none at the end of the stream, whether it was ended or cut.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                    self.last_id = id.to_owned();
                }
                return Some(block);
            }
            let chunk = timeout(SOON, self.response.chunk()).await.expect("bytes in time").ok().flatten()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("frames end where chunks end"));
        }
    }

    /// The next message that EventSource would dispatch.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let block = self.block().await?;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(data) = field("data: ") {
                let name = field("event: ").unwrap_or_else(|| "message".to_owned());
                return Some(Message { name, data: serde_json::from_str(&data).expect("JSON") });
            }
        }
    }

    pub(crate) async fn expect(&mut self, name: &str) -> Value {
        let message = self.next().await.expect("the stream goes on");
        assert_eq!(message.name, name, "{message:?}");
        message.data
    }

    /// The numbers of the next events.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.expect("message").await["data"].as_i64().expect("a number"));
        }
        numbers
    }
}
