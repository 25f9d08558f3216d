//! HTTP itself: broken, slow and oversized requests, odd targets and made-up parameters.

use super::Arena;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_request_are_refused() {
    let mut arena = Arena::start().await;
    for bytes in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "💥 / HTTP/1.1\r\nhost: x\r\n\r\n"]
    {
        let mut raw = arena.connect().await;
        let answer = raw.exchange(bytes).await;
        assert_eq!(answer.status, 400, "{bytes:?}");
        assert_eq!(raw.ended().await, b"", "{bytes:?}");
    }
    let mut raw = arena.connect().await;
    let unknown = arena.request("GET /v1/nothing", &[], b"");
    raw.exchange(unknown).await.assert_problem(404, "NOT_FOUND");
    arena.still_well("bytes that are no request").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_end_are_cut_off_at_the_limit() {
    let mut arena = Arena::start_with(&[("NUNCIO_MAX_BODY_BYTES", "1048576")]).await;
    arena.memory.allow(64, 64);
    let key = format!("authorization: Bearer {}", arena.tenant.key);
    let head = arena.head("POST /v1/events", &[&key, "transfer-encoding: chunked"]);
    for _ in 0..8 {
        let mut raw = arena.connect().await;
        raw.send(&head).await.expect("a head is taken");
        let chunks = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(1_000);
        raw.exchange(chunks).await.assert_problem(413, "TOO_LARGE");
    }
    arena.still_well("bodies without end").await;
}
