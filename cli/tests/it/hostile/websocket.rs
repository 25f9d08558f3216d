//! WebSockets: greetings that do not come, floods, ids, frames that are none, and readers that take nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nuncio_devstack::testkit::websocket::{BINARY, CONTINUATION, FIN, PING, TEXT, frame, header};
use reqwest::Method;
use serde_json::json;

use super::Arena;
use super::socket::BOTH;

const LIVE: &str = "subscription { events(channel: \"a\") { sequence } }";
const MEBIBYTE: usize = 1 << 20;
/// How many operations a connection may have.
const OPERATIONS: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greetings_that_do_not_come_in_time_are_not_waited_for() {
    let mut arena = Arena::start().await;
    let begin = Instant::now();
    let silent = async |n: usize| {
        let mut socket = arena.shake(BOTH[n % 2], &[]).await;
        assert_eq!(socket.closed().await, 4408);
    };
    // A byte now and then is no greeting either.
    let slow = async |n: usize| {
        let mut socket = arena.shake(BOTH[n % 2], &[]).await;
        let init = frame(FIN | TEXT, arena.init().as_bytes());
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        for byte in &init {
            pace.tick().await;
            if tokio::time::timeout(Duration::from_millis(1), socket.raw.send(&[*byte])).await.is_err() {
                break;
            }
            let closed = tokio::time::timeout(Duration::from_millis(1), socket.raw.next()).await;
            if let Ok(frame) = closed {
                let frame = frame.expect("no reset").expect("a frame before the end");
                let told = frame.close().is_some_and(|(code, _)| code == 4408);
                assert!(told || socket.words.subprotocol == "graphql-ws", "{frame:?}");
                return;
            }
        }
        panic!("a greeting that takes {} s was waited for", init.len());
    };
    // What is never whole is given back.
    let heavy = async |n: usize| {
        let mut socket = arena.shake(BOTH[n % 2], &[]).await;
        let unfinished = [header(FIN | TEXT, 60_000), vec![b'x'; 50_000]].concat();
        socket.send(&unfinished).await;
        assert_eq!(socket.closed().await, 4408);
    };
    tokio::join!(join_all((0..100).map(silent)), join_all((0..20).map(slow)), join_all((0..200).map(heavy)),);
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    arena.still_well("greetings that do not come in time").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greetings_that_are_none_are_refused() {
    let mut arena = Arena::start().await;
    let init = arena.init();
    let large =
        json!({"type": "connection_init", "payload": {"token": "x".repeat(10 * MEBIBYTE)}}).to_string();
    let deep =
        format!(r#"{{"type":"connection_init","payload":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    for words in BOTH {
        for (greeting, code) in [
            (frame(FIN | TEXT, large.as_bytes()), 1009),
            (frame(FIN | TEXT, deep.as_bytes()), 4400),
            ([frame(FIN | TEXT, init.as_bytes()), frame(FIN | TEXT, init.as_bytes())].concat(), 4429),
            (frame(FIN | TEXT, words.start("1", LIVE).as_bytes()), 4401),
            (frame(FIN | TEXT, br#"{"type":"connection_init","payload":{"token":"nk_wrong"}}"#), 4403),
            (frame(FIN | TEXT, br#"{"type":"connection_init"}"#), 4403),
        ] {
            let mut socket = arena.shake(words, &[]).await;
            socket.send(&greeting).await;
            assert_eq!(socket.closed().await, code, "{words:?}");
        }
        let own = format!("http://{}", arena.address());
        for (origin, allowed) in [
            (Some("https://evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
            (Some(&format!("{own}.evil.example")), false),
            (Some(own.as_str()), true),
            // No browser leaves it out.
            (None, true),
        ] {
            let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
            let mut socket = arena.shake(words, &headers).await;
            socket.text(&init).await;
            if allowed {
                assert_eq!(socket.message().await["type"], json!("connection_ack"), "{origin:?}");
            } else {
                assert_eq!(socket.closed().await, 4403, "{origin:?}");
            }
        }
    }
    arena.still_well("greetings that are none").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_without_number_are_refused_one_by_one() {
    let mut arena = Arena::start().await;
    for words in BOTH {
        let mut socket = arena.let_in(words).await;
        for n in 0..5 * OPERATIONS {
            socket.text(&words.start(&n.to_string(), LIVE)).await;
        }
        for n in OPERATIONS..5 * OPERATIONS {
            let refused = socket.message().await;
            assert_eq!((&refused["id"], &refused["type"]), (&json!(n.to_string()), &json!("error")));
            let error =
                if refused["payload"].is_array() { &refused["payload"][0] } else { &refused["payload"] };
            assert_eq!(error["extensions"]["code"], json!("TOO_MANY_OPERATIONS"), "{refused}");
        }
        // Beginning and ending them without end changes nothing for those that stay.
        socket.text(&words.stop("0")).await;
        let mut ended = 1;
        for _ in 0..20 {
            let mut churn = Vec::new();
            for n in 0..OPERATIONS {
                churn.extend(frame(FIN | TEXT, words.start(&format!("churn.{n}"), LIVE).as_bytes()));
                churn.extend(frame(FIN | TEXT, words.stop(&format!("churn.{n}")).as_bytes()));
            }
            socket.send(&churn).await;
            ended += OPERATIONS;
        }
        if words.subprotocol == "graphql-ws" {
            for _ in 0..ended {
                assert_eq!(socket.message().await["type"], json!("complete"));
            }
        }
        socket.works().await;
        let event = arena.node.api.request(Method::POST, "/v1/channels/a/events", &arena.tenant);
        crate::api::json_of(event.json(&json!({"data": 1}))).await;
        for _ in 1..OPERATIONS {
            assert_eq!(socket.message().await["type"], json!(words.result));
        }
    }
    arena.still_well("operations without number").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_texts_of_some_length_used_once_at_a_time() {
    let mut arena = Arena::start().await;
    let long = "x".repeat(MEBIBYTE - 200);
    let longer = "x".repeat(2 * MEBIBYTE);
    for words in BOTH {
        for (ids, code) in [
            (vec!["1", "1"], 4409),
            (vec!["constructor", "constructor"], 4409),
            (vec![""], 4400),
            (vec![&long], 4400),
            (vec![&longer], 1009),
        ] {
            let mut socket = arena.let_in(words).await;
            for id in ids {
                socket.text(&words.start(id, LIVE)).await;
            }
            assert_eq!(socket.closed().await, code, "{words:?}");
        }
        let mut socket = arena.let_in(words).await;
        for id in ["constructor", "__proto__", "toString", "\u{0}", "\u{202e}", "' or 1=1 --", "\r\n"] {
            socket.text(&words.start(id, "{ __typename }")).await;
            assert_eq!(socket.message().await["id"], json!(id));
            assert_eq!(socket.message().await, json!({"id": id, "type": "complete"}));
        }
    }
    arena.still_well("ids of all kinds").await;
}

/// Whoever asks for pongs and takes none is not read from any more, and closed as a reader that has stalled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_pings_are_not_read_faster_than_the_pongs_are_taken() {
    let mut arena = Arena::start_with(&[("NUNCIO_STALLED_SECONDS", "2")]).await;
    arena.memory.allow(64, 48);
    let frames = frame(FIN | PING, &[b'p'; 125]).repeat(500);
    let ping = json!({"type": "ping", "payload": {"x": "x".repeat(50_000)}}).to_string();
    let messages = frame(FIN | TEXT, ping.as_bytes());
    let attack = async |n: usize| {
        let mut socket = arena.let_in(BOTH[if n.is_multiple_of(3) { 1 } else { 0 }]).await;
        let bytes = if n.is_multiple_of(2) || n.is_multiple_of(3) { &frames } else { &messages };
        let taken = socket.flood(bytes).await;
        assert!(taken < 32 * MEBIBYTE, "{taken} bytes of pings were read, and nobody took the pongs");
    };
    join_all((0..24).map(attack)).await;
    // Whoever takes them is given them all.
    let mut socket = arena.let_in(BOTH[0]).await;
    for _ in 0..20 {
        socket.send(&frames).await;
        for _ in 0..500 {
            assert_eq!(socket.next().await.expect("a pong").body, [b'p'; 125]);
        }
    }
    arena.still_well("floods of pings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_are_never_read_cost_little_and_end() {
    let mut arena = Arena::start_with(&[("NUNCIO_STALLED_SECONDS", "3")]).await;
    arena.memory.allow(128, 96);
    let mut sockets = Vec::new();
    for n in 0..200 {
        let mut socket = arena.let_in(BOTH[n % 2]).await;
        let query = "subscription { events(channel: \"big\") { data } }";
        for id in ["1", "2"] {
            let start = socket.words.start(id, query);
            socket.text(&start).await;
        }
        sockets.push(socket);
    }
    let data = "x".repeat(100_000);
    for _ in 0..40 {
        let event = arena.node.api.request(Method::POST, "/v1/channels/big/events", &arena.tenant);
        crate::api::json_of(event.json(&json!({ "data": data }))).await;
    }
    arena.still_well("sockets that are never read").await;
    for socket in &mut sockets {
        socket.flood(&frame(FIN | PING, b"")).await;
    }
    arena.still_well("sockets that were never read").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_fragments_are_one_message_and_endless_ones_are_none() {
    const FRAGMENTS: usize = 1_000_000;
    let mut arena = Arena::start().await;
    arena.memory.allow(128, 96);
    for words in BOTH {
        let mut socket = arena.let_in(words).await;
        let mut text = words.start("1", "{ __typename }");
        text.push_str(&" ".repeat(FRAGMENTS - text.len()));
        let mut frames = Vec::with_capacity(8 * FRAGMENTS);
        for (n, byte) in text.bytes().enumerate() {
            let last = if n + 1 == FRAGMENTS { FIN } else { 0 };
            let opcode = if n == 0 { TEXT } else { CONTINUATION };
            frames.extend(frame(last | opcode, &[byte]));
        }
        socket.send(&frames).await;
        assert_eq!(socket.message().await["payload"], json!({"data": {"__typename": "Query"}}));
        assert_eq!(socket.message().await["type"], json!("complete"));
        socket.works().await;

        // The same for a stranger is too much.
        let mut stranger = arena.shake(words, &[]).await;
        stranger.send(&frames).await;
        assert_eq!(stranger.closed().await, 1009, "{words:?}");

        // Without an end, up to what a message may have; and without a byte in them.
        let mut endless = arena.let_in(words).await;
        endless.send(&frame(TEXT, b"{")).await;
        let more = frame(CONTINUATION, &[b'x'; 1_000]).repeat(100);
        endless.flood(&more).await;
        assert_eq!(endless.closed().await, 1009, "{words:?}");
        let mut empty = arena.let_in(words).await;
        empty.send(&frame(TEXT, b"")).await;
        let nothing = frame(CONTINUATION, b"").repeat(10_000);
        for _ in 0..20 {
            empty.send(&nothing).await;
        }
        empty.send(&frame(FIN | CONTINUATION, words.start("1", "{ __typename }").as_bytes())).await;
        assert_eq!(empty.message().await["id"], json!("1"));
    }
    arena.still_well("fragments without number").await;
}

/// Whoever is let in may send a mebibyte: by not ending it, each of its connections had it kept for as long as it liked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_never_ended_are_not_kept() {
    let mut arena = Arena::start_with(&[("NUNCIO_STALLED_SECONDS", "3")]).await;
    arena.memory.allow(128, 48);
    let attack = async |n: usize| {
        let mut socket = arena.let_in(BOTH[n % 2]).await;
        let half = vec![b'x'; MEBIBYTE / 2];
        let begun = if n % 4 < 2 {
            frame(TEXT, &half)
        } else {
            [&header(FIN | TEXT, MEBIBYTE as u64)[..], &half].concat()
        };
        socket.send(&begun).await;
        assert_eq!(socket.closed().await, 4408);
    };
    join_all((0..60).map(attack)).await;
    arena.still_well("messages that are never ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_none_are_told_by_their_code() {
    let mut arena = Arena::start().await;
    arena.memory.allow(64, 48);
    for words in BOTH {
        let text = words.start("1", LIVE);
        let unmasked = [&[FIN | TEXT, text.len() as u8], text.as_bytes()].concat();
        for (what, bytes, code) in [
            ("a message of 64 MiB", frame(FIN | TEXT, &vec![b'x'; 64 * MEBIBYTE]), 1009),
            ("a message of 2^63 bytes", [&header(FIN | TEXT, 1 << 63)[..], &[0; 4]].concat(), 1009),
            ("bad UTF-8", frame(FIN | TEXT, b"{\"type\":\"\xFF\"}"), 1007),
            ("bad UTF-8 across fragments", [frame(TEXT, b"\xE2\x82"), frame(FIN, b"\x28")].concat(), 1007),
            ("a reserved bit", frame(FIN | 0x40 | TEXT, text.as_bytes()), 1002),
            ("a reserved opcode", frame(FIN | 0x3, text.as_bytes()), 1002),
            ("no mask", unmasked, 1002),
            ("a ping of 126 bytes", frame(FIN | PING, &[0; 126]), 1002),
            ("bytes", frame(FIN | BINARY, text.as_bytes()), 4400),
            ("no JSON", frame(FIN | TEXT, b"hello"), 4400),
            ("JSON 500,000 deep", frame(FIN | TEXT, "[".repeat(500_000).as_bytes()), 4400),
        ] {
            let mut socket = arena.let_in(words).await;
            socket.send(&bytes).await;
            assert_eq!(socket.closed().await, code, "{what}: {words:?}");
        }
    }
    arena.still_well("frames that are none").await;
}

/// What kills a parser in an HTTP body does no more over a socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_kill_parsers_end_their_operation_alone() {
    let mut arena = Arena::start().await;
    let mut doubling = "query { ...F0 }".to_owned();
    for n in 0..30 {
        doubling.push_str(&format!(" fragment F{n} on Query {{ ...F{0} ...F{0} }}", n + 1));
    }
    doubling.push_str(" fragment F30 on Query { cursor }");
    let aliases: String = (0..5_000).map(|n| format!(" a{n}: cursor")).collect();
    let documents = [
        format!("{{ a(x: {}{}) }}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("{{ a(x: {}{}) }}", "{a:".repeat(20_000), "}".repeat(20_000)),
        format!("query($x: {}Int{}) {{ cursor }}", "[".repeat(20_000), "]".repeat(20_000)),
        "{ a ".repeat(20_000),
        doubling,
        format!("{{{aliases} }}"),
        format!("{{ cursor {} }}", "@skip(if: false) ".repeat(10_000)),
    ];
    for words in BOTH {
        let mut socket = arena.let_in(words).await;
        for _ in 0..10 {
            for document in &documents {
                socket.text(&words.start("1", document)).await;
                let refused = socket.message().await;
                assert_eq!(refused["type"], json!("error"), "{refused}");
                assert!(refused.to_string().len() < 1_000, "it repeats what was sent: {refused}");
            }
        }
        socket.text(&words.start("1", &",".repeat(MEBIBYTE - 200))).await;
        assert_eq!(socket.message().await["type"], json!("error"));
        socket.works().await;
    }
    arena.still_well("documents that kill parsers").await;
}
