//! Nothing of one project is ever seen with the rights of another: every pair of projects, on every path, with the same
//! channels, ids and names of keys in all of them.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use nuncio_api::mint_token;
use nuncio_model::Rights;
use nuncio_store::KeyMaterial;
use reqwest::Method;
use serde_json::{Value, json};

use crate::graphql_kit::Client;
use crate::node::{KID, Node, Tenant};
use crate::sse_kit::Source;
use crate::streams_kit::{Events, Parts, ask, numbers_after};

const NAMES: [&str; 3] = ["shop", "bank", "club"];
const ORDERS: &str = "/v1/channels/orders.eu/events";
/// All that there is, from a place on.
const SUBSCRIBE: &str = "subscription($after: Cursor, $gap: OnGap) { events(channel: \"#\", after: $after, onGap: $gap) { id channel sequence data } }";

/// A project with events under the same ids as those of the others.
struct Side {
    tenant: Tenant,
    /// Whom its events are marked by.
    mark: String,
    /// Credentials that may read all of it: its key and a token.
    credentials: [String; 2],
    /// The place before its first event and after each.
    cursors: Vec<String>,
}

async fn side(node: &Node, name: &str) -> Side {
    let tenant = node.tenant(name).await;
    let mark = format!("of-{name}");
    let event = |n: u32| json!({ "id": n.to_string(), "source": "/same", "data": mark });
    let made = node.post(ORDERS, &tenant.key, &json!([event(1), event(2), event(3)])).await.expect(201);
    let made = made["events"].as_array().expect("a list").clone();
    for (n, published) in made.iter().enumerate() {
        // What another project has under the same id is no repeat, and its numbers are not gone on from.
        assert_eq!((&published["duplicate"], &published["sequence"]), (&json!(false), &json!(n + 1)));
    }
    let cursor = |published: &Value| published["cursor"].as_str().expect("a cursor").to_owned();
    let token = node.token(&tenant.name, &Rights::everything());
    Side {
        mark,
        credentials: [tenant.key.clone(), token],
        cursors: made.iter().map(cursor).collect(),
        tenant,
    }
}

impl Side {
    /// What was read is this project's, and there is something.
    #[track_caller]
    fn is_own(&self, what: &str, text: &str) {
        let marks = NAMES.map(|name| format!("of-{name}"));
        let foreign = marks.iter().find(|mark| **mark != self.mark && text.contains(*mark));
        assert!(foreign.is_none() && text.contains(&self.mark), "{} by {what}: {text}", self.mark);
    }
}

async fn sides(node: &Node) -> Vec<Side> {
    let mut sides = Vec::new();
    for name in NAMES {
        sides.push(side(node, name).await);
    }
    sides
}

/// All pairs of different projects: the one that reads, and the one that it must not see.
fn pairs(sides: &[Side]) -> impl Iterator<Item = (&Side, &Side)> {
    let others = |own| sides.iter().filter(move |other| !std::ptr::eq(*other, own));
    sides.iter().flat_map(move |own| others(own).map(move |other| (own, other)))
}

#[tokio::test]
async fn every_way_of_reading_shows_what_is_ones_own() {
    let node = Node::start().await;
    for own in &sides(&node).await {
        for credentials in &own.credentials {
            for path in [ORDERS, "/v1/channels/%23/events", "/v1/channels/%23/events?last=10&filter=true"] {
                own.is_own(path, &node.get(path, credentials).await.text);
            }
            for path in [format!("{ORDERS}?last=10"), "/v1/stream?channel=%23&last=10".to_owned()] {
                let mut source = Source::open(&node, &path, credentials, "").await;
                source.expect("nuncio.ready").await;
                for _ in 0..3 {
                    own.is_own(&path, &source.expect("message").await.to_string());
                }
            }
            let query = "{ history(channel: \"#\") { events { id data } } channel(name: \"orders.eu\") { sequence } }";
            let read = node.post("/graphql", credentials, &json!({ "query": query })).await.expect(200);
            own.is_own("GraphQL", &read.to_string());
            assert_eq!(read["data"]["channel"]["sequence"], 3);
            let last = json!({ "query": "subscription { events(channel: \"#\", last: 10) { data } }" });
            let mut events = Events::of(ask(&node, Method::POST, credentials).json(&last)).await;
            let mut parts = Parts::of(ask(&node, Method::POST, credentials).json(&last)).await;
            let mut socket = Client::ready(&node.address, credentials).await;
            socket.start("1", &last).await;
            for _ in 0..3 {
                own.is_own("an event stream", &events.expect("next").await.to_string());
                own.is_own("multipart", &parts.payload().await.to_string());
                own.is_own("a WebSocket", &socket.event().await.1.to_string());
            }
        }
    }
}

#[tokio::test]
async fn what_is_published_reaches_the_live_readers_of_its_own_project_alone() {
    let node = Node::start().await;
    let sides = sides(&node).await;
    let mut readers = Vec::new();
    for own in &sides {
        let mut socket = Client::ready(&node.address, &own.credentials[1]).await;
        socket.start("1", &json!({ "query": SUBSCRIBE })).await;
        let mut source = Source::open(&node, "/v1/stream?channel=%23", &own.credentials[0], "").await;
        source.expect("nuncio.ready").await;
        readers.push((socket, source));
        node.until_listeners(node.project(&own.tenant.name).id, "orders.eu", 2).await;
    }
    for own in &sides {
        let event = json!({ "id": "live", "source": "/same", "data": own.mark });
        node.post(ORDERS, &own.tenant.key, &event).await.expect(201);
    }
    for (own, (socket, source)) in sides.iter().zip(&mut readers) {
        own.is_own("a WebSocket", &socket.event().await.1.to_string());
        own.is_own("a stream", &source.expect("message").await.to_string());
    }
    // Nothing of the others came behind it: what each is given next is its own again.
    for own in sides.iter().rev() {
        node.post(ORDERS, &own.tenant.key, &json!({ "data": own.mark })).await.expect(201);
    }
    for (own, (socket, source)) in sides.iter().zip(&mut readers) {
        own.is_own("a WebSocket", &socket.event().await.1.to_string());
        own.is_own("a stream", &source.expect("message").await.to_string());
    }
}

#[tokio::test]
async fn cursors_of_another_project_open_nothing() {
    let node = Node::start().await;
    let sides = sides(&node).await;
    for (own, other) in pairs(&sides) {
        let foreign = &other.cursors[0];
        for credentials in &own.credentials {
            for way in ["after", "before"] {
                let path = format!("/v1/channels/%23/events?{way}={foreign}");
                node.get(&path, credentials).await.expect_problem(400, "CURSOR_INVALID");
                let query = format!("{{ history(channel: \"#\", {way}: \"{foreign}\") {{ cursor }} }}");
                let read = node.post("/graphql", credentials, &json!({ "query": query })).await.json();
                assert_eq!(read["errors"][0]["extensions"]["code"], "CURSOR_INVALID", "{read}");
            }
            let mut source = Source::open(&node, "/v1/stream?channel=%23", credentials, foreign).await;
            assert_eq!(source.expect("nuncio.ready").await["recovered"], false);
            source.expect("nuncio.gap").await;
            own.is_own("Last-Event-ID", &source.expect("message").await.to_string());
            let mut socket = Client::ready(&node.address, credentials).await;
            let placed = |gap| json!({ "query": SUBSCRIBE, "variables": { "after": foreign, "gap": gap } });
            socket.start("1", &placed("FAIL")).await;
            assert_eq!(socket.error_code("1").await, "CURSOR_INVALID");
            socket.start("2", &placed("SKIP")).await;
            own.is_own("SKIP", &socket.event().await.1.to_string());
            let mut events =
                Events::of(ask(&node, Method::POST, credentials).json(&numbers_after("#", foreign))).await;
            assert_eq!(events.refusal().await, "CURSOR_INVALID");
        }
    }
}

#[tokio::test]
async fn a_token_of_one_project_is_none_for_another() {
    let node = Node::start().await;
    let sides = sides(&node).await;
    for (own, other) in pairs(&sides) {
        let (mine, theirs) = (node.project(&own.tenant.name), node.project(&other.tenant.name));
        // Both have a signing key of this name.
        let key = mine.signing_keys.iter().find(|key| key.kid == KID).expect("a key");
        let (now, hour) = (node.app.clock.now(), Duration::from_secs(3_600));
        let token = mint_token(&theirs.name, key, "ada", &Rights::everything(), now, hour).expect("a token");
        node.get(ORDERS, &token).await.expect_problem(401, "UNAUTHENTICATED");
        let header = Header { kid: Some(KID.to_owned()), ..Header::default() };
        let audience = [format!("nuncio:{}", mine.name), format!("nuncio:{}", theirs.name)];
        let claims = json!({ "sub": "ada", "aud": audience, "exp": now.timestamp() + 60, "nuncio": { "subscribe": ["#"] } });
        let KeyMaterial::Secret(secret) = &key.material else { panic!("a secret") };
        let signing = EncodingKey::from_secret(secret.expose().as_bytes());
        let both = jsonwebtoken::encode(&header, &claims, &signing).expect("a token");
        node.get(ORDERS, &both).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

/// What administrators make in one project, by the collection that it is in: how it is made, and what names it then.
fn makings(mark: &str) -> [(&'static str, Value, &'static str); 5] {
    [
        ("namespaces", json!({ "name": mark }), "name"),
        ("keys", json!({ "label": mark }), "id"),
        ("signing-keys", json!({ "kid": mark, "algorithm": "HS256" }), "kid"),
        ("revocations", json!({ "kind": "subject", "subject": mark }), "id"),
        (
            "rate-limits",
            json!({ "scope": "subject", "action": "request", "limit": 9, "periodSeconds": 1, "target": mark }),
            "id",
        ),
    ]
}

#[tokio::test]
async fn what_administrators_make_in_one_project_is_not_found_in_another() {
    let node = Node::start().await;
    let sides = sides(&node).await;
    let mut made = Vec::new();
    for own in &sides {
        for (collection, body, name) in makings(&own.mark) {
            let path = format!("/admin/v1/projects/{}/{collection}", own.tenant.name);
            let object = node.post(&path, &node.admin, &body).await.expect(201);
            made.push((own, collection, object[name].as_str().expect("a name").to_owned()));
        }
    }
    for (own, collection, name) in &made {
        let at = |side: &Side| format!("/admin/v1/projects/{}/{collection}", side.tenant.name);
        own.is_own(collection, &node.get(&at(own), &node.admin).await.text);
        for (_, other) in pairs(&sides).filter(|(side, _)| std::ptr::eq(*side, *own)) {
            let one = format!("{}/{name}", at(other));
            node.get(&one, &node.admin).await.expect_problem(404, "NOT_FOUND");
            node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect_problem(404, "NOT_FOUND");
        }
        node.get(&format!("{}/{name}", at(own)), &node.admin).await.expect(200);
    }
}
