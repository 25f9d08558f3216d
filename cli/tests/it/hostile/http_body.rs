//! Bodies: too large, badly cut into chunks, and of people who may not send any.

use super::Arena;
use crate::surface::targets;

/// `NUNCIO_MAX_BODY_BYTES` of these nodes.
const LIMIT: usize = 1 << 20;

async fn arena() -> Arena {
    let mut arena = Arena::start_with(&[("NUNCIO_MAX_BODY_BYTES", &LIMIT.to_string())]).await;
    arena.memory.allow(64, 64);
    arena
}

/// Chunks of 64 KiB, so many of them, without an end.
fn chunks(count: usize) -> String {
    format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(count)
}

/// Where a body is taken at all.
fn taking_bodies() -> [String; 5] {
    let admin = "/admin/v1/projects";
    [
        "POST /v1/events".to_owned(),
        "POST /v1/channels/orders.eu/events".to_owned(),
        "POST /graphql".to_owned(),
        format!("POST {admin}"),
        format!("PATCH {admin}/abused"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_on_every_route_and_for_bodies_of_unknown_length() {
    let mut arena = arena().await;
    for route in taking_bodies() {
        let key = if route.contains("/admin/") { crate::place::ADMIN_KEY } else { &arena.tenant.key };
        let key = format!("authorization: Bearer {key}");
        let known = format!("content-length: {}", LIMIT + 1);
        for (length, body) in [
            (known.as_str(), " ".repeat(LIMIT + 1)),
            ("content-length: 9000000000000000000", chunks(200)),
            ("transfer-encoding: chunked", chunks(200)),
        ] {
            let head = arena.head(&route, &[&key, length, "content-type: application/json"]);
            let mut raw = arena.connect().await;
            let answer = raw.exchange(head + &body).await;
            assert_eq!(answer.status, 413, "{route} {length}: {answer:?}");
            assert!(
                String::from_utf8_lossy(&answer.body).contains("TOO_LARGE"),
                "{route} {length}: {answer:?}"
            );
        }
    }
    arena.still_well("bodies over the limit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_none_are_told() {
    let mut arena = arena().await;
    let key = format!("authorization: Bearer {}", arena.tenant.key);
    let head = arena.head("POST /v1/events", &[&key, "transfer-encoding: chunked"]);
    for chunks in [
        "zz\r\n",
        "-1\r\n",
        "\r\n",
        "FFFFFFFFFFFFFFFFFF\r\n",
        "5\r\nhello!!0\r\n\r\n",
        &format!("5;{}\r\n", "x".repeat(100_000)),
        &format!("0\r\n{}\r\n", "x: y\r\n".repeat(10_000)),
    ] {
        let mut raw = arena.connect().await;
        let answer = raw.exchange(format!("{head}{chunks}")).await;
        answer.assert_problem(400, "INVALID_REQUEST");
        assert_eq!(raw.ended().await, b"", "{chunks:.20}");
    }
    arena.still_well("bad chunks").await;
}

/// Whoever is nobody is told so before a byte of the body is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_of_those_who_may_not_send() {
    let mut arena = arena().await;
    for target in targets() {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let line = format!("{method} {target}");
            // It waits to be asked for its body, as large bodies should.
            let length = format!("content-length: {LIMIT}");
            let fields = ["expect: 100-continue", "content-type: application/json", &length];
            let mut raw = arena.connect().await;
            raw.send(arena.head(&line, &fields)).await.expect("taken");
            let answer = raw.answer().await;
            assert!(matches!(answer.status, 401 | 405), "{line}: {answer:?}");
            // And one that does not wait, with a body in which there is no end of brackets.
            let fields = ["transfer-encoding: chunked", "content-type: application/json"];
            let body = format!("10000\r\n{}\r\n", "[".repeat(0x10000)).repeat(100);
            let mut raw = arena.connect().await;
            let answer = raw.exchange(arena.head(&line, &fields) + &body).await;
            assert!(matches!(answer.status, 401 | 405), "{line}: {answer:?}");
        }
    }
    arena.still_well("bodies of strangers").await;
}
