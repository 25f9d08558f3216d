//! Frames, right and wrong (RFC 6455, section 5 to 8): what is read, what is answered, and what closes the connection.

use nuncio_devstack::testkit::websocket::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, RawSocket, TEXT, frame, header,
};
use serde_json::json;

use crate::graphql_kit::Node;
use crate::socket_raw::{Raw, pong};

const RESERVED: [u8; 3] = [0x40, 0x20, 0x10];

fn cut(text: &str, at: usize) -> (&[u8], &[u8]) {
    text.as_bytes().split_at(at)
}

#[tokio::test]
async fn a_message_may_come_in_any_number_of_frames() {
    let node = Node::start().await;
    let mut raw = Raw::ready(&node).await;
    let message = json!({"type": "ping", "payload": {"text": "é€😀"}}).to_string();
    let answer = json!({"type": "pong", "payload": {"text": "é€😀"}});

    // One byte in each frame, so that characters are cut too; and one byte in each segment.
    let bytes = message.as_bytes();
    let mut frames = frame(TEXT, &bytes[..1]);
    for byte in &bytes[1..] {
        frames.extend(frame(CONTINUATION, &[*byte]));
    }
    frames.extend(frame(FIN | CONTINUATION, b""));
    for byte in &frames {
        raw.send([*byte]).await;
    }
    assert_eq!(raw.message().await, answer);

    // Empty frames at the beginning and in the middle count for nothing.
    let (first, last) = cut(&message, 7);
    raw.frame(TEXT, b"").await;
    raw.frame(CONTINUATION, first).await;
    raw.frame(CONTINUATION, b"").await;
    raw.frame(FIN | CONTINUATION, last).await;
    assert_eq!(raw.message().await, answer);

    // Section 5.4: control frames may stand between the frames of a message, and are answered at once.
    raw.frame(TEXT, first).await;
    raw.frame(FIN | PING, "in between").await;
    assert_eq!(raw.next().await, Some(pong("in between")), "before the message is whole");
    raw.frame(FIN | PONG, "nobody asked").await;
    raw.frame(FIN | CONTINUATION, last).await;
    assert_eq!(raw.message().await, answer);
    raw.works().await;
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry_in_their_order() {
    let node = Node::start().await;
    // Also before anything else was said.
    let mut raw = Raw::offer(&node, "graphql-transport-ws").await;
    for length in [0, 1, 124, 125] {
        let body: Vec<u8> = (0..length).map(|n| n as u8 ^ 0xFF).collect();
        raw.frame(FIN | PING, &body).await;
        assert_eq!(raw.next().await, Some(pong(&body)));
    }
    let together: Vec<u8> = (0..100_u8).flat_map(|n| frame(FIN | PING, &[n])).collect();
    raw.send(together).await;
    for n in 0..100_u8 {
        assert_eq!(raw.next().await, Some(pong([n])));
    }
}

#[tokio::test]
async fn what_breaks_the_framing_is_closed_with_1002() {
    let node = Node::start().await;
    let ping = json!({"type": "ping"}).to_string();
    let unmasked = [&[FIN | TEXT, ping.len() as u8], ping.as_bytes()].concat();
    let mut wrong = vec![
        ("5.1: a frame without a mask", unmasked),
        ("5.4: a continuation of nothing", frame(FIN | CONTINUATION, b"x")),
        ("5.4: an unfinished continuation of nothing", frame(CONTINUATION, b"x")),
        ("5.4: a message within a message", [frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat()),
        ("5.4: other data within a message", [frame(TEXT, b"{"), frame(FIN | BINARY, b"}")].concat()),
        ("5.4: a control frame in parts", frame(PING, b"x")),
        ("5.4: a close frame in parts", frame(CLOSE, &1000_u16.to_be_bytes())),
        ("5.5: a ping of 126 bytes", frame(FIN | PING, &[b'x'; 126])),
        ("5.5: a pong of 126 bytes", frame(FIN | PONG, &[b'x'; 126])),
        ("5.5: a close frame of 126 bytes", frame(FIN | CLOSE, &[3; 126])),
        ("5.5.1: a close frame of one byte", frame(FIN | CLOSE, &[3])),
    ];
    for bit in RESERVED {
        wrong.push(("5.2: a reserved bit of a text", frame(FIN | bit | TEXT, ping.as_bytes())));
        wrong.push(("5.2: a reserved bit of a ping", frame(FIN | bit | PING, b"")));
    }
    for opcode in [0x3, 0x7, 0xB, 0xF] {
        wrong.push(("5.2: a reserved opcode", frame(FIN | opcode, b"")));
    }
    for (rule, bytes) in wrong {
        // Strangers and those who are known are told the same.
        for mut raw in [Raw::offer(&node, "graphql-transport-ws").await, Raw::ready(&node).await] {
            raw.send(&bytes).await;
            assert_eq!(raw.close().await, (1002, "Protocol error".to_owned()), "{rule}");
        }
    }
    Raw::ready(&node).await.works().await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_closed_with_1007() {
    let node = Node::start().await;
    let euro = "€".as_bytes();
    for (what, bytes) in [
        ("a byte that is never in UTF-8", frame(FIN | TEXT, b"\xFF")),
        ("an overlong form", frame(FIN | TEXT, b"\xC0\x80")),
        ("half of a surrogate pair", frame(FIN | TEXT, b"\xED\xA0\x80")),
        ("a character that ends too early", frame(FIN | TEXT, &euro[..2])),
        (
            "one that ends with the message",
            [frame(TEXT, &euro[..2]), frame(FIN | CONTINUATION, b"")].concat(),
        ),
        // Section 8.1 lets an endpoint fail the connection before the message is whole.
        (
            "one that goes on wrongly in the next frame",
            [frame(TEXT, &euro[..2]), frame(CONTINUATION, b"x")].concat(),
        ),
        ("a close frame's reason", frame(FIN | CLOSE, b"\x03\xE8\xFF")),
    ] {
        let mut raw = Raw::ready(&node).await;
        raw.send(bytes).await;
        assert_eq!(raw.close().await, (1007, "A text message must be UTF-8".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn a_close_of_the_client_is_answered_and_ends_the_connection() {
    let node = Node::start().await;
    for (sent, answered) in [
        (&b""[..], &b""[..]),
        (b"\x03\xE8", b"\x03\xE8"),
        (b"\x03\xE8bye \xE2\x82\xAC", b"\x03\xE8bye \xE2\x82\xAC"),
        // Codes that a program may choose, and some of those that the protocol gives.
        (&3000_u16.to_be_bytes(), &3000_u16.to_be_bytes()),
        (&4999_u16.to_be_bytes(), &4999_u16.to_be_bytes()),
        (&1001_u16.to_be_bytes(), &1001_u16.to_be_bytes()),
    ] {
        let mut raw = Raw::ready(&node).await;
        raw.text(&json!({"id": "1", "type": "subscribe", "payload": {"query": "subscription { events(channel: \"a\") { id } }"}})).await;
        node.until_listeners("a", 1).await;
        raw.frame(FIN | CLOSE, sent).await;
        assert_eq!(raw.next().await, Some(Frame { first: FIN | CLOSE, body: answered.to_vec() }));
        assert_eq!(raw.next().await, None);
        node.until_listeners("a", 0).await;
    }
    // Section 7.4: codes that may not be sent.
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535_u16] {
        let mut raw = Raw::ready(&node).await;
        raw.frame(FIN | CLOSE, code.to_be_bytes()).await;
        let frame = raw.next().await.expect("an answer");
        assert_eq!(frame.close().map(|(code, _)| code), Some(1002), "{code}");
        assert_eq!(raw.next().await, None);
    }
}

#[tokio::test]
async fn what_is_too_large_is_closed_with_1009_before_it_has_come() {
    let node = Node::start().await;
    let too_big = |max: u64| {
        vec![
            ("a frame", header(FIN | TEXT, max + 1)),
            ("a frame of 64 MiB", header(FIN | TEXT, 64 << 20)),
            ("a frame of bytes", header(FIN | BINARY, 64 << 20)),
            ("a frame larger than memory", header(FIN | TEXT, u64::MAX >> 1)),
            (
                "a last frame",
                [frame(TEXT, &vec![b'x'; max as usize]), header(FIN | CONTINUATION, 1)].concat(),
            ),
        ]
    };
    for (what, bytes) in too_big(1 << 20) {
        let mut raw = Raw::ready(&node).await;
        raw.send([&bytes[..], &[0; 4], b"x"].concat()).await;
        assert_eq!(raw.close().await, (1009, "Message too big".to_owned()), "{what}");
    }
    // A stranger has less room.
    for (what, bytes) in too_big(64 << 10) {
        let mut raw = Raw::offer(&node, "graphql-transport-ws").await;
        raw.send([&bytes[..], &[0; 4], b"x"].concat()).await;
        assert_eq!(raw.close().await, (1009, "Message too big".to_owned()), "{what}");
    }
    // As much as is allowed is allowed, also right behind `connection_init`.
    let mut raw = Raw::offer(&node, "graphql-transport-ws").await;
    let padded = |length: usize| {
        let empty = json!({"type": "ping", "payload": {"x": ""}}).to_string().len();
        json!({"type": "ping", "payload": {"x": "x".repeat(length - empty)}}).to_string()
    };
    let init = json!({"type": "connection_init", "payload": {"token": node.key}}).to_string();
    let sent = [frame(FIN | TEXT, init.as_bytes()), frame(FIN | TEXT, padded(1 << 20).as_bytes())].concat();
    raw.send(sent).await;
    assert_eq!(raw.message().await, json!({"type": "connection_ack"}));
    assert_eq!(raw.message().await["type"], json!("pong"));
}

#[tokio::test]
async fn a_binary_message_is_none_of_the_protocols() {
    let node = Node::start().await;
    let mut raw = Raw::ready(&node).await;
    raw.frame(FIN | BINARY, json!({"type": "ping"}).to_string()).await;
    assert_eq!(raw.close().await, (4400, "Invalid message".to_owned()));
}

#[tokio::test]
async fn only_a_handshake_of_the_protocol_is_accepted() {
    let node = Node::start().await;
    let good = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let ask = async |method: &str, headers: &[(&str, &str)]| {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} /graphql HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", node.address);
        RawSocket::ask(&node.address, &request).await.expect("an answer").head().to_owned()
    };
    assert!(ask("GET", &good).await.starts_with("HTTP/1.1 101 "));
    let with = |name: &str, value| good.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
    for (rule, status, headers) in [
        ("4.2.1: Connection names Upgrade", 400, with("connection", "keep-alive")),
        ("4.4: the version is 13", 426, with("sec-websocket-version", "8")),
        ("4.2.1: the key has 16 bytes", 400, with("sec-websocket-key", "c2hvcnQ=")),
        ("4.2.1: the key is base64", 400, with("sec-websocket-key", "not base64 at all, really")),
    ] {
        let head = ask("GET", &headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{rule}: {head}");
        assert!(head.contains("sec-websocket-version: 13\r\n"), "{rule}: {head}");
    }
    let head = ask("HEAD", &good).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "4.1: it is a GET: {head}");
    // Section 4.2.2: whoever asks for nothing that is known is accepted without a subprotocol, and told by a code.
    for offered in ["", "soap", "graphql-transport-ws2", "GRAPHQL-TRANSPORT-WS"] {
        let raw = Raw::offer(&node, offered).await;
        assert_eq!(raw.subprotocol(), None, "{offered}");
        assert_eq!(raw.close().await.0, 4406, "{offered}");
    }
    assert!(RawSocket::open(&node.address, "/v1/stream", &[]).await.is_err());
}
