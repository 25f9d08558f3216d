//! Revocations as a resource, and what requests make of them at once.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use nuncio_model::cloudevents::write_time;
use nuncio_store::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{KID, Node, Site};

pub(crate) const REVOCATIONS: &str = "/admin/v1/projects/demo/revocations";

/// A token of the project `demo` for an hour, that may read and write everything, with some claims changed; null takes
/// one away.
pub(crate) fn token(now: DateTime<Utc>, changes: Value) -> String {
    let all = json!(["#"]);
    let mut claims = json!({
        "sub": "ada", "aud": "nuncio:demo", "iat": now.timestamp(), "exp": now.timestamp() + 3_600,
        "nuncio": {"subscribe": all, "publish": all},
    });
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let mut claims = claims.as_object().expect("an object").clone();
    claims.retain(|_, value| !value.is_null());
    let header = Header { kid: Some(KID.to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(b"demo-0123456789abcdef0123456789abcdef");
    jsonwebtoken::encode(&header, &claims, &key).expect("a token")
}

/// Makes a revocation, and gives its path.
pub(crate) async fn revoke(site: &Site, admin: &str, body: Value) -> String {
    let request = site.request(Method::POST, REVOCATIONS, admin).json(&body);
    let answer = crate::node::Answer::of(request.send().await.expect("an answer")).await;
    let location = answer.header("location").to_owned();
    let shown = answer.expect(201);
    assert_eq!(location, format!("{REVOCATIONS}/{}", shown["id"].as_str().expect("an id")));
    location
}

#[tokio::test]
async fn a_revocation_is_made_listed_looked_at_and_taken_back() {
    let node = Node::start().await;
    node.tenant("demo").await;
    node.tenant("other").await;
    let now = write_time(node.app.clock.now());
    let jti = revoke(&node, &node.admin, json!({"kind": "jti", "jti": "t-1", "reason": "stolen"})).await;
    let subject = revoke(&node, &node.admin, json!({"kind": "subject", "subject": "ada"})).await;
    let right = json!({"kind": "right", "action": "subscribe", "pattern": "orders.#", "subject": "ada",
        "issuedBefore": now, "expiresAt": "2200-01-01T00:00:00Z"});
    let right = revoke(&node, &node.admin, right).await;
    let seen = node.get(&jti, &node.admin).await.expect(200);
    assert_eq!(
        (&seen["kind"], &seen["jti"], &seen["reason"]),
        (&json!("jti"), &json!("t-1"), &json!("stolen"))
    );
    assert_eq!(
        (&seen["subject"], &seen["issuedBefore"], &seen["expiresAt"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let seen = node.get(&subject, &node.admin).await.expect(200);
    assert_eq!((&seen["subject"], &seen["issuedBefore"]), (&json!("ada"), &json!(now)), "{seen}");
    let seen = node.get(&right, &node.admin).await.expect(200);
    assert_eq!((&seen["action"], &seen["pattern"]), (&json!("subscribe"), &json!("orders.#")));

    let kinds = async |query: &str| {
        let page = node.get(&format!("{REVOCATIONS}?{query}"), &node.admin).await.expect(200);
        let items = page["items"].as_array().expect("a list").clone();
        items.iter().map(|item| item["kind"].as_str().expect("a kind").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("").await, ["jti", "subject", "right"]);
    assert_eq!(kinds("kind=right").await, ["right"]);
    assert_eq!(kinds("subject=ada").await, ["subject", "right"]);
    assert_eq!(kinds("jti=t-1").await, ["jti"]);
    assert_eq!(kinds("limit=1&subject=ada").await, ["subject"]);
    node.get(&format!("{REVOCATIONS}?kind=x"), &node.admin).await.expect_problem(400, "INVALID_REQUEST");

    let viewer = node.app.store.create_admin_key("viewer", Role::Viewer).await.expect("a key");
    node.refresh().await;
    node.get(&jti, viewer.expose()).await.expect(200);
    let delete = async |path: &str, key: &str| node.send(Method::DELETE, path, key, &Value::Null).await;
    delete(&jti, viewer.expose()).await.expect_problem(403, "FORBIDDEN");
    let body = json!({"kind": "jti", "jti": "t"});
    node.post(REVOCATIONS, viewer.expose(), &body).await.expect_problem(403, "FORBIDDEN");
    delete(&jti.replace("demo", "other"), &node.admin).await.expect_problem(404, "NOT_FOUND");
    delete(&jti, &node.admin).await.expect(204);
    for path in [&jti, &format!("{REVOCATIONS}/x"), &format!("{REVOCATIONS}/99999")] {
        node.get(path, &node.admin).await.expect_problem(404, "NOT_FOUND");
        delete(path, &node.admin).await.expect_problem(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn what_would_revoke_something_else_than_it_seems_is_refused() {
    let node = Node::start().await;
    node.tenant("demo").await;
    for (body, fields) in [
        (json!({"kind": "jti"}), &["jti"][..]),
        (json!({"kind": "jti", "jti": "a", "subject": "ada"}), &["subject"]),
        (json!({"kind": "jti", "jti": "a", "issuedBefore": "2020-01-01T00:00:00Z"}), &["issuedBefore"]),
        (json!({"kind": "jti", "subject": "ada", "action": "publish"}), &["jti", "subject", "action"]),
        (json!({"kind": "subject", "jti": "a"}), &["jti", "subject"]),
        (json!({"kind": "subject", "subject": ""}), &["subject"]),
        (json!({"kind": "subject", "subject": "a\u{0}"}), &["subject"]),
        (json!({"kind": "subject", "subject": "ada", "pattern": "#"}), &["pattern"]),
        (
            json!({"kind": "subject", "subject": "ada", "issuedBefore": "2200-01-01T00:00:00Z"}),
            &["issuedBefore"],
        ),
        (json!({"kind": "right", "pattern": "a..b"}), &["action", "pattern"]),
        (json!({"kind": "right", "action": "consume", "pattern": "a"}), &["action"]),
        (json!({"kind": "subject", "subject": "ada", "expiresAt": "2020-01-01T00:00:00Z"}), &["expiresAt"]),
        (json!({"kind": "subject", "subject": "ada", "reason": "x".repeat(201)}), &["reason"]),
        (json!({"kind": "key", "jti": "a"}), &["kind"]),
        (json!({"kind": "jti", "jti": "a", "until": 1}), &["until"]),
    ] {
        let problem = node.post(REVOCATIONS, &node.admin, &body).await.expect_problem(400, "INVALID_REQUEST");
        let errors = problem["errors"].as_array().expect("a list");
        let named: Vec<_> = errors.iter().map(|error| error["field"].as_str().expect("a name")).collect();
        assert_eq!(named, fields, "{body} {problem}");
    }
    assert_eq!(node.get(REVOCATIONS, &node.admin).await.expect(200)["items"], json!([]));
}

/// "A `sub` is revoked for tokens issued (`iat`) before a time."
#[tokio::test]
async fn requests_obey_at_once() {
    let node = Node::start().await;
    let tenant = node.tenant("demo").await;
    let now = node.app.clock.now();
    let read = async |token: &str, channel: &str| {
        let path = format!("/v1/channels/{channel}/events");
        let answer = node.get(&path, token).await;
        let reason = if answer.status == 200 { Value::Null } else { answer.json()["reason"].clone() };
        (answer.status.as_u16(), reason)
    };
    let good = (200, Value::Null);
    let one = token(now, json!({"jti": "one"}));
    let other = token(now, json!({"jti": "other"}));
    let path = revoke(&node, &node.admin, json!({"kind": "jti", "jti": "one"})).await;
    assert_eq!(read(&one, "a").await, (401, json!("TOKEN_REVOKED")));
    assert_eq!(read(&other, "a").await, good);
    node.send(Method::DELETE, &path, &node.admin, &Value::Null).await.expect(204);
    assert_eq!(read(&one, "a").await, good);

    let later = token(now, json!({"iat": now.timestamp() + 1}));
    let timeless = token(now, json!({"iat": null}));
    let bob = token(now, json!({"sub": "bob"}));
    revoke(&node, &node.admin, json!({"kind": "subject", "subject": "ada"})).await;
    for revoked in [&one, &other, &timeless] {
        assert_eq!(read(revoked, "a").await, (401, json!("SUBJECT_REVOKED")));
    }
    assert_eq!(read(&later, "a").await, good);
    assert_eq!(read(&bob, "a").await, good);

    let right = json!({"kind": "right", "action": "subscribe", "pattern": "orders.eu"});
    revoke(&node, &node.admin, right).await;
    for (channel, status) in [("orders.eu", 403), ("orders.%23", 403), ("orders.us", 200), ("stock", 200)] {
        assert_eq!(read(&bob, channel).await.0, status, "{channel}");
        assert_eq!(read(&later, channel).await.0, 200, "it was made later");
        assert_eq!(read(&tenant.key, channel).await.0, 200, "API keys are not hit");
    }
    let right = json!({"kind": "right", "action": "publish", "pattern": "#", "subject": "bob"});
    revoke(&node, &node.admin, right).await;
    let publish = |token: String| {
        let node = &node;
        async move { node.post("/v1/channels/a/events", &token, &json!({"data": 1})).await.status.as_u16() }
    };
    assert_eq!(publish(bob).await, 403);
    assert_eq!(publish(token(now, json!({"sub": "eve"}))).await, 201);
}
