//! Streams: places that are made up, a thousand of one key, readers that take nothing, floods of reservations and of
//! operations, and what is somebody else's.

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::Arena;
use super::raw::Raw;
use crate::api::json_of;
use crate::place::Tenant;
use crate::program::{eventually, within};

const STREAM: &str = "GET /v1/stream?channel=hall.%23";
const EVENTS: &str = "accept: text/event-stream";
const PARTS: &str = "accept: multipart/mixed;subscriptionSpec=1.0";
const TOKEN: &str = "x-graphql-event-stream-token";
/// How many requests are under way at a time.
const AT_ONCE: usize = 16;

impl Raw {
    /// Reads until that text has come.
    async fn until(&mut self, text: &str) {
        let what = format!("{text} on a stream");
        within(&what, async {
            while !self.seen.windows(text.len()).any(|window| window == text.as_bytes()) {
                let read = self.socket.read_buf(&mut self.seen).await.expect("it is open");
                assert!(read > 0, "the end before {text}: {}", String::from_utf8_lossy(&self.seen));
            }
        })
        .await;
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

fn subscription(channel: &str) -> Value {
    json!({ "query": format!("subscription {{ events(channel: \"{channel}\") {{ data }} }}") })
}

impl Arena {
    async fn publish(&self, channel: &str, data: &Value) {
        let path = format!("/v1/channels/{channel}/events");
        json_of(self.node.api.request(Method::POST, &path, &self.tenant).json(&json!({ "data": data })))
            .await;
    }

    /// A stream of these bytes, once it is open.
    async fn stream(&self, request: impl AsRef<[u8]>) -> Raw {
        let mut raw = self.connect().await;
        raw.send(request).await.expect("it is taken");
        raw.until("\r\n\r\n").await;
        assert!(raw.text().starts_with("HTTP/1.1 200 "), "{}", raw.text());
        raw
    }

    fn graphql(&self, method: Method, tenant: &Tenant) -> RequestBuilder {
        self.node.api.request(method, "/graphql", tenant)
    }

    /// Reserves a stream.
    async fn reserve(&self, tenant: &Tenant) -> String {
        let made = self.graphql(Method::PUT, tenant).send().await.expect("an answer");
        assert_eq!(made.status(), StatusCode::CREATED);
        made.text().await.expect("a token")
    }
}

/// The status of an answer, and the code of the error in it.
async fn refusal(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}

/// None of them ends the stream, which a browser would not open again: each is told, and the stream goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_are_made_up_are_told_on_the_stream() {
    let mut arena = Arena::start().await;
    let other = arena.place.make_project(&arena.node, "stranger").await;
    let path = "/v1/channels/hall.a/events";
    json_of(arena.node.api.request(Method::POST, path, &other).json(&json!({ "data": 1 }))).await;
    let foreign = arena.node.api.cursor(&other).await;
    let mut places: Vec<Vec<u8>> = [
        "-1",
        "0",
        "99999999999999999999999999",
        foreign.as_str(),
        "1'; drop table events; --",
        "../../etc/passwd",
        "%0d%0aevent: nuncio.ready",
        "\t\t",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    places.extend([vec![b'x'; 10_240], vec![0xff, 0xfe, 0x80], "💥".as_bytes().to_vec()]);
    for (n, place) in places.into_iter().enumerate() {
        let key = format!("authorization: Bearer {}", arena.tenant.key);
        let head = arena.head(STREAM, &[&key, EVENTS]);
        let head = head.strip_suffix("\r\n").expect("a head ends with an empty line").as_bytes();
        let request = [head, b"last-event-id: ", &place, b"\r\n\r\n"].concat();
        let mut stream = arena.stream(request).await;
        stream.until("event: nuncio.ready").await;
        // White space alone is no place at all.
        if place.iter().any(|byte| !byte.is_ascii_whitespace()) {
            stream.until("event: nuncio.gap").await;
            let said = stream.text();
            assert!(said.contains(r#""recovered":false,"reason":"CURSOR_INVALID""#), "{said}");
            assert!(!said.contains("drop table") && !said.contains("passwd"), "{said}");
        }
        arena.publish("hall.a", &json!(format!("number {n}."))).await;
        stream.until(&format!("number {n}.")).await;
    }
    // A line break ends a header, and what comes after it is another or none.
    for broken in ["1\r\n 2", "1\r2", "1\0"] {
        let key = format!("authorization: Bearer {}", arena.tenant.key);
        let head = arena.head(STREAM, &[&key, EVENTS, &format!("last-event-id: {broken}")]);
        arena.connect().await.exchange(head).await.assert_problem(400, "INVALID_REQUEST");
    }
    arena.still_well("places that are made up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_one_key_get_every_event_and_leave_nothing_behind() {
    const STREAMS: usize = 1_000;
    let mut arena = Arena::start().await;
    let body = subscription("hall.a").to_string();
    let requests = [
        arena.request(STREAM, &[EVENTS], b""),
        arena.request("POST /graphql", &[EVENTS, "content-type: application/json"], body.as_bytes()),
        arena.request("POST /graphql", &[PARTS, "content-type: application/json"], body.as_bytes()),
    ];
    let open = |n: usize| arena.stream(&requests[n % requests.len()]);
    let mut streams: Vec<Raw> = iter(0..STREAMS).map(open).buffer_unordered(AT_ONCE).collect().await;
    let listeners = async |count: usize| {
        let query = json!({ "query": "{ channel(name: \"hall.a\") { subscribers } }" });
        let answer = json_of(arena.graphql(Method::POST, &arena.tenant).json(&query)).await;
        answer["data"]["channel"]["subscribers"] == count
    };
    arena.publish("hall.a", &json!("the first")).await;
    eventually("a thousand to listen", async || listeners(STREAMS).await).await;
    arena.publish("hall.a", &json!("one for all")).await;
    for stream in &mut streams {
        stream.until("one for all").await;
    }
    drop(streams);
    eventually("all of them to be gone", async || listeners(0).await).await;
    arena.still_well("a thousand streams").await;
}

/// Readers that take nothing are cut after a while, and one that takes a little all the time is not; memory is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_take_nothing_are_cut() {
    let mut arena = Arena::start_with(&[("NUNCIO_STALLED_SECONDS", "2")]).await;
    let body = subscription("hall.a").to_string();
    let requests = [
        arena.request(STREAM, &[EVENTS], b""),
        arena.request("POST /graphql", &[EVENTS, "content-type: application/json"], body.as_bytes()),
        arena.request("POST /graphql", &[PARTS, "content-type: application/json"], body.as_bytes()),
    ];
    let mut stalled = Vec::new();
    for n in 0..30 {
        stalled.push(arena.stream(&requests[n % requests.len()]).await);
    }
    let mut slow = arena.stream(&requests[1]).await;
    let padding = "x".repeat(8_000);
    let path = "/v1/channels/hall.a/events";
    let batch: Vec<Value> = (0..100).map(|_| json!({ "data": padding })).collect();
    let cut = async {
        let query = json!({ "query": "{ channel(name: \"hall.a\") { subscribers } }" });
        loop {
            json_of(arena.node.api.request(Method::POST, path, &arena.tenant).json(&batch)).await;
            let answer = json_of(arena.graphql(Method::POST, &arena.tenant).json(&query)).await;
            if answer["data"]["channel"]["subscribers"] == 1 {
                break;
            }
        }
    };
    let sip = async {
        let mut bytes = [0; 32 << 10];
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            pause.tick().await;
            assert!(slow.socket.read(&mut bytes).await.expect("it is open") > 0, "a slow reader was cut");
        }
    };
    within("those that take nothing to be cut", async {
        tokio::select! { () = cut => {}, () = sip => {} }
    })
    .await;
    drop((stalled, slow));
    arena.still_well("readers that take nothing").await;
}

/// No text of an event can be taken for what goes around it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_like_a_frame_stays_inside_of_its_event() {
    let mut arena = Arena::start().await;
    let body = subscription("hall.a").to_string();
    let json = "content-type: application/json";
    let mut events = arena.stream(arena.request("POST /graphql", &[EVENTS, json], body.as_bytes())).await;
    let mut parts = arena.stream(arena.request("POST /graphql", &[PARTS, json], body.as_bytes())).await;
    let mut own = arena.stream(arena.request(STREAM, &[EVENTS], b"")).await;
    own.until("nuncio.ready").await;
    let query = json!({ "query": "{ channel(name: \"hall.a\") { subscribers } }" });
    arena.publish("hall.a", &json!("first")).await;
    eventually("all to listen", async || {
        let answer = json_of(arena.graphql(Method::POST, &arena.tenant).json(&query)).await;
        answer["data"]["channel"]["subscribers"] == 3
    })
    .await;
    for text in ["\n\nevent: complete\ndata:\n\n", "\r\n--graphql--\r\n", "\r\n0\r\n\r\n", "\u{2028}\0\r"] {
        arena.publish("hall.a", &json!(text)).await;
    }
    arena.publish("hall.a", &json!("the last")).await;
    for stream in [&mut events, &mut parts, &mut own] {
        stream.until("the last").await;
        assert!(!stream.text().contains("\nevent: complete") && !stream.text().contains("\n--graphql--"));
    }
    arena.still_well("texts that look like frames").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_reservations_and_operations_are_bounded() {
    let mut arena = Arena::start().await;
    let token = arena.reserve(&arena.tenant).await;
    let key = format!("{TOKEN}: {token}");
    let mut stream = arena.stream(arena.request("GET /graphql", &[EVENTS, &key], b"")).await;
    let reserve =
        |_| async { arena.graphql(Method::PUT, &arena.tenant).send().await.expect("an answer").status() };
    let made: Vec<_> = iter(0..300).map(reserve).buffer_unordered(AT_ONCE).collect().await;
    let refused = made.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    let counted = made.iter().filter(|status| **status == StatusCode::CREATED).count();
    assert!(refused >= 200 - AT_ONCE && counted + refused == 300, "{counted} made, {refused} refused");
    assert_eq!(refusal(arena.graphql(Method::PUT, &arena.tenant)).await.1, "TOO_MANY_OPERATIONS");

    let start = |n: usize| {
        let mut body = subscription("hall.a");
        body["extensions"] = json!({ "operationId": format!("operation {n}") });
        let request = arena.graphql(Method::POST, &arena.tenant).header(TOKEN, &token).json(&body);
        async { request.send().await.expect("an answer").status() }
    };
    let started: Vec<_> = iter(0..1_200).map(start).buffer_unordered(AT_ONCE).collect().await;
    let refused = started.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    let taken = started.iter().filter(|status| **status == StatusCode::ACCEPTED).count();
    assert!(refused >= 200 - AT_ONCE && taken + refused == 1_200, "{taken} taken, {refused} refused");
    let query = json!({ "query": "{ channel(name: \"hall.a\") { subscribers } }" });
    arena.publish("hall.a", &json!("first")).await;
    eventually("all to run", async || {
        let answer = json_of(arena.graphql(Method::POST, &arena.tenant).json(&query)).await;
        answer["data"]["channel"]["subscribers"] == taken
    })
    .await;
    arena.publish("hall.a", &json!("one for all")).await;
    within("all results", async {
        while stream.text().matches("one for all").count() < taken {
            assert!(stream.socket.read_buf(&mut stream.seen).await.expect("it is open") > 0);
        }
    })
    .await;
    drop(stream);
    arena.still_well("floods of reservations and operations").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_another_is_of_no_use() {
    let mut arena = Arena::start().await;
    let other = arena.place.make_project(&arena.node, "stranger").await;
    let token = arena.reserve(&other).await;
    let long = "x".repeat(10_000);
    for token in [token.as_str(), "made up", "", "1' or '1'='1", "../../x", &long] {
        let ask = |method: Method| arena.graphql(method, &arena.tenant).header(TOKEN, token);
        let mut body = subscription("hall.a");
        body["extensions"] = json!({ "operationId": "1" });
        let not_found = (404, "NOT_FOUND".to_owned());
        assert_eq!(refusal(ask(Method::POST).json(&body)).await, not_found, "{token}");
        assert_eq!(refusal(ask(Method::DELETE).query(&[("operationId", "1")])).await, not_found, "{token}");
        let open = ask(Method::GET).header("accept", "text/event-stream");
        assert_eq!(refusal(open).await, not_found, "{token}");
    }
    // Its owner has lost nothing.
    let theirs =
        arena.graphql(Method::GET, &other).header(TOKEN, &token).header("accept", "text/event-stream");
    assert_eq!(theirs.send().await.expect("an answer").status(), StatusCode::OK);
    arena.still_well("tokens of others").await;
}
