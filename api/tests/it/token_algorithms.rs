//! Signing keys of every algorithm, from their making to the end of what was opened with their tokens.

use chrono::TimeDelta;
use nuncio_model::Clock;
use nuncio_model::cloudevents::write_time;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{Answer, Node, SOON};
use crate::sse_kit::Source;
use crate::token_kit::{Signer, WEAK_RSA};

const KEYS: &str = "/admin/v1/projects/shop/signing-keys";
const ORDERS: &str = "/v1/channels/orders/events";

async fn add(node: &Node, kid: &str, signer: &Signer) -> Value {
    let new = json!({"kid": kid, "algorithm": signer.name(), "publicKey": signer.pem()});
    node.post(KEYS, &node.admin, &new).await.expect(201)
}

async fn patch(node: &Node, kid: &str, changes: &Value) -> Answer {
    node.send(Method::PATCH, &format!("{KEYS}/{kid}"), &node.admin, changes).await
}

#[tokio::test]
async fn public_keys_of_every_algorithm_check_tokens_and_no_others() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let signers = Signer::all();
    for (n, signer) in signers.iter().enumerate() {
        for (kid, key) in [(format!("pem{n}"), json!(signer.pem())), (format!("jwk{n}"), signer.jwk("x"))] {
            let new = json!({"kid": kid, "algorithm": signer.name(), "publicKey": key});
            let made = node.post(KEYS, &node.admin, &new).await.expect(201);
            assert_eq!(
                made["publicKey"].as_str().map(|pem| pem.replace('\r', "")),
                Some(signer.pem().replace('\r', ""))
            );
            assert_eq!(made.get("secret"), None, "{made}");
            node.get(ORDERS, &signer.token(&node, &kid, json!({}))).await.expect(200);
            for other in Signer::all() {
                let forged = other.token(&node, &kid, json!({}));
                node.get(ORDERS, &forged).await.expect_problem(401, "UNAUTHENTICATED");
            }
        }
    }
    // An ES256 signature under the id of an RSA key.
    let crossed = signers[1].token(&node, "pem0", json!({}));
    node.get(ORDERS, &crossed).await.expect_problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn keys_that_are_none_are_refused_with_what_to_mend() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let [rsa, ec, ed] = Signer::all();
    let private = ed.private.clone();
    let mut private_jwk = ed.jwk("a");
    private_jwk["d"] = json!("AAAA");
    let cases = [
        (json!({"algorithm": "RS256", "publicKey": ec.pem()}), "publicKey", "another algorithm"),
        (json!({"algorithm": "ES256", "publicKey": rsa.jwk("a")}), "publicKey", "another algorithm"),
        (json!({"algorithm": "EdDSA", "publicKey": private}), "publicKey", "private key"),
        (json!({"algorithm": "EdDSA", "publicKey": private_jwk}), "publicKey", "private key"),
        (json!({"algorithm": "RS256", "publicKey": WEAK_RSA}), "publicKey", "2048"),
        (json!({"algorithm": "RS256", "publicKey": "hello"}), "publicKey", "no public key"),
        (json!({"algorithm": "RS256", "publicKey": 7}), "publicKey", "must be a text"),
        (json!({"algorithm": "RS256"}), "publicKey", "is needed"),
        (json!({"algorithm": "RS256", "publicKey": {"kty": "oct", "k": "AAAA"}}), "publicKey", "private"),
        (json!({"algorithm": "HS256", "publicKey": rsa.pem()}), "publicKey", "not for HS256"),
        (json!({"algorithm": "HS256", "secret": "short"}), "secret", "32"),
        (json!({"algorithm": "RS256", "publicKey": rsa.pem(), "secret": "x".repeat(40)}), "secret", "HS256"),
        (json!({"algorithm": "none"}), "algorithm", "must be"),
        (json!({"algorithm": "HS256", "kid": "a:b"}), "kid", "letters"),
    ];
    for (new, field, words) in cases {
        let problem = node.post(KEYS, &node.admin, &new).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], field, "{new} {problem}");
        let message = problem["errors"][0]["message"].as_str().expect("a text");
        assert!(message.contains(words), "{new} {message}");
        assert!(!problem.to_string().contains("PRIVATE KEY"), "a private key is not repeated: {problem}");
    }
    let taken = json!({"kid": "main", "algorithm": "HS256"});
    node.post(KEYS, &node.admin, &taken).await.expect_problem(409, "CONFLICT");
}

#[tokio::test]
async fn a_rotated_key_stays_good_for_the_overlap_and_its_tokens_end_with_it() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let (old, new) = (Signer::ec(), Signer::ec());
    add(&node, "old", &old).await;
    let token = old.token(&node, "old", json!({"exp": node.app.clock.now().timestamp() + 7_200}));
    let rotate = format!("{KEYS}/old:rotate");
    let overlap = |seconds: i64| json!({"publicKey": new.pem(), "overlapSeconds": seconds});
    for wrong in [overlap(-1), overlap(2_592_001), json!({"overlapSeconds": 60})] {
        node.post(&rotate, &node.admin, &wrong).await.expect_problem(400, "INVALID_REQUEST");
    }
    let rotation = json!({"kid": "new", "publicKey": new.pem(), "overlapSeconds": 3_600});
    let answer = node.post(&rotate, &node.admin, &rotation).await;
    assert!(answer.header("location").ends_with("/signing-keys/new"), "{:?}", answer.headers);
    assert_eq!(answer.expect(201)["algorithm"], "ES256");
    let ends = write_time(node.app.clock.now() + TimeDelta::seconds(3_600));
    let shown = node.get(&format!("{KEYS}/old"), &node.admin).await.expect(200);
    assert_eq!(shown["expiresAt"].as_str().map(|time| &time[..19]), Some(&ends[..19]), "{shown}");
    node.get(ORDERS, &token).await.expect(200);
    node.get(ORDERS, &new.token(&node, "new", json!({}))).await.expect(200);
    node.app.clock.advance(std::time::Duration::from_secs(3_600));
    node.get(ORDERS, &token).await.expect_problem(401, "UNAUTHENTICATED");
    node.get(ORDERS, &new.token(&node, "new", json!({}))).await.expect(200);
    node.post(&rotate, &node.admin, &rotation).await.expect_problem(409, "CONFLICT");
    // What has ended may be let go on.
    patch(&node, "old", &json!({"expiresAt": null})).await.expect(200);
    node.get(ORDERS, &token).await.expect(200);
}

#[tokio::test]
async fn a_secret_is_rotated_without_a_body_and_the_new_one_is_shown_once() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let request = node.request(Method::POST, &format!("{KEYS}/main:rotate"), &node.admin);
    let made = Answer::of(request.send().await.expect("an answer")).await.expect(201);
    assert!(made["secret"].as_str().is_some_and(|secret| secret.len() >= 32), "{made}");
    let kid = made["kid"].as_str().expect("a kid");
    assert_eq!(node.get(&format!("{KEYS}/{kid}"), &node.admin).await.expect(200).get("secret"), None);
    assert_eq!(node.project(&tenant.name).signing_keys.len(), 2);
    for wrong in ["main:burn", "main", "no:revoke", "%00:revoke"] {
        let answer = node.post(&format!("{KEYS}/{wrong}"), &node.admin, &json!({})).await;
        assert!([400, 404, 405].contains(&answer.status.as_u16()), "{wrong} {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_open_ends_when_its_key_is_revoked_or_ends_and_the_rest_goes_on() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let (one, two, three) = (Signer::ed(), Signer::ed(), Signer::ed());
    for (kid, signer) in [("one", &one), ("two", &two), ("three", &three)] {
        add(&node, kid, signer).await;
    }
    let open = async |signer: &Signer, kid: &str| {
        let mut source = Source::open(&node, ORDERS, &signer.token(&node, kid, json!({})), "").await;
        source.expect("nuncio.ready").await;
        source
    };
    let (mut first, mut second, mut third) =
        (open(&one, "one").await, open(&two, "two").await, open(&three, "three").await);
    node.post(&format!("{KEYS}/one:revoke"), &node.admin, &json!({})).await.expect(200);
    assert_eq!(first.expect("nuncio.goaway").await["reason"], "SIGNING_KEY_REVOKED");
    patch(&node, "one", &json!({"expiresAt": null})).await.expect_problem(409, "CONFLICT");
    // Nothing is changed at the moment in which the second key ends: it must be noticed all the same.
    let end = write_time(Clock::system().now() + TimeDelta::seconds(1));
    patch(&node, "two", &json!({"expiresAt": end})).await.expect(200);
    let ended = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            tokio::select! {
                message = second.next() => break message,
                _ = looks.tick() => node.refresh().await,
            }
        }
    };
    let ended = timeout(SOON, ended).await.expect("noticed in time").expect("a word before the end");
    assert_eq!(ended.name, "nuncio.goaway", "{ended:?}");
    assert_eq!(ended.data["reason"], "SIGNING_KEY_EXPIRED");
    node.publish(&tenant, "orders", 0..1).await;
    assert_eq!(third.numbers(1).await, [0]);
}

#[tokio::test]
async fn the_last_use_of_a_signing_key_is_kept() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let signer = Signer::ed();
    assert_eq!(add(&node, "used", &signer).await["lastUsedAt"], Value::Null);
    node.get(ORDERS, &signer.token(&node, "used", json!({}))).await.expect(200);
    let (store, project) = (node.app.store.clone(), node.app.directory.snapshot());
    let project = project.projects().next().expect("a project").id;
    // A node that stops writes what it has noted.
    node.app.drain.cancel();
    let written = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
        while store.signing_key(project, "used").await.expect("the key").last_used_at.is_none() {
            looks.tick().await;
        }
    };
    timeout(SOON, written).await.expect("written in time");
}
