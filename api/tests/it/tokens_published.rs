//! Keys that a project publishes as a JSON Web Key Set, fetched over real HTTP.

use std::time::Duration;

use chrono::TimeDelta;
use nuncio_api::ApiSettings;
use nuncio_model::cloudevents::write_time;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{Answer, Node, SOON};
use crate::sse_kit::Source;
use crate::token_kit::{Publisher, Signer};

const PROJECT: &str = "/admin/v1/projects/shop";
const ORDERS: &str = "/v1/channels/orders/events";

/// A node that may ask this machine, and a project whose keys are at the publisher.
async fn stage(publisher: &Publisher) -> Node {
    let settings = ApiSettings { allow_private_addresses: true, ..ApiSettings::default() };
    let node = Node::start_with(settings).await;
    node.tenant("shop").await;
    set(&node, json!({"jwksUrl": publisher.url})).await.expect(200);
    node
}

async fn set(node: &Node, changes: Value) -> Answer {
    node.send(Method::PATCH, PROJECT, &node.admin, &changes).await
}

async fn status(node: &Node, token: &str) -> u16 {
    node.get(ORDERS, token).await.status.as_u16()
}

/// Asks until the answer is this: a fetch that nobody waits for takes its time.
async fn until(node: &Node, token: &str, expected: u16) {
    let reached = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while status(node, token).await != expected {
            looks.tick().await;
        }
    };
    timeout(SOON, reached).await.expect("in time");
}

async fn inspect(node: &Node, token: &str) -> Value {
    node.post(&format!("{PROJECT}/tokens:inspect"), &node.admin, &json!({"token": token})).await.expect(200)
}

#[tokio::test]
async fn published_keys_check_tokens_and_their_rotation_is_noticed() {
    let (one, two) = (Signer::rsa(), Signer::ec());
    let publisher = Publisher::start(&[one.jwk("one")]).await;
    let node = stage(&publisher).await;
    let (first, second) = (one.token(&node, "one", json!({})), two.token(&node, "two", json!({})));
    assert_eq!((status(&node, &first).await, status(&node, &first).await), (200, 200));
    assert_eq!(publisher.asked(), 1, "the set is kept");
    assert_eq!(inspect(&node, &first).await["key"]["source"], "jwks");
    // A key that is not known is asked for, once in ten seconds at most.
    publisher.publish(&[one.jwk("one"), two.jwk("two")]);
    assert_eq!((status(&node, &second).await, publisher.asked()), (401, 1));
    node.app.clock.advance(Duration::from_secs(10));
    assert_eq!((status(&node, &second).await, publisher.asked()), (200, 2));
    // What is no longer published ends within ten minutes of use, with what is open.
    let mut open = Source::open(&node, ORDERS, &one.token(&node, "one", long(&node)), "").await;
    open.expect("nuncio.ready").await;
    publisher.publish(&[two.jwk("two")]);
    node.app.clock.advance(Duration::from_secs(600));
    let second = two.token(&node, "two", json!({}));
    assert_eq!(status(&node, &second).await, 200);
    until(&node, &one.token(&node, "one", json!({})), 401).await;
    assert_eq!(open.expect("nuncio.goaway").await["reason"], "SIGNING_KEY_REVOKED");
}

fn long(node: &Node) -> Value {
    json!({"exp": node.app.clock.now().timestamp() + 200_000})
}

#[tokio::test]
async fn a_storm_of_unknown_keys_makes_one_fetch_and_nobody_can_cut_it_short() {
    let signer = Signer::ed();
    let publisher = Publisher::start(&[signer.jwk("one")]).await;
    let node = stage(&publisher).await;
    publisher.hold();
    // Whoever asks first goes away before the answer is there.
    let good = signer.token(&node, "one", json!({}));
    let hasty = node.request(Method::GET, ORDERS, &good).timeout(Duration::from_millis(50)).send().await;
    assert!(hasty.is_err(), "the answer waits for the keys");
    let storm = (0..200).map(|n| {
        let token = signer.token(&node, &format!("unknown{n}"), json!({}));
        let node = &node;
        async move { status(node, &token).await }
    });
    let answers = futures_util::future::join_all(storm);
    let (answers, good, ()) = tokio::join!(answers, status(&node, &good), async {
        publisher.let_go();
    });
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    assert_eq!((good, publisher.asked()), (200, 1));
    for n in 0..100 {
        assert_eq!(status(&node, &signer.token(&node, &format!("later{n}"), json!({}))).await, 401);
    }
    assert_eq!(publisher.asked(), 1, "whoever comes later has the answer that there was");
}

#[tokio::test]
async fn a_set_that_cannot_be_fetched_is_kept_for_a_day_and_that_is_told() {
    let signer = Signer::ec();
    let publisher = Publisher::start(&[signer.jwk("one")]).await;
    let node = stage(&publisher).await;
    let token = signer.token(&node, "one", json!({"exp": node.app.clock.now().timestamp() + 200_000}));
    assert_eq!(status(&node, &token).await, 200);
    let other = signer.token(&node, "other", json!({"exp": node.app.clock.now().timestamp() + 200_000}));
    let huge = json!({"keys": [], "padding": "x".repeat(300_000)}).to_string();
    let many = json!({"keys": vec![signer.jwk("one"); 101]}).to_string();
    for (code, body, words) in [
        (500, String::new(), "500"),
        (302, String::new(), "302"),
        (307, json!({"keys": []}).to_string(), "307"),
        (200, huge, "larger"),
        (200, many, "100 keys"),
        (200, "<html>".to_owned(), "no JSON Web Key Set"),
    ] {
        let asked = publisher.asked();
        publisher.answer(StatusCode::from_u16(code).expect("a status"), body);
        node.app.clock.advance(Duration::from_secs(600));
        assert_eq!(status(&node, &other).await, 401);
        assert_eq!(status(&node, &token).await, 200, "the old keys are kept");
        assert_eq!(publisher.asked(), asked + 1, "a redirect is not followed: {words}");
        let report = inspect(&node, &token).await;
        assert_eq!(report["valid"], true, "{report}");
        assert!(report["jwks"]["problem"].as_str().is_some_and(|text| text.contains(words)), "{report}");
    }
    node.app.clock.advance(Duration::from_secs(86_400));
    assert_eq!(status(&node, &token).await, 401, "after a day they are not");
    publisher.publish(&[signer.jwk("one")]);
    node.app.clock.advance(Duration::from_secs(10));
    assert_eq!(status(&node, &signer.token(&node, "one", json!({}))).await, 200);
    assert_eq!(inspect(&node, &token).await["jwks"]["problem"], Value::Null);
}

#[tokio::test]
async fn only_public_addresses_are_asked() {
    let signer = Signer::ed();
    let publisher = Publisher::start(&[signer.jwk("one")]).await;
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let port = publisher.url.rsplit(':').next().expect("a port");
    for url in [
        publisher.url.clone(),
        format!("https://127.0.0.1:{port}"),
        format!("https://2130706433:{port}"),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        "https://169.254.169.254/latest".to_owned(),
        "https://user:secret@example.com/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let problem = set(&node, json!({"jwksUrl": url})).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], "jwksUrl", "{problem}");
    }
    // A name may be public when it is set and lead inside when it is used.
    set(&node, json!({"jwksUrl": format!("https://localhost:{port}")})).await.expect(200);
    let token = signer.token(&node, "one", json!({}));
    assert_eq!(status(&node, &token).await, 401);
    let report = inspect(&node, &token).await;
    assert!(
        report["jwks"]["problem"].as_str().is_some_and(|text| text.contains("public address")),
        "{report}"
    );
    assert_eq!((status(&node, &tenant.key).await, publisher.asked()), (200, 0));
}

#[tokio::test]
async fn tokens_of_published_keys_end_when_the_project_publishes_elsewhere() {
    let signer = Signer::ed();
    let publisher =
        Publisher::start(&[signer.jwk("one"), json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0"})]).await;
    let node = stage(&publisher).await;
    let mut open = Source::open(&node, ORDERS, &signer.token(&node, "one", json!({})), "").await;
    open.expect("nuncio.ready").await;
    let header = jsonwebtoken::Header { kid: Some("oct".to_owned()), ..Default::default() };
    let claims = crate::token_kit::claims(&node, json!({}));
    let forged = jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(b"secret"));
    assert_eq!(
        status(&node, &forged.expect("a token")).await,
        401,
        "a symmetric key is never taken from a set"
    );
    set(&node, json!({"jwksUrl": null})).await.expect(200);
    assert_eq!(open.expect("nuncio.goaway").await["reason"], "SIGNING_KEY_REVOKED");
    assert_eq!(status(&node, &signer.token(&node, "one", json!({}))).await, 401);
}

#[tokio::test]
async fn an_issuer_that_is_set_is_asked_for() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let secret = jsonwebtoken::EncodingKey::from_secret(
        format!("{}-0123456789abcdef0123456789abcdef", tenant.name).as_bytes(),
    );
    let header = jsonwebtoken::Header { kid: Some("main".to_owned()), ..Default::default() };
    let token = |iss: Value| {
        jsonwebtoken::encode(&header, &crate::token_kit::claims(&node, json!({"iss": iss})), &secret)
            .expect("a token")
    };
    assert_eq!(status(&node, &token(json!("anyone"))).await, 200);
    set(&node, json!({"issuer": "https://id.example"})).await.expect(200);
    for (iss, expected) in [
        (json!("https://id.example"), 200),
        (json!("https://id.example/"), 401),
        (Value::Null, 401),
        (json!(["https://id.example"]), 401),
    ] {
        assert_eq!(status(&node, &token(iss.clone())).await, expected, "{iss}");
    }
    let made = json!({"subject": "ada", "rights": {"subscribe": ["#"]}});
    let made = node.post(&format!("{PROJECT}/tokens"), &node.admin, &made).await.expect(201);
    assert_eq!(
        status(&node, made["token"].as_str().expect("a token")).await,
        200,
        "tokens made here carry it"
    );
    set(&node, json!({"issuer": ""})).await.expect_problem(400, "INVALID_REQUEST");
    let time = write_time(node.app.clock.now() + TimeDelta::seconds(3_600));
    assert_eq!(made["expiresAt"].as_str().map(|end| &end[..19]), Some(&time[..19]));
}
