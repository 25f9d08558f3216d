//! HTTP itself: heads that are broken, oversized or of two minds, and odd targets.

use super::Arena;

/// Refusals of the library that reads HTTP, in the form of all others; the connection ends after each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_as_a_problem() {
    let mut arena = Arena::start().await;
    let tls = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[b'x'; 300][..]].concat();
    for bytes in [
        b"\0\0\0\0\r\n\r\n",
        &b"GET\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        "💥 / HTTP/1.1\r\nhost: x\r\n\r\n".as_bytes(),
        b"GET / HTTP/1.1\r\nhost: x\r\nna me: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nname : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nname: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n folded: x\r\n\r\n",
        &tls,
    ] {
        let mut raw = arena.connect().await;
        raw.exchange(bytes).await.assert_problem(400, "INVALID_REQUEST");
        assert_eq!(raw.ended().await, b"", "{}", String::from_utf8_lossy(bytes));
    }
    arena.still_well("bytes that are no request").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_bounds() {
    let mut arena = Arena::start().await;
    let many: Vec<String> = (0..10_000).map(|n| format!("x-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let large = format!("x: {}", "y".repeat(70_000));
    let endless = format!("x: {}", "y".repeat(10 << 20));
    let long = format!("GET /{}", "y".repeat(70_000));
    let rude = [
        (431, "TOO_LARGE", arena.head("GET /v1/nothing", &many)),
        (431, "TOO_LARGE", arena.head("GET /v1/nothing", &many[..100])),
        (431, "TOO_LARGE", arena.head("GET /v1/nothing", &[&large])),
        (431, "TOO_LARGE", arena.head("GET /v1/nothing", &[&endless])),
        (431, "TOO_LARGE", arena.head(&long, &[])),
        (404, "NOT_FOUND", arena.head("GET /v1/nothing", &many[..99])),
    ];
    for (status, code, head) in rude {
        let mut raw = arena.connect().await;
        raw.exchange(head).await.assert_problem(status, code);
    }
    arena.still_well("large heads").await;
}

/// A proxy before us may have read such a request in another way, and let somebody else's request follow where we see
/// the rest of its body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_two_things_at_once_is_not_believed() {
    let mut arena = Arena::start().await;
    let key = format!("authorization: Bearer {}", arena.tenant.key);
    let smuggled = arena.head("GET /v1/nothing", &[]);
    let (three, chunked) = ("content-length: 3", "transfer-encoding: chunked");
    for (status, fields) in [
        (400, [three, chunked]),
        (400, [chunked, three]),
        (400, [three, "Content-Length: 4"]),
        (400, ["content-length: 3, 3", ""]),
        (400, ["content-length: -3", ""]),
        (400, ["content-length: +3", ""]),
        (400, ["content-length: 99999999999999999999", ""]),
        (400, ["transfer-encoding: gzip", ""]),
        (501, ["transfer-encoding: gzip, chunked", ""]),
        (400, [three, "host: elsewhere"]),
        (400, [three, "host: user@elsewhere"]),
    ] {
        let fields: Vec<&str> =
            fields.into_iter().filter(|field| !field.is_empty()).chain([key.as_str()]).collect();
        let head = arena.head("POST /v1/events", &fields);
        let mut raw = arena.connect().await;
        raw.exchange(format!("{head}0\r\n\r\n{smuggled}")).await.assert_problem(status, "INVALID_REQUEST");
        assert_eq!(raw.ended().await, b"", "{fields:?}");
    }
    let mut raw = arena.connect().await;
    raw.exchange("GET /v1/nothing HTTP/1.1\r\n\r\n").await.assert_problem(400, "INVALID_REQUEST");
    let mut raw = arena.connect().await;
    raw.exchange("POST /v1/events HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        .await
        .assert_problem(400, "INVALID_REQUEST");
    arena.still_well("requests with two lengths").await;
}

/// Settings, as the protocol wants them first; then GOAWAY with the code for "speak HTTP/1.1" (13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_told_to_go_away_in_its_own_words() {
    let mut arena = Arena::start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // A flood of SETTINGS, which each want an answer.
    let flood = [&preface[..], &b"\0\0\0\x04\0\0\0\0\0".repeat(100_000)].concat();
    for bytes in [&preface[..], &flood] {
        for _ in 0..50 {
            let mut raw = arena.connect().await;
            let _may_be_cut_off = raw.send(bytes).await;
            let said = raw.ended().await;
            let (settings, goaway) = said.split_at(9);
            assert_eq!(settings, b"\0\0\0\x04\0\0\0\0\0");
            assert_eq!(goaway[..17], *b"\0\0\x1e\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d");
            assert_eq!(goaway[17..], *b"Nuncio speaks HTTP/1.1");
        }
    }
    arena.still_well("HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_targets_reach_nothing() {
    let mut arena = Arena::start().await;
    for (status, code, target) in [
        (400, "INVALID_PATTERN", "/v1/channels/a%00b/events"),
        (400, "INVALID_PATTERN", "/v1/channels/%2e%2e/events"),
        (400, "INVALID_PATTERN", "/v1/channels/../events"),
        (400, "INVALID_PATTERN", "/v1/channels/..%2f..%2fadmin/events"),
        (400, "INVALID_PATTERN", "/v1/channels/%E2%80%AEa/events"),
        (400, "INVALID_PATTERN", "/v1/channels//events"),
        (400, "INVALID_PATTERN", "/v1/channels/a;b/events"),
        (400, "INVALID_PATTERN", "/v1/channels/a\\b/events"),
        (400, "INVALID_PATTERN", "/v1/stream?channel=%00"),
        (400, "INVALID_PATTERN", "/v1/stream?channel=a&channel=%ff"),
        (400, "INVALID_REQUEST", "/v1/channels/%ff/events"),
        (400, "CURSOR_INVALID", "/v1/channels/a/events?after=%00"),
        (404, "NOT_FOUND", "//v1//events"),
        (404, "NOT_FOUND", "/v1/events/"),
        (404, "NOT_FOUND", "/V1/events"),
        (404, "NOT_FOUND", "/admin/../v1/stream"),
        (404, "NOT_FOUND", "/admin/docs/..%2f..%2f..%2fetc/passwd"),
        (404, "NOT_FOUND", "/admin/docs/../../../etc/passwd"),
        (404, "NOT_FOUND", "*"),
        (404, "NOT_FOUND", "http://elsewhere.example/v1/nothing"),
    ] {
        let mut raw = arena.connect().await;
        let request = arena.request(&format!("GET {target}"), &[], b"");
        raw.exchange(request).await.assert_problem(status, code);
    }
    // The absolute form that proxies use is as good as any other; the host in it decides nothing.
    let mut raw = arena.connect().await;
    let absolute = arena.request("GET http://elsewhere.example/v1/channels/a/events", &[], b"");
    assert_eq!(raw.exchange(absolute).await.status, 200);
    let mut raw = arena.connect().await;
    raw.exchange(arena.head("CONNECT elsewhere.example:443", &[])).await.assert_problem(404, "NOT_FOUND");
    arena.still_well("odd targets").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_not_taken_is_answered_with_those_that_are() {
    let mut arena = Arena::start().await;
    let mut raw = arena.connect().await;
    for target in crate::surface::targets() {
        for method in ["TRACE", "CONNECT", "BREW", "get", &"M".repeat(3_000)] {
            let answer = raw.exchange(arena.request(&format!("{method} {target}"), &[], b"")).await;
            // GraphQL refuses in its own form.
            assert_eq!(answer.status, 405, "{method} {target}: {answer:?}");
            assert!(answer.header("allow").is_some_and(|allow| !allow.is_empty()), "{method} {target}");
        }
    }
    arena.still_well("methods that are not taken").await;
}
