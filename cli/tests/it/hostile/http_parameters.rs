//! Parameters and members that are made up, and pages of other origins.

use reqwest::Method;
use serde_json::{Value, json};

use super::Arena;
use crate::place::ADMIN_KEY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_tokens_and_limits_that_nobody_gave_out() {
    let mut arena = Arena::start().await;
    let admin = format!("authorization: Bearer {ADMIN_KEY}");
    let long = "A".repeat(10_000);
    let tokens = ["x", "-1", "%00", "%27%20or%201=1--", "..%2f..", "eyJhIjoxfQ", "%F0%9F%92%A5", &long];
    let limits = ["0", "-1", "1001", "99999999999999999999", "1e3", "0x10", "%20", "NaN", "ten"];
    let lists = ["projects", "projects/abused/keys", "projects/abused/dead-letters"];
    for list in lists {
        let tokens = tokens.iter().map(|token| format!("pageToken={token}"));
        for query in tokens.chain(limits.iter().map(|limit| format!("limit={limit}"))) {
            let mut raw = arena.connect().await;
            let head = arena.head(&format!("GET /admin/v1/{list}?{query}"), &[&admin]);
            let answer = raw.exchange(head).await;
            answer.assert_problem(400, "INVALID_REQUEST");
            let field = query.split('=').next();
            assert_eq!(answer.json()["errors"][0]["field"].as_str(), field, "{list}?{query:.40}");
        }
    }
    for limit in limits {
        for query in [format!("first={limit}"), format!("last={limit}"), format!("first=1&wait={limit}x")] {
            let mut raw = arena.connect().await;
            let request = arena.request(&format!("GET /v1/channels/orders.eu/events?{query}"), &[], b"");
            raw.exchange(request).await.assert_problem(400, "INVALID_REQUEST");
        }
    }
    arena.still_well("made-up pages").await;
}

/// What decides over rights and places is never taken from a body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_are_not_the_clients_to_set() {
    let mut arena = Arena::start().await;
    let admin = format!("authorization: Bearer {ADMIN_KEY}");
    let rights = json!({ "subscribe": ["#"] });
    for (line, mut body) in [
        ("POST /admin/v1/projects", json!({ "name": "mine" })),
        ("PATCH /admin/v1/projects/abused", json!({})),
        ("POST /admin/v1/projects/abused/keys", json!({ "label": "x", "rights": rights })),
        ("POST /admin/v1/projects/abused/namespaces", json!({ "name": "orders" })),
    ] {
        for (member, value) in [
            ("role", json!("owner")),
            ("project", json!("bystander")),
            ("position", json!(1)),
            ("id", json!("00000000-0000-0000-0000-000000000000")),
            ("epoch", json!(9)),
            ("__proto__", json!({ "role": "owner" })),
        ] {
            body[member] = value;
            let text = body.to_string();
            let length = format!("content-length: {}", text.len());
            let mut raw = arena.connect().await;
            let head = arena.head(line, &[&admin, &length, "content-type: application/json"]);
            let answer = raw.exchange(head + &text).await;
            answer.assert_problem(400, "INVALID_REQUEST");
            assert_eq!(answer.json()["errors"][0]["field"], member, "{line}");
            body.as_object_mut().expect("an object").remove(member);
        }
    }
    arena.still_well("members that nobody may set").await;
}

/// An event has its place, its project and its number from the log, whatever its publisher says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_does_not_choose_the_place_of_its_event() {
    let mut arena = Arena::start().await;
    let event = json!({
        "id": "e", "sequence": "1000000", "cursor": "AQEBBCr1TQ", "position": 7, "project": "bystander", "role": "owner",
    });
    let mut raw = arena.connect().await;
    let publish = arena.request("POST /v1/channels/orders.eu/events", &[], event.to_string().as_bytes());
    let answer = raw.exchange(publish).await;
    assert_eq!((answer.status, &answer.json()["events"][0]["sequence"]), (201, &json!(1)));
    let history = arena.node.api.request(Method::GET, "/v1/channels/orders.eu/events", &arena.tenant);
    let stored: Value = crate::api::json_of(history).await["events"][0].clone();
    assert_eq!((&stored["sequence"], &stored["channel"]), (&json!("1"), &json!("orders.eu")));
    assert_ne!(stored["cursor"], "AQEBBCr1TQ");
    // They are attributes like any other to Nuncio.
    assert_eq!((&stored["position"], &stored["project"]), (&json!(7), &json!("bystander")));
    for (status, code, body) in [
        (400, "INVALID_EVENT", json!({ "channel": "other.channel" })),
        (400, "INVALID_EVENT", json!({ "Role": "owner" })),
        (400, "INVALID_EVENT", json!({ "__proto__": { "role": "owner" } })),
    ] {
        let mut raw = arena.connect().await;
        let publish = arena.request("POST /v1/channels/orders.eu/events", &[], body.to_string().as_bytes());
        raw.exchange(publish).await.assert_problem(status, code);
    }
    arena.still_well("events that name their own place").await;
}

/// A page elsewhere is never told that it may read what is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_are_not_reflected() {
    let mut arena = Arena::start().await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://", "\u{1}", ""] {
        let field = format!("origin: {origin}");
        let asked = "access-control-request-method: POST";
        for request in [
            arena.head("OPTIONS /v1/events", &[&field, asked]),
            arena.head("OPTIONS /graphql", &[&field, asked, "access-control-request-headers: authorization"]),
            String::from_utf8(arena.request("GET /v1/channels/a/events", &[&field], b"")).expect("text"),
            arena.head("GET /v1/nothing", &[&field]),
        ] {
            let mut raw = arena.connect().await;
            let answer = raw.exchange(request).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{origin}: {answer:?}");
        }
    }
    arena.still_well("pages of other origins").await;
}
