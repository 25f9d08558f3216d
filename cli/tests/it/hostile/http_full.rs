//! More connections than there may be: each client is told in its own way to come back later, and a flood is cut off.

use std::time::Instant;

use super::raw::Raw;
use super::{AT_ONCE, Arena};
use crate::program::eventually;

/// `NUNCIO_MAX_CONNECTIONS_PER_ADDRESS` of these nodes.
const SHARE: usize = 30;
/// Where the abuser comes from.
const ABUSER: &str = "127.0.0.2";

const SOCKET: [&str; 5] = [
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol: graphql-transport-ws",
];

/// Takes all the seats of an address.
async fn take_all(arena: &Arena) -> Vec<Raw> {
    let mut taken = Vec::new();
    for _ in 0..SHARE {
        let mut raw = arena.connect_from(ABUSER).await;
        raw.exchange(arena.head("GET /v1/nothing", &[])).await.assert_problem(404, "NOT_FOUND");
        taken.push(raw);
    }
    taken
}

/// What a WebSocket is told: the handshake goes well, as only then its code is seen.
async fn told_by_socket(arena: &Arena, from: &str) {
    let mut raw = arena.connect_from(from).await;
    raw.send(arena.head("GET /graphql", &SOCKET)).await.expect("taken");
    let answer = raw.answer().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("graphql-transport-ws"));
    let said = raw.ended().await;
    assert_eq!((said[0], &said[2..4]), (0x88, &1013_u16.to_be_bytes()[..]), "{said:?}");
    assert_eq!(&said[4..], b"Overloaded: try again later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_too_many_connections_is_told_to_come_back() {
    let share = SHARE.to_string();
    let mut arena = Arena::start_with(&[("NUNCIO_MAX_CONNECTIONS_PER_ADDRESS", &share)]).await;
    let taken = take_all(&arena).await;

    let mut raw = arena.connect_from(ABUSER).await;
    // Whoever the client says it comes for does not count: nobody here is known as a proxy.
    let answer =
        raw.exchange(arena.request("GET /v1/channels/a/events", &["x-forwarded-for: 10.1.2.3"], b"")).await;
    answer.assert_problem(429, "RATE_LIMITED");
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
    assert_eq!(raw.ended().await, b"");

    let mut raw = arena.connect_from(ABUSER).await;
    let answer =
        raw.exchange(arena.request("GET /v1/stream?channel=a", &["accept: text/event-stream"], b"")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let body = String::from_utf8(answer.body).expect("text");
    assert_eq!(body, "retry: 5000\nevent: nuncio.goaway\ndata: {\"reason\":\"OVERLOADED\"}\n\n");

    told_by_socket(&arena, ABUSER).await;
    // Somebody else is served meanwhile.
    arena.still_well("too many connections").await;
    drop(taken);
    eventually("a seat to be free again", async || {
        let mut raw = arena.connect_from(ABUSER).await;
        raw.exchange(arena.head("GET /v1/nothing", &[])).await.status == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_says_so_to_all() {
    let place = crate::place::Place::new().await;
    let mut command = place.nuncio();
    command.arg("api").env("NUNCIO_MAX_CONNECTIONS", "2");
    let node = crate::node::Node::start("nuncio api", command).await;
    let leaks = super::Leaks::new(&place, &[]);
    let address = node.api.url.trim_start_matches("http://");
    let request = format!("GET /v1/nothing HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut seated = Vec::new();
    for from in ["127.0.0.3", "127.0.0.4"] {
        let mut raw = Raw::connect_from(from, address, leaks.clone()).await;
        raw.exchange(&request).await.assert_problem(404, "NOT_FOUND");
        seated.push(raw);
    }
    let mut raw = Raw::connect_from("127.0.0.5", address, leaks.clone()).await;
    let answer = raw.exchange(&request).await;
    answer.assert_problem(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    // Those who have a seat keep it.
    seated[0].exchange(&request).await.assert_problem(404, "NOT_FOUND");
}

/// A thousand connections that say nothing, beyond all that there may be: some wait for a moment to be told, the others
/// are cut off at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_is_cut_off() {
    let share = SHARE.to_string();
    let mut arena = Arena::start_with(&[("NUNCIO_MAX_CONNECTIONS_PER_ADDRESS", &share)]).await;
    let _taken = take_all(&arena).await;
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        flood.push(arena.connect_from(ABUSER).await);
    }
    arena.still_well("a flood of connections").await;
    let started = Instant::now();
    let mut cut_at_once = 0;
    for raw in flood.iter_mut().rev() {
        assert_eq!(raw.ended().await, b"");
        cut_at_once += usize::from(started.elapsed() < AT_ONCE);
    }
    assert!(cut_at_once > 800, "only {cut_at_once} were cut off at once");
    told_by_socket(&arena, ABUSER).await;
    arena.still_well("the end of a flood").await;
}
