//! Slow heads, slow bodies, slow readers: each ends in bounded time.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::interval;

use super::Arena;
use super::raw::{Answer, Raw};
use crate::program::within;

/// `NUNCIO_REQUEST_SECONDS`, `NUNCIO_IDLE_SECONDS` and `NUNCIO_STALLED_SECONDS` of these nodes.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much longer it may take, on a machine that is busy.
const LENIENCE: Duration = Duration::from_secs(15);

async fn arena() -> Arena {
    let seconds = PATIENCE.as_secs().to_string();
    let keys = ["NUNCIO_REQUEST_SECONDS", "NUNCIO_IDLE_SECONDS", "NUNCIO_STALLED_SECONDS"];
    Arena::start_with(&keys.map(|key| (key, seconds.as_str()))).await
}

/// Sends a byte now and then until the peer has had enough, and gives its last word.
async fn drip(raw: &mut Raw, bytes: &[u8]) -> (Option<Answer>, Duration) {
    let (started, mut pause) = (Instant::now(), interval(Duration::from_millis(200)));
    for byte in bytes.iter().cycle() {
        pause.tick().await;
        // Once the peer has closed its side there is something to read, and soon nothing is taken any more.
        if raw.send([*byte]).await.is_err() || started.elapsed() > PATIENCE + LENIENCE {
            break;
        }
    }
    (raw.answer_or_end().await, started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_to_an_end() {
    let mut arena = arena().await;
    let mut raw = arena.connect().await;
    raw.send("GET /v1/nothing HTTP/1.1\r\nx: ").await.expect("taken");
    let (answer, took) = drip(&mut raw, b"y").await;
    answer.expect("a word").assert_problem(408, "INVALID_REQUEST");
    assert!(took >= PATIENCE && took < PATIENCE + LENIENCE, "{took:?}");
    // Who says nothing at all is told nothing, whether it is new or has been served before.
    for served in [false, true] {
        let mut raw = arena.connect().await;
        if served {
            raw.exchange(arena.head("GET /v1/nothing", &[])).await.assert_problem(404, "NOT_FOUND");
        }
        let started = Instant::now();
        assert_eq!(raw.ended().await, b"");
        let took = started.elapsed();
        assert!(took < PATIENCE + LENIENCE && took > PATIENCE / 2, "{took:?}");
    }
    arena.still_well("slow heads").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_forward() {
    let mut arena = arena().await;
    for (line, key) in [
        ("POST /v1/events", &arena.tenant.key),
        ("POST /graphql", &arena.tenant.key),
        ("POST /admin/v1/projects", &crate::place::ADMIN_KEY.to_owned()),
    ] {
        let key = format!("authorization: Bearer {key}");
        let mut raw = arena.connect().await;
        let head = arena.head(line, &[&key, "content-length: 100000", "content-type: application/json"]);
        raw.send(head).await.expect("taken");
        let (answer, took) = drip(&mut raw, b" ").await;
        assert_eq!(answer.expect("a word").status, 408, "{line}");
        assert!(took >= PATIENCE && took < PATIENCE + LENIENCE, "{took:?}");
    }
    // A large one that comes forward may take its time.
    let event = json!({ "channel": "orders.eu", "data": "x".repeat(100_000) }).to_string();
    let whole = arena.request("POST /v1/events", &[], event.as_bytes());
    let mut raw = arena.connect().await;
    let (started, mut pause) = (Instant::now(), interval(Duration::from_millis(700)));
    for piece in whole.chunks(whole.len() / 5) {
        pause.tick().await;
        raw.send(piece).await.expect("taken");
    }
    assert_eq!(raw.answer().await.status, 201);
    assert!(started.elapsed() > PATIENCE, "{:?}", started.elapsed());
    arena.still_well("slow bodies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_taken() {
    let mut arena = arena().await;
    let data = "x".repeat(100_000);
    let events: Vec<_> = (0..100).map(|n| json!({ "id": n.to_string(), "data": data })).collect();
    let body = serde_json::to_vec(&events).expect("JSON");
    let mut raw = arena.connect().await;
    let publish = arena.request("POST /v1/channels/orders.eu/events", &[], &body);
    assert_eq!(raw.exchange(publish).await.status, 201);
    let history = arena.request("GET /v1/channels/orders.eu/events?first=100", &[], b"");
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut raw = arena.connect().await;
        raw.send(&history).await.expect("taken");
        readers.push(raw);
    }
    let metric = "nuncio_stalled_connections_total";
    within("all of them to be cut", arena.until_metric(metric, 20.0)).await;
    for reader in &mut readers {
        let seen = reader.ended().await.len();
        assert!(seen < body.len() / 2, "{seen} bytes were kept for a reader that took none");
    }
    arena.still_well("answers that are not taken").await;
}
