//! Tokens that Nuncio makes for servers, and what it says about those that others made.

use std::time::Duration;

use chrono::TimeDelta;
use jsonwebtoken::{EncodingKey, Header};
use nuncio_model::Rights;
use nuncio_model::rights::RightsText;
use nuncio_store::{NewApiKey, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, KID, Node};
use crate::token_kit::{Signer, claims};

const TOKENS: &str = "/admin/v1/projects/shop/tokens";
const KEYS: &str = "/admin/v1/projects/shop/signing-keys";

async fn inspect(node: &Node, question: Value) -> Value {
    node.post(&format!("{TOKENS}:inspect"), &node.admin, &question).await.expect(200)
}

fn codes(report: &Value) -> Vec<&str> {
    let problems = report["problems"].as_array().expect("a list");
    problems.iter().map(|problem| problem["code"].as_str().expect("a text")).collect()
}

/// Signed with the secret of the project shop.
fn signed(node: &Node, changes: Value) -> String {
    let header = Header { kid: Some(KID.to_owned()), ..Header::default() };
    let secret = EncodingKey::from_secret(b"shop-0123456789abcdef0123456789abcdef");
    jsonwebtoken::encode(&header, &claims(node, changes), &secret).expect("a token")
}

#[tokio::test]
async fn a_token_made_here_does_what_was_asked_for_until_its_end() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let new = json!({"subject": "ada", "rights": {"subscribe": ["orders.*"]}, "expiresInSeconds": 60, "jti": "t-1"});
    for asker in [&node.admin, &tenant.key] {
        let made = node.post(TOKENS, asker, &new).await.expect(201);
        let token = made["token"].as_str().expect("a token");
        assert_eq!((&made["kid"], &made["jti"]), (&json!(KID), &json!("t-1")));
        node.get("/v1/channels/orders.eu/events", token).await.expect(200);
        node.get("/v1/channels/orders.eu.1/events", token).await.expect_problem(403, "FORBIDDEN");
        let report = inspect(&node, json!({"token": token})).await;
        assert_eq!((&report["valid"], &report["subject"]), (&json!(true), &json!("ada")), "{report}");
        assert_eq!(report["expiresAt"], made["expiresAt"]);
    }
    let made = node.post(TOKENS, &node.admin, &new).await.expect(201);
    node.app.clock.advance(Duration::from_secs(65));
    let token = made["token"].as_str().expect("a token");
    node.get("/v1/channels/orders.eu/events", token).await.expect_problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_key_gives_only_what_it_has_for_as_long_as_it_has_it() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    let rights = RightsText { subscribe: vec!["orders.*".to_owned()], ..RightsText::default() };
    let expires_at = Some(node.app.clock.now() + TimeDelta::seconds(600));
    let new = NewApiKey { label: String::new(), rights, allowed_networks: Vec::new(), expires_at };
    let key = node.app.store.create_api_key(node.project(&shop.name).id, &new).await.expect("a key").1;
    node.refresh().await;
    let ask = async |rights: Value, seconds: Value| {
        let new = json!({"subject": "ada", "rights": rights, "expiresInSeconds": seconds});
        node.post(TOKENS, key.expose(), &new).await
    };
    ask(json!({"subscribe": ["orders.eu"]}), json!(60)).await.expect(201);
    let new = json!({"subject": "ada", "rights": {}});
    let again = node.request(Method::POST, TOKENS, key.expose()).header("idempotency-key", "1").json(&new);
    Answer::of(again.send().await.expect("an answer")).await.expect(201);
    for (wider, named) in [
        (json!({"subscribe": ["orders.#"]}), "orders.#"),
        (json!({"subscribe": ["orders.eu", "stock"]}), "stock"),
        (json!({"publish": ["orders.eu"]}), "orders.eu"),
        (json!({"consume": ["billing"]}), "billing"),
    ] {
        let problem = ask(wider, json!(60)).await.expect_problem(403, "FORBIDDEN");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{problem}");
    }
    ask(json!({}), json!(601)).await.expect_problem(403, "FORBIDDEN");
    let made = ask(json!({}), Value::Null).await.expect(201);
    let report = inspect(&node, json!({"token": made["token"]})).await;
    assert_eq!(report["claims"]["exp"], node.app.clock.now().timestamp() + 600, "it ends with the key");
    let new = json!({"subject": "ada", "rights": {}});
    node.post(TOKENS, &bank.key, &new).await.expect_problem(404, "NOT_FOUND");
    let viewer = node.app.store.create_admin_key("viewer", Role::Viewer).await.expect("a key");
    node.refresh().await;
    node.post(TOKENS, viewer.expose(), &new).await.expect_problem(403, "FORBIDDEN");
    let token = node.token(&shop.name, &Rights::everything());
    node.post(TOKENS, &token, &new).await.expect_problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_what_to_mend() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let wrong =
        json!({"subject": "", "jti": "", "expiresInSeconds": 86_401, "rights": {"publish": ["a..b"]}});
    let problem = node.post(TOKENS, &node.admin, &wrong).await.expect_problem(400, "INVALID_REQUEST");
    let fields: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["subject", "jti", "expiresInSeconds", "rights.publish[0]"], "{problem}");
    // A token of such a subject once was good, and could not be revoked.
    let wrong = json!({"subject": "a\u{0}b", "jti": "j\n", "rights": {}});
    let problem = node.post(TOKENS, &node.admin, &wrong).await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2), "{problem}");
    let long = json!({"subject": "ada", "rights": {"subscribe": vec!["x".repeat(60); 200]}});
    node.post(TOKENS, &node.admin, &long).await.expect_problem(400, "INVALID_REQUEST");
    let signer = Signer::ed();
    let public = json!({"kid": "public", "algorithm": "EdDSA", "publicKey": signer.pem()});
    node.post(KEYS, &node.admin, &public).await.expect(201);
    for kid in ["public", "none"] {
        let new = json!({"subject": "ada", "rights": {}, "kid": kid});
        node.post(TOKENS, &node.admin, &new).await.expect_problem(409, "CONFLICT");
    }
    node.post(&format!("{KEYS}/main:revoke"), &node.admin, &json!({})).await.expect(200);
    let new = json!({"subject": "ada", "rights": {}});
    let problem = node.post(TOKENS, &node.admin, &new).await.expect_problem(409, "CONFLICT");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("signing-keys")), "{problem}");
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_token_is_told_at_once() {
    let node = Node::start().await;
    node.tenant("shop").await;
    node.tenant("bank").await;
    let now = node.app.clock.now().timestamp();
    let good = inspect(&node, json!({"token": signed(&node, json!({}))})).await;
    assert_eq!(
        (&good["valid"], &good["verified"], codes(&good)),
        (&json!(true), &json!(true), vec![]),
        "{good}"
    );
    assert_eq!(good["key"], json!({"kid": KID, "algorithm": "HS256", "source": "signingKey"}));
    let all_wrong = json!({
        "aud": "nuncio:bank", "sub": 7, "exp": now - 60, "nbf": now + 60, "iat": now + 60, "jti": "",
        "nuncio": {"subscribe": ["a..b"]},
    });
    let report = inspect(&node, json!({"token": signed(&node, all_wrong)})).await;
    assert_eq!(
        codes(&report),
        [
            "WRONG_AUDIENCE",
            "CLAIM_INVALID",
            "EXPIRED",
            "NOT_YET_VALID",
            "ISSUED_IN_FUTURE",
            "CLAIM_INVALID",
            "INVALID_RIGHTS"
        ],
        "{report}"
    );
    assert!(report["problems"][6]["message"].as_str().is_some_and(|text| text.contains("a..b")), "{report}");
    assert_eq!((&report["verified"], &report["claims"]["sub"]), (&json!(true), &json!(7)));
    let nothing = json!({"aud": null, "sub": null, "exp": null, "nuncio": null});
    let report = inspect(&node, json!({"token": signed(&node, nothing)})).await;
    assert_eq!(codes(&report), ["CLAIM_MISSING", "CLAIM_MISSING", "CLAIM_MISSING"], "{report}");
    let both = json!({"aud": ["nuncio:shop", "nuncio:bank"]});
    let report = inspect(&node, json!({"token": signed(&node, both)})).await;
    assert_eq!((codes(&report), &report["valid"]), (vec!["WRONG_AUDIENCE"], &json!(false)), "{report}");
    let revocation = json!({"kind": "jti", "jti": "t-9"});
    node.post("/admin/v1/projects/shop/revocations", &node.admin, &revocation).await.expect(201);
    let report = inspect(&node, json!({"token": signed(&node, json!({"jti": "t-9"}))})).await;
    assert_eq!(codes(&report), ["REVOKED"], "{report}");
    let forged = format!("{}AAAA", signed(&node, json!({"exp": now - 60})));
    let report = inspect(&node, json!({"token": forged})).await;
    assert_eq!(
        (codes(&report), &report["verified"]),
        (vec!["BAD_SIGNATURE", "EXPIRED"], &json!(false)),
        "{report}"
    );
    for (token, code) in
        [("x".to_owned(), "MALFORMED"), (node.admin.clone(), "MALFORMED"), ("x".repeat(9_000), "TOO_LONG")]
    {
        let report = inspect(&node, json!({"token": token})).await;
        assert_eq!((codes(&report), &report["header"]), (vec![code], &Value::Null), "{report}");
        assert!(!report.to_string().contains(&node.admin), "a key is not repeated");
    }
}

#[tokio::test]
async fn the_checker_tells_what_became_of_a_key_and_what_a_token_allows() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let signer = Signer::ec();
    let new = json!({"kid": "ec", "algorithm": "ES256", "publicKey": signer.pem()});
    node.post(KEYS, &node.admin, &new).await.expect(201);
    let token = signer.token(&node, "ec", json!({"nuncio": {"subscribe": ["stock", "orders.#"]}}));
    for (channel, by) in [
        ("orders.eu", json!("orders.#")),
        ("orders.*", json!("orders.#")),
        ("#", Value::Null),
        ("x", Value::Null),
    ] {
        let question = json!({"token": token, "action": "subscribe", "channel": channel});
        let allows = inspect(&node, question).await["allows"].clone();
        assert_eq!((&allows["allowed"], &allows["by"]), (&json!(by != Value::Null), &by), "{channel}");
    }
    for wrong in [
        json!({"token": token, "action": "subscribe"}),
        json!({"token": token, "channel": "a"}),
        json!({"token": token, "action": "subscribe", "channel": "a..b"}),
        json!({"token": token, "action": "burn", "channel": "a"}),
        json!({}),
    ] {
        let path = format!("{TOKENS}:inspect");
        node.post(&path, &node.admin, &wrong).await.expect_problem(400, "INVALID_REQUEST");
    }
    let confused = Signer::ed().token(&node, "ec", json!({}));
    assert_eq!(codes(&inspect(&node, json!({"token": confused})).await), ["WRONG_ALGORITHM"]);
    let unknown = signer.token(&node, "none", json!({}));
    assert_eq!(codes(&inspect(&node, json!({"token": unknown})).await), ["UNKNOWN_KEY"]);
    node.post(&format!("{KEYS}/ec:revoke"), &node.admin, &json!({})).await.expect(200);
    let report = inspect(&node, json!({"token": token, "action": "subscribe", "channel": "stock"})).await;
    assert_eq!(
        (codes(&report), &report["allows"]["allowed"]),
        (vec!["KEY_REVOKED"], &json!(false)),
        "{report}"
    );
    let viewer = node.app.store.create_admin_key("viewer", Role::Viewer).await.expect("a key");
    node.refresh().await;
    node.post(&format!("{TOKENS}:inspect"), viewer.expose(), &json!({"token": token})).await.expect(200);
}
