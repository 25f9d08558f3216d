//! Event streams as they are on the socket: what goes around the events, and readers that are slow, rude or gone.

use std::time::Duration;

use nuncio_api::ApiSettings;
use nuncio_model::Channel;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::{Node, SOON, Tenant};

const ORDERS: &str = "/v1/channels/orders/events";

/// A stream read byte by byte.
struct Raw {
    socket: TcpStream,
    seen: Vec<u8>,
}

impl Raw {
    async fn open(node: &Node, tenant: &Tenant, version: &str) -> Self {
        let mut socket = TcpStream::connect(&node.address).await.expect("the node listens");
        let head = format!(
            "GET {ORDERS} {version}\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {}\r\n\r\n",
            tenant.key
        );
        socket.write_all(head.as_bytes()).await.expect("it is open");
        Self { socket, seen: Vec::new() }
    }

    /// Reads until that text has come.
    async fn until(&mut self, text: &str) {
        let mut looked = 0;
        while !self.seen[looked..].windows(text.len()).any(|window| window == text.as_bytes()) {
            looked = self.seen.len().saturating_sub(text.len());
            let read = timeout(SOON, self.socket.read_buf(&mut self.seen)).await.expect("bytes in time");
            assert!(read.expect("it is open") > 0, "the end before {text}");
        }
    }

    /// Reads until the large event of this number has begun.
    async fn until_number(&mut self, n: usize) {
        self.until(&format!("\"n\":{n},")).await;
    }

    /// What has come, as text.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.seen).expect("text")
    }

    /// All that is left.
    async fn end(mut self) -> String {
        timeout(SOON, self.socket.read_to_end(&mut self.seen))
            .await
            .expect("the end in time")
            .expect("no reset");
        String::from_utf8(self.seen).expect("text")
    }
}

/// The frames of events, as they were written.
fn events(body: &str) -> Vec<&str> {
    body.split_inclusive("\n\n")
        .filter(|frame| frame.contains("\ndata: {") && !frame.contains("event: "))
        .collect()
}

/// Publishes events of some kilobytes, numbered.
async fn publish_large(node: &Node, tenant: &Tenant, numbers: std::ops::Range<usize>) {
    let padding = "x".repeat(8_000);
    let events: Vec<Value> = numbers.map(|n| json!({ "data": { "n": n, "padding": padding } })).collect();
    node.post(ORDERS, &tenant.key, &events.into()).await.expect(201);
}

#[tokio::test]
async fn all_streams_of_a_kind_are_given_the_same_bytes() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let project = node.project(&tenant.name).id;
    let mut streams = Vec::new();
    for count in 1..=3 {
        streams.push(Raw::open(&node, &tenant, "HTTP/1.1").await);
        node.until_listeners(project, "orders", count).await;
    }
    let cursors = node.publish(&tenant, "orders", 0..20).await;
    let last = format!("id: {}\n", cursors[19]);
    let mut bodies = Vec::new();
    for stream in &mut streams {
        stream.until(&last).await;
        bodies.push(stream.text().to_owned());
    }
    node.app.drain.cancel();
    for (stream, body) in streams.into_iter().zip(&bodies) {
        assert_eq!(events(body)[..19], events(&bodies[0])[..19]);
        let all = stream.end().await;
        assert!(all.contains("connection: close\r\n") && all.contains("\"reason\":\"DRAINING\""), "{all}");
        assert!(all.ends_with("\n\n\r\n0\r\n\r\n"), "{all}");
    }
}

/// Many proxies ask in HTTP/1.0, which knows no chunks.
#[tokio::test]
async fn an_old_client_is_given_the_events_with_nothing_around_them() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let mut old = Raw::open(&node, &tenant, "HTTP/1.0").await;
    old.until("nuncio.ready").await;
    node.publish(&tenant, "orders", 0..1).await;
    old.until("\"data\":0").await;
    node.app.drain.cancel();
    let all = old.end().await;
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n") && !all.contains("transfer-encoding"), "{all}");
    let (_, body) = all.split_once("\r\n\r\n").expect("a head");
    assert!(body.starts_with(":\nretry: 2000\n\nid: ") && !body.contains('\r'), "{body}");
    assert!(body.ends_with("\"reason\":\"DRAINING\"}\n\n"), "{body}");
}

#[tokio::test]
async fn whoever_asks_for_the_head_alone_opens_no_stream() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    for _ in 0..2 {
        let request = node.request(Method::HEAD, ORDERS, &tenant.key).header("accept", "text/event-stream");
        let answer = request.send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
            (200, &b"text/event-stream"[..])
        );
        assert_eq!(answer.text().await.expect("a body"), "");
    }
    let channel = Channel::parse("orders").expect("a good channel");
    assert_eq!(node.app.feeds.listeners(node.project(&tenant.name).id, &channel), 0);
}

#[tokio::test]
async fn a_reader_that_leaves_is_missed_at_once_and_what_one_sends_does_no_harm() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let project = node.project(&tenant.name).id;
    let mut stays = Raw::open(&node, &tenant, "HTTP/1.1").await;
    let leaves = Raw::open(&node, &tenant, "HTTP/1.1").await;
    node.until_listeners(project, "orders", 2).await;
    stays.socket.write_all(&[b'x'; 100_000]).await.expect("it is open");
    drop(leaves);
    node.until_listeners(project, "orders", 1).await;
    node.publish(&tenant, "orders", 0..1).await;
    stays.until("\"data\":0").await;
}

#[tokio::test]
async fn a_reader_that_pauses_is_given_everything_when_it_goes_on() {
    const EVENTS: usize = 2_000;
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let mut paused = Raw::open(&node, &tenant, "HTTP/1.1").await;
    let mut quick = Raw::open(&node, &tenant, "HTTP/1.1").await;
    paused.until("nuncio.ready").await;
    quick.until("nuncio.ready").await;
    for first in (0..EVENTS).step_by(100) {
        publish_large(&node, &tenant, first..first + 100).await;
        quick.seen.clear();
        quick.until_number(first + 99).await;
    }
    paused.until_number(EVENTS - 1).await;
    let body = paused.text();
    let mut place = 0;
    for n in 0..EVENTS {
        let text = format!("\"n\":{n},");
        place += body[place..].find(&text).unwrap_or_else(|| panic!("{n} is missing")) + text.len();
    }
    assert_eq!(body.matches("\"n\":").count(), EVENTS);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_left_and_one_that_reads_is_not() {
    let settings = ApiSettings { stalled: Duration::from_secs(1), ..ApiSettings::default() };
    let node = Node::start_with(settings).await;
    let tenant = node.tenant("shop").await;
    let project = node.project(&tenant.name).id;
    let mut reads = Raw::open(&node, &tenant, "HTTP/1.1").await;
    let _takes_nothing = Raw::open(&node, &tenant, "HTTP/1.1").await;
    node.until_listeners(project, "orders", 2).await;
    let publish = async {
        for first in (0..).step_by(100) {
            publish_large(&node, &tenant, first..first + 100).await;
            reads.seen.clear();
            reads.until_number(first + 99).await;
        }
    };
    tokio::select! {
        () = publish => {}
        () = node.until_listeners(project, "orders", 1) => {}
    }
}
