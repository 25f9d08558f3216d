//! Keys and tokens of those who mean harm. After each the node answers everyone else at once.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use nuncio_model::Rights;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{Answer, KID, Node, Tenant};
use crate::token_kit::{Publisher, Signer, claims};

const ORDERS: &str = "/v1/channels/orders/events";
const KEYS: &str = "/admin/v1/projects/shop/signing-keys";
/// How long an answer may take while the node is well.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn stage() -> (Node, Tenant) {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    (node, tenant)
}

/// The credentials are refused, with nothing in the answer but that, and the node is as it was.
async fn refused(node: &Node, tenant: &Tenant, credentials: &str) {
    let answer = timeout(AT_ONCE, node.get(ORDERS, credentials)).await.expect("an answer at once");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let problem = answer.expect_problem(401, "UNAUTHENTICATED");
    let tail = credentials.get(credentials.len().saturating_sub(12)..).filter(|tail| tail.len() == 12);
    assert!(tail.is_none_or(|tail| !problem.to_string().contains(tail)), "{problem}");
    well(node, tenant).await;
}

async fn well(node: &Node, tenant: &Tenant) {
    timeout(AT_ONCE, node.get(ORDERS, &tenant.key)).await.expect("an answer at once").expect(200);
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token whose header is written by hand and which is signed with these bytes as the secret of HS256.
fn with_header(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret);
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

fn secret() -> Vec<u8> {
    b"shop-0123456789abcdef0123456789abcdef".to_vec()
}

#[tokio::test]
async fn a_token_without_a_signature_is_none() {
    let (node, tenant) = stage().await;
    let claims = part(&claims(&node, json!({})));
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = part(&json!({"alg": alg, "kid": KID}));
        for signature in ["", "AAAA", "="] {
            refused(&node, &tenant, &format!("{header}.{claims}.{signature}")).await;
        }
        refused(&node, &tenant, &format!("{header}.{claims}")).await;
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_of_hs256() {
    let (node, tenant) = stage().await;
    for (kid, signer) in ["rsa", "ec", "ed"].into_iter().zip(Signer::all()) {
        let new = json!({"kid": kid, "algorithm": signer.name(), "publicKey": signer.pem()});
        let made = node.post(KEYS, &node.admin, &new).await.expect(201);
        let claims = claims(&node, json!({}));
        node.get(ORDERS, &signer.token(&node, kid, json!({}))).await.expect(200);
        let shown = made["publicKey"].as_str().expect("a key").as_bytes().to_vec();
        let trimmed = signer.pem().trim().as_bytes().to_vec();
        for secret in [shown, trimmed, signer.pem().into_bytes(), signer.public.clone(), Vec::new()] {
            for alg in ["HS256", signer.name()] {
                let token = with_header(&json!({"alg": alg, "kid": kid}), &claims, &secret);
                refused(&node, &tenant, &token).await;
            }
        }
    }
}

#[tokio::test]
async fn a_key_id_is_only_ever_compared() {
    let (node, tenant) = stage().await;
    let kids = [
        json!("../../../../dev/null"),
        json!("/etc/passwd"),
        json!("main' or '1'='1"),
        json!("'; drop table signing_keys; --"),
        json!("http://127.0.0.1:1/keys"),
        json!("main\u{0}"),
        json!(" main"),
        json!("MAIN"),
        json!("x".repeat(4_000)),
        json!(""),
        json!(7),
        json!(null),
        json!(["main"]),
        json!({"main": 1}),
    ];
    for kid in kids {
        for secret in [secret(), Vec::new()] {
            let token = with_header(&json!({"alg": "HS256", "kid": kid}), &claims(&node, json!({})), &secret);
            refused(&node, &tenant, &token).await;
        }
        let token = with_header(&json!({"alg": "HS256", "kid": kid}), &claims(&node, json!({})), b"x");
        let question = json!({"token": token});
        node.post("/admin/v1/projects/shop/tokens:inspect", &node.admin, &question).await.expect(200);
    }
    node.get(ORDERS, &node.token(&tenant.name, &Rights::everything())).await.expect(200);
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_looked_at() {
    let (node, tenant) = stage().await;
    let signer = Signer::rsa();
    let publisher = Publisher::start(&[signer.jwk(KID)]).await;
    let own = claims(&node, json!({}));
    let mut jwk = signer.jwk(KID);
    jwk.as_object_mut().expect("an object").remove("use");
    for (name, value) in [
        ("jku", json!(publisher.url)),
        ("x5u", json!(publisher.url)),
        ("jwk", jwk),
        ("x5c", json!(["MIIB"])),
        ("jku", json!("file:///etc/passwd")),
    ] {
        let mut header = json!({"alg": "HS256", "kid": KID});
        header[name] = value.clone();
        // With the project's own signature it is a good token, whatever else it brings along.
        let good = with_header(&header, &own, &secret());
        node.get(ORDERS, &good).await.expect(200);
        let mut header: Header = serde_json::from_value(header).expect("a header");
        header.alg = Algorithm::RS256;
        for kid in [Some(KID), Some("brought"), None] {
            header.kid = kid.map(str::to_owned);
            refused(&node, &tenant, &signer.sign(&header, &own)).await;
        }
    }
    assert_eq!(publisher.asked(), 0, "nothing is fetched that a token names");
    for crit in [json!(["exp"]), json!([]), json!(null), json!("b64"), json!(7)] {
        let token = with_header(&json!({"alg": "HS256", "kid": KID, "crit": crit}), &own, &secret());
        refused(&node, &tenant, &token).await;
    }
}

#[tokio::test]
async fn claims_that_are_missing_or_of_a_wrong_type_are_told_apart() {
    let (node, tenant) = stage().await;
    let now = node.app.clock.now().timestamp();
    let texts = [json!(7), json!(true), json!([]), json!({}), json!(["a"]), json!("")];
    let times = [json!("1"), json!(true), json!([]), json!({}), json!(-1), json!(1e300), json!("9999999999")];
    let rights = [
        json!("all"),
        json!(7),
        json!([]),
        json!({"subscribe": "#"}),
        json!({"subscribe": [7]}),
        json!({"subscribe": ["a..b"]}),
        json!({"admin": true}),
    ];
    let mut wrong: Vec<Value> = Vec::new();
    for (name, values) in [
        ("sub", &texts[..]),
        ("jti", &texts[..]),
        ("exp", &times[..]),
        ("nbf", &times[..]),
        ("iat", &times[..]),
        ("nuncio", &rights[..]),
    ] {
        wrong.extend(values.iter().map(|value| json!({ name: value })));
    }
    wrong.extend([
        json!({"sub": "x".repeat(257)}),
        json!({"jti": "x".repeat(257)}),
        json!({"sub": null}),
        json!({"exp": null}),
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": 7}),
        json!({"aud": []}),
        json!({"aud": ["nuncio:shop", 7]}),
        json!({"aud": {"nuncio:shop": true}}),
        json!({"iat": now + 60}),
        json!({"exp": now - 6}),
    ]);
    for changes in wrong {
        let token =
            with_header(&json!({"alg": "HS256", "kid": KID}), &claims(&node, changes.clone()), &secret());
        let problem = node.get(ORDERS, &token).await.expect_problem(401, "UNAUTHENTICATED");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.starts_with("the token ")),
            "{problem}"
        );
        well(&node, &tenant).await;
    }
    for body in ["[]", "7", "null", "{", "", "{\"sub\":\"\u{0}"] {
        let message =
            format!("{}.{}", part(&json!({"alg": "HS256", "kid": KID})), URL_SAFE_NO_PAD.encode(body));
        let key = EncodingKey::from_secret(&secret());
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("signed");
        refused(&node, &tenant, &format!("{message}.{signature}")).await;
    }
}

#[tokio::test]
async fn credentials_without_end_or_in_two_places_are_refused() {
    let (node, tenant) = stage().await;
    let token = with_header(
        &json!({"alg": "HS256", "kid": KID}),
        &claims(&node, json!({"x": "y".repeat(6_100)})),
        &secret(),
    );
    assert!(token.len() > 8_192, "{}", token.len());
    refused(&node, &tenant, &token).await;
    refused(&node, &tenant, &format!("nk_{}", "a".repeat(20_000))).await;
    refused(&node, &tenant, &".".repeat(8_000)).await;
    refused(&node, &tenant, &format!("{}.{}.", "A".repeat(4_000), "A".repeat(4_000))).await;
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(3_000));
    refused(&node, &tenant, &format!("{deep}.{deep}.AAAA")).await;
    let good = node.token(&tenant.name, &Rights::everything());
    for second in ["Bearer x", &format!("Bearer {good}"), "Basic eDp4"] {
        let two = node.request(Method::GET, ORDERS, &good).header("authorization", second);
        let answer = Answer::of(two.send().await.expect("an answer")).await;
        answer.expect_problem(401, "UNAUTHENTICATED");
    }
    for scheme in ["Basic", "bearer:", "Token", ""] {
        let request =
            node.request(Method::GET, ORDERS, "").header("authorization", format!("{scheme} {good}"));
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        answer.expect_problem(401, "UNAUTHENTICATED");
    }
    well(&node, &tenant).await;
}

#[tokio::test]
async fn keys_that_are_cut_of_others_or_revoked_open_nothing() {
    let (node, tenant) = stage().await;
    let bank = node.tenant("bank").await;
    for length in [1, 3, 10, 11, 12, tenant.key.len() - 1] {
        refused(&node, &tenant, &tenant.key[..length]).await;
    }
    let upper = tenant.key.to_uppercase();
    for odd in [&format!("{} ", &tenant.key[..11]), &format!("{}\t", &tenant.key[..20]), &upper] {
        refused(&node, &tenant, odd).await;
    }
    // The prefix of one and the secret of the other.
    refused(&node, &tenant, &format!("{}{}", &tenant.key[..11], &bank.key[11..])).await;
    // Another project's key reads its own project alone.
    node.publish(&tenant, "orders", 0..3).await;
    let page = node.get(ORDERS, &bank.key).await.expect(200);
    assert_eq!(page["events"], json!([]));
    let page = node.get("/admin/v1/projects/shop/keys", &node.admin).await.expect(200);
    let id = page["items"][0]["id"].as_str().expect("an id").to_owned();
    node.post(&format!("/admin/v1/projects/shop/keys/{id}:revoke"), &node.admin, &json!({}))
        .await
        .expect(200);
    refused(&node, &bank, &tenant.key).await;
}

#[tokio::test]
async fn guessing_secrets_takes_bounded_time_and_leaves_nothing_behind() {
    let (node, tenant) = stage().await;
    let begun = Instant::now();
    let guess = async |n: u32| {
        let wrong = format!("{}_{n:040}", &tenant.key[..11]);
        assert_eq!(node.get(ORDERS, &wrong).await.status.as_u16(), 401);
    };
    for round in 0..100 {
        let guesses = (0..100).map(|n| guess(round * 100 + n));
        futures_util::future::join_all(guesses).await;
    }
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(60), "{taken:?}");
    well(&node, &tenant).await;
}
