//! Keys and tokens that must not be believed, and the ones that must.

use std::time::Duration;

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use nuncio_model::rights::RightsText;
use nuncio_model::{Clock, ProjectName, Rights};
use nuncio_store::NewApiKey;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{Answer, KID, Node, ORIGIN, SOON};

const ORDERS: &str = "/v1/channels/orders/events";

fn secret(project: &ProjectName) -> String {
    format!("{project}-0123456789abcdef0123456789abcdef")
}

/// Good claims, with some changed; null takes one away.
fn claims(node: &Node, changes: Value) -> Value {
    let now = node.app.clock.now().timestamp();
    let mut claims = json!({
        "sub": "ada", "aud": "nuncio:shop", "exp": now + 60, "nuncio": {"subscribe": ["#"]},
    });
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let kept =
        claims.as_object().expect("an object").clone().into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(kept.collect())
}

fn sign(header: &Header, claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

fn header(kid: Option<&str>) -> Header {
    Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) }
}

#[tokio::test]
async fn a_token_is_believed_only_as_its_project_signed_it() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    let now = node.app.clock.now().timestamp();
    let status = async |token: &str| node.get(ORDERS, token).await.status.as_u16();
    let good = |changes: Value| sign(&header(Some(KID)), &claims(&node, changes), &secret(&shop.name));
    for changes in [
        json!({}),
        json!({"aud": ["x", "nuncio:shop"]}),
        json!({"nbf": now, "iat": now, "exp": now as f64 + 9.5}),
    ] {
        assert_eq!(status(&good(changes.clone())).await, 200, "{changes}");
    }
    assert_eq!(status(&sign(&header(None), &claims(&node, json!({})), &secret(&shop.name))).await, 200);
    let bad_claims = [
        json!({"exp": null}),
        json!({"exp": now - 6}),
        json!({"exp": "9999999999"}),
        json!({"exp": 1e300}),
        json!({"nbf": now + 60}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"aud": null}),
        json!({"aud": "shop"}),
        json!({"aud": "nuncio:none"}),
        json!({"aud": ["nuncio:shop", "nuncio:bank"]}),
        json!({"nuncio": {"subscribe": ["a..b"]}}),
        json!({"nuncio": {"everything": true}}),
        json!({"nuncio": "all"}),
    ];
    for changes in bad_claims {
        assert_eq!(status(&good(changes.clone())).await, 401, "{changes}");
    }
    assert_eq!(status(&good(json!({"nuncio": null}))).await, 403, "nothing is allowed by default");
    let of = |header: &Header, secret: &str| sign(header, &claims(&node, json!({})), secret);
    for kid in ["other", "../main", "' or 1=1", "http://127.0.0.1/"] {
        assert_eq!(status(&of(&header(Some(kid)), &secret(&shop.name))).await, 401, "{kid}");
    }
    assert_eq!(status(&of(&header(Some(KID)), &secret(&bank.name))).await, 401, "another project's secret");
    let hs512 = Header { alg: Algorithm::HS512, ..header(Some(KID)) };
    assert_eq!(status(&of(&hs512, &secret(&shop.name))).await, 401, "the key's algorithm, not the token's");
    let critical = Header { crit: Some(vec!["x".to_owned()]), ..header(Some(KID)) };
    assert_eq!(status(&of(&critical, &secret(&shop.name))).await, 401, "a critical extension");
    let token = good(json!({}));
    let (start, _) = token.rsplit_once('.').expect("a signature");
    let body = token.split('.').nth(1).expect("claims");
    for forged in [
        format!("{start}."),
        start.to_owned(),
        format!("eyJhbGciOiJub25lIn0.{body}."),
        format!("eyJhbGciOiJSUzI1NiIsImtpZCI6Im1haW4ifQ.{body}.AAAA"),
        format!("{token}{}", "A".repeat(8_192)),
        "a.b.c".to_owned(),
        "..".to_owned(),
    ] {
        assert_eq!(status(&forged).await, 401, "{forged}");
    }
}

#[tokio::test]
async fn a_token_of_one_project_sees_nothing_of_another() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    node.publish(&shop, "orders", 0..1).await;
    node.publish(&bank, "orders", 7..9).await;
    let token = node.token(&shop.name, &Rights::everything());
    for credentials in [&token, &shop.key] {
        let page = node.get("/v1/channels/%23/events", credentials).await.expect(200);
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
    }
}

#[tokio::test]
async fn keys_end_and_are_revoked_and_do_not_open_the_other_api() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let expires_at = Some(node.app.clock.now() + TimeDelta::seconds(60));
    let new =
        NewApiKey { label: String::new(), rights: Rights::everything(), expires_at, ..NewApiKey::default() };
    let project = node.project(&tenant.name).id;
    let (key, text) = node.app.store.create_api_key(project, &new).await.expect("a key");
    node.refresh().await;
    node.get(ORDERS, text.expose()).await.expect(200);
    node.app.clock.advance(Duration::from_secs(60));
    node.get(ORDERS, text.expose()).await.expect_problem(401, "UNAUTHENTICATED");
    let path = format!("/admin/v1/projects/shop/keys/{}:revoke", key.id);
    let revoked = node.post(&path, &node.admin, &json!({})).await.expect(200);
    assert!(revoked["revokedAt"].is_string(), "{revoked}");
    for bad in [
        &tenant.key[..20],
        &format!("{}x", tenant.key),
        &tenant.key.replace("nk_", "na_"),
        "nk_",
        "na_",
        "",
        &node.admin,
    ] {
        node.get(ORDERS, bad).await.expect_problem(401, "UNAUTHENTICATED");
    }
    let token = node.token(&tenant.name, &Rights::everything());
    for bad in [&tenant.key, &token] {
        node.get("/admin/v1/projects", bad).await.expect_problem(401, "UNAUTHENTICATED");
    }
    let two = node.request(Method::GET, ORDERS, &tenant.key).header("authorization", "Bearer x");
    Answer::of(two.send().await.expect("an answer")).await.expect_problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    node.get(ORDERS, &tenant.key).await.expect(200);
    let path = "/admin/v1/projects/shop/keys";
    let last_use = async || node.get(path, &node.admin).await.expect(200)["items"][0]["lastUsedAt"].clone();
    assert_eq!(last_use().await, Value::Null);
    // A node that stops writes what it has noted.
    let store = node.app.store.clone();
    let project = node.project(&tenant.name).id;
    let used_at = node.app.clock.now();
    node.app.drain.cancel();
    let written = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            let keys = store.list_api_keys(project, 0, 1).await.expect("the keys");
            if let Some(time) = keys[0].last_used_at {
                break time;
            }
            looks.tick().await;
        }
    };
    let written = timeout(SOON, written).await.expect("written in time");
    assert_eq!(written.timestamp_micros(), used_at.timestamp_micros());
}

#[tokio::test]
async fn pages_of_foreign_origins_are_refused() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let own = format!("http://{}", node.address);
    for (origin, status) in [(ORIGIN, 200), (&*own, 200), ("https://evil.example", 403), ("null", 403)] {
        let request = node.request(Method::GET, ORDERS, &tenant.key).header("origin", origin);
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        assert_eq!(answer.status.as_u16(), status, "{origin}");
        let told = answer.header("access-control-allow-origin");
        assert_eq!(told, if origin == ORIGIN { origin } else { "" });
    }
}

#[tokio::test]
async fn clocks_that_are_a_little_apart_do_not_matter() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let ahead = Clock::fixed(node.app.clock.now() + TimeDelta::seconds(3)).now().timestamp();
    let token = sign(&header(Some(KID)), &claims(&node, json!({"nbf": ahead})), &secret(&tenant.name));
    node.get(ORDERS, &token).await.expect(200);
    let narrow = RightsText { subscribe: vec!["stock".to_owned()], ..RightsText::default() };
    node.get(ORDERS, &node.token(&tenant.name, &narrow)).await.expect_problem(403, "FORBIDDEN");
}
