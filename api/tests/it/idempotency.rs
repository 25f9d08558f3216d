//! `Idempotency-Key`: what is sent again is answered again and done once.

use nuncio_store::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node, Site};

const KEYS: &str = "/admin/v1/projects/shop/keys";

async fn ask(site: &Site, admin: &str, path: &str, (key, body): (&str, &Value)) -> Answer {
    let request = site.request(Method::POST, path, admin).header("idempotency-key", key).json(body);
    Answer::of(request.send().await.expect("an answer")).await
}

impl Node {
    async fn count(&self, what: &str) -> u64 {
        self.database
            .run(&format!("select count(*) from {what}"))
            .await
            .expect("counted")
            .trim()
            .parse()
            .expect("a number")
    }
}

#[tokio::test]
async fn a_repeat_is_answered_again_on_every_node_and_done_once() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let keys = node.count("api_keys").await;
    let body = json!({"label": "web"});
    let first = ask(&node, &node.admin, KEYS, ("\"8e03978e\"", &body)).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (201, ""));
    let peer = node.beside().await;
    for site in [&*node, &peer.site] {
        let again = ask(site, &node.admin, KEYS, ("\"8e03978e\"", &body)).await;
        assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
        assert_eq!(again.text, first.text, "its secret too");
        for name in ["location", "etag", "content-type"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(node.count("api_keys").await, keys + 1);
    // Another key, path or admin key is another request.
    ask(&node, &node.admin, KEYS, ("other", &body)).await.expect(201);
    ask(&node, &node.admin, "/admin/v1/projects/shop/namespaces", ("other", &json!({"name": "a"})))
        .await
        .expect(201);
    let other = node.app.store.create_admin_key("other", Role::Owner).await.expect("a key");
    node.refresh().await;
    let theirs = ask(&node, other.expose(), KEYS, ("other", &body)).await;
    assert_eq!((theirs.status.as_u16(), theirs.header("idempotency-replayed")), (201, ""));
    assert_eq!(node.count("api_keys").await, keys + 3);
}

#[tokio::test]
async fn the_same_key_for_another_body_is_refused() {
    let node = Node::start().await;
    node.tenant("shop").await;
    ask(&node, &node.admin, KEYS, ("k", &json!({"label": "a"}))).await.expect(201);
    ask(&node, &node.admin, KEYS, ("k", &json!({"label": "b"}))).await.expect_problem(422, "CONFLICT");
    for bad in ["", &"x".repeat(256)] {
        let problem =
            ask(&node, &node.admin, KEYS, (bad, &json!({}))).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], "Idempotency-Key");
    }
    let two = node
        .request(Method::POST, KEYS, &node.admin)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    Answer::of(two.json(&json!({})).send().await.expect("an answer"))
        .await
        .expect_problem(400, "INVALID_REQUEST");
    ask(&node, "na_x", KEYS, ("k", &json!({}))).await.expect_problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn many_at_once_do_it_once() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let (keys, body) = (node.count("api_keys").await, json!({"label": "web"}));
    let requests = (0..20).map(|_| ask(&node, &node.admin, KEYS, ("k", &body)));
    let answers = futures_util::future::join_all(requests).await;
    assert_eq!(node.count("api_keys").await, keys + 1);
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty() && made.iter().all(|answer| answer.text == made[0].text));
    let late = answers.into_iter().filter(|answer| answer.status != 201);
    late.for_each(|answer| drop(answer.expect_problem(409, "CONFLICT")));
}

#[tokio::test]
async fn what_was_refused_did_nothing_and_is_judged_anew() {
    let node = Node::start().await;
    let body = json!({"label": "web"});
    ask(&node, &node.admin, KEYS, ("k", &body)).await.expect_problem(404, "NOT_FOUND");
    node.tenant("shop").await;
    ask(&node, &node.admin, KEYS, ("k", &body)).await.expect(201);
    assert_eq!(node.count("idempotent_answers").await, 1);
    let viewer = node.app.store.create_admin_key("v", Role::Viewer).await.expect("a key");
    node.refresh().await;
    ask(&node, viewer.expose(), KEYS, ("v", &body)).await.expect_problem(403, "FORBIDDEN");
    assert_eq!(node.count("idempotent_answers").await, 1);
}

#[tokio::test]
async fn an_api_key_makes_tokens_whatever_headers_it_sends() {
    // The layer knew admin keys alone, and refused those who may make tokens with an API key.
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let body = json!({"subject": "ada", "rights": {"subscribe": ["orders.*"]}});
    for _ in 0..2 {
        let made = ask(&node, &tenant.key, "/admin/v1/projects/shop/tokens", ("k", &body)).await;
        assert_eq!((made.status.as_u16(), made.header("idempotency-replayed")), (201, ""), "{}", made.text);
    }
}

#[tokio::test]
async fn an_answer_is_sealed_and_forgotten_after_a_day() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let body = json!({"label": "web"});
    let first = ask(&node, &node.admin, KEYS, ("secret-name", &body)).await.expect(201);
    let secret = first["secret"].as_str().expect("a secret");
    let rows = "select encode(id, 'escape'), encode(answer, 'escape'), t::text from idempotent_answers t";
    let rows = node.database.run(rows).await.expect("the rows");
    for text in [secret, "web", "secret-name", KEYS] {
        assert!(!rows.contains(text), "{text} can be read: {rows}");
    }
    let age = async |hours: u32| {
        let sql = format!("update idempotent_answers set started_at = now() - interval '{hours} hours'");
        node.database.run(&sql).await.expect("aged");
    };
    age(23).await;
    node.app.store.sweep_answers().await.expect("swept");
    assert_eq!(ask(&node, &node.admin, KEYS, ("secret-name", &body)).await.expect(201), first);
    age(25).await;
    assert_ne!(ask(&node, &node.admin, KEYS, ("secret-name", &body)).await.expect(201)["id"], first["id"]);
    age(25).await;
    node.app.store.sweep_answers().await.expect("swept");
    assert_eq!(node.count("idempotent_answers").await, 0);
}

#[tokio::test]
async fn one_admin_key_keeps_so_many_answers_and_a_lost_request_is_taken_over() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let fill = "insert into idempotent_answers (admin_key_id, id, fingerprint, started_at)
        select 1, int8send(n), '', now() - interval '1 hour' from generate_series(1, 10000) n";
    node.database.run(fill).await.expect("filled");
    let body = json!({"label": "web"});
    let first = ask(&node, &node.admin, KEYS, ("k", &body)).await.expect(201);
    assert_eq!(node.count("idempotent_answers").await, 10_000);
    assert_eq!(ask(&node, &node.admin, KEYS, ("k", &body)).await.expect(201), first);
    // As if its node had died while it was at work.
    node.database.run("update idempotent_answers set answer = null").await.expect("lost");
    ask(&node, &node.admin, KEYS, ("k", &body)).await.expect_problem(409, "CONFLICT");
    node.database
        .run("update idempotent_answers set started_at = now() - interval '6 minutes'")
        .await
        .expect("aged");
    assert_ne!(ask(&node, &node.admin, KEYS, ("k", &body)).await.expect(201)["id"], first["id"]);
}

/// Whoever had been made a viewer was once given the secret of a key again that an admin had made.
#[tokio::test]
async fn who_may_do_less_is_not_answered_as_before() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let made = json!({"name": "deploy", "role": "admin"});
    let made = node.post("/admin/v1/admin-keys", &node.admin, &made).await.expect(201);
    let (admin, id) = (made["secret"].as_str().expect("a key"), made["id"].as_str().expect("an id"));
    let (key, body) = ("once", json!({"label": "web"}));
    ask(&node, admin, KEYS, (key, &body)).await.expect(201);
    node.change(&format!("/admin/v1/admin-keys/{id}"), "*", &json!({"role": "viewer"})).await.expect(200);
    ask(&node, admin, KEYS, (key, &body)).await.expect_problem(403, "FORBIDDEN");
    node.change(&format!("/admin/v1/admin-keys/{id}"), "*", &json!({"role": "admin"})).await.expect(200);
    assert_eq!(ask(&node, admin, KEYS, (key, &body)).await.header("idempotency-replayed"), "true");
    node.send(Method::DELETE, "/admin/v1/projects/shop", &node.admin, &json!({})).await.expect(204);
    ask(&node, admin, KEYS, (key, &body)).await.expect_problem(404, "NOT_FOUND");
}
