//! The admin REST API, in the forms that all its resources share.

use nuncio_model::Rights;
use nuncio_store::{NewDeadLetter, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node};

const PROJECTS: &str = "/admin/v1/projects";

impl Node {
    pub(crate) async fn change(&self, path: &str, tag: &str, changes: &Value) -> Answer {
        let request = self.request(Method::PATCH, path, &self.admin).header("if-match", tag).json(changes);
        Answer::of(request.send().await.expect("an answer")).await
    }
}

#[tokio::test]
async fn a_project_is_made_changed_by_one_at_a_time_and_deleted() {
    let node = Node::start().await;
    let made =
        node.post(PROJECTS, &node.admin, &json!({"name": "shop", "defaults": {"signals": false}})).await;
    assert_eq!((made.header("location"), made.header("etag")), ("/admin/v1/projects/shop", "\"1\""));
    let made = made.expect(201);
    assert_eq!(
        (&made["defaults"]["signals"], &made["defaults"]["dedupeSeconds"]),
        (&json!(false), &json!(86_400))
    );
    node.post(PROJECTS, &node.admin, &json!({"name": "shop"})).await.expect_problem(409, "CONFLICT");
    let path = "/admin/v1/projects/shop";
    let changed =
        node.change(path, "\"1\"", &json!({"defaults": {"retentionSeconds": null}, "audience": "me"})).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed = changed.expect(200);
    assert_eq!(
        (&changed["defaults"]["retentionSeconds"], &changed["defaults"]["signals"]),
        (&Value::Null, &json!(false))
    );
    node.change(path, "\"1\"", &json!({"audience": null})).await.expect_problem(412, "PRECONDITION_FAILED");
    node.change(path, "\"made up\"", &json!({"audience": null}))
        .await
        .expect_problem(412, "PRECONDITION_FAILED");
    node.change(path, "made up", &json!({"audience": null})).await.expect_problem(400, "INVALID_REQUEST");
    for (changes, field) in [
        (json!({"audience": "nuncio:bank"}), "audience"),
        (json!({"allowedOrigins": ["https://a.example/"]}), "allowedOrigins"),
        (json!({"defaults": {"dedupeSeconds": -1}}), "defaults.dedupeSeconds"),
        (json!({"name": "bank"}), "name"),
        (json!({"id": 7}), "id"),
    ] {
        let problem = node.change(path, "*", &changes).await.expect_problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let admin = node.app.store.create_admin_key("a", Role::Admin).await.expect("a key");
    node.refresh().await;
    node.send(Method::DELETE, path, admin.expose(), &json!({})).await.expect_problem(403, "FORBIDDEN");
    node.send(Method::DELETE, path, &node.admin, &json!({})).await.expect(204);
    node.get(path, &node.admin).await.expect_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let node = Node::start().await;
    for n in 0..5 {
        node.post(PROJECTS, &node.admin, &json!({"name": format!("p{n}")})).await.expect(201);
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("{PROJECTS}?limit=2{token}"), &node.admin).await.expect(200);
        names.extend(page["items"].as_array().expect("a list").iter().map(|item| item["name"].clone()));
        let Some(next) = page["nextPageToken"].as_str() else { break };
        token = format!("&pageToken={next}");
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
    let found = node.get(&format!("{PROJECTS}?name=p3"), &node.admin).await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    for bad in ["limit=0", "limit=x", "pageToken=%25", "pageToken=AAAA"] {
        node.get(&format!("{PROJECTS}?{bad}"), &node.admin).await.expect_problem(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn a_namespace_has_settings_of_its_own_that_hold_at_once() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let path = "/admin/v1/projects/shop/namespaces";
    let made = node.post(path, &node.admin, &json!({"name": "orders", "maxEventBytes": 10})).await;
    assert_eq!(made.header("location"), "/admin/v1/projects/shop/namespaces/orders");
    assert_eq!(made.expect(201)["retentionSeconds"], 604_800);
    let event = json!({"data": "0123456789"});
    node.post("/v1/channels/orders.eu/events", &tenant.key, &event).await.expect_problem(413, "TOO_LARGE");
    node.post("/v1/channels/stock/events", &tenant.key, &event).await.expect(201);
    let one = format!("{path}/orders");
    node.change(&one, "\"1\"", &json!({"maxEventBytes": 100})).await.expect(200);
    node.post("/v1/channels/orders.eu/events", &tenant.key, &event).await.expect(201);
    node.post(path, &node.admin, &json!({"name": "orders"})).await.expect_problem(409, "CONFLICT");
    node.post(path, &node.admin, &json!({"name": "a.b"})).await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(node.get(path, &node.admin).await.expect(200)["items"][0]["name"], "orders");
    node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect(204);
    node.get(&one, &node.admin).await.expect_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_key_is_shown_once_narrowed_and_revoked() {
    let node = Node::start().await;
    node.tenant("shop").await;
    node.tenant("bank").await;
    let path = "/admin/v1/projects/shop/keys";
    let made = node
        .post(path, &node.admin, &json!({"label": "web", "rights": {"subscribe": ["#"]}}))
        .await
        .expect(201);
    let (secret, id) = (made["secret"].as_str().expect("a secret"), made["id"].as_str().expect("an id"));
    assert!(secret.starts_with(made["prefix"].as_str().expect("a prefix")));
    node.get("/v1/channels/a/events", secret).await.expect(200);
    let one = format!("{path}/{id}");
    let shown = node.get(&one, &node.admin).await;
    assert!(!shown.text.contains(secret) && !node.get(path, &node.admin).await.text.contains(secret));
    node.get(&format!("/admin/v1/projects/bank/keys/{id}"), &node.admin)
        .await
        .expect_problem(404, "NOT_FOUND");
    let narrowed = json!({"rights": {"subscribe": ["b"]}});
    assert_eq!(node.change(&one, "*", &narrowed).await.expect(200)["label"], "web");
    node.get("/v1/channels/a/events", secret).await.expect_problem(403, "FORBIDDEN");
    let wrong = node.post(path, &node.admin, &json!({"rights": {"subscribe": ["a..b"]}})).await;
    assert_eq!(wrong.expect_problem(400, "INVALID_REQUEST")["errors"][0]["field"], "rights.subscribe[0]");
    node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect(204);
    node.get("/v1/channels/b/events", secret).await.expect_problem(401, "UNAUTHENTICATED");
    assert!(node.get(&one, &node.admin).await.expect(200)["revokedAt"].is_string());
}

#[tokio::test]
async fn a_signing_key_made_here_signs_tokens_that_are_believed() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let path = "/admin/v1/projects/shop/signing-keys";
    let made = node.post(path, &node.admin, &json!({"algorithm": "HS256", "kid": "new"})).await.expect(201);
    assert!(made["secret"].as_str().is_some_and(|secret| secret.len() >= 32));
    let project = node.project(&tenant.name);
    let key = project.signing_keys.iter().find(|key| key.kid == "new").expect("known at once");
    let (now, hour) = (node.app.clock.now(), std::time::Duration::from_secs(3_600));
    let token =
        nuncio_api::mint_token(&project.name, key, "ada", &Rights::everything(), now, hour).expect("a token");
    node.get("/v1/channels/a/events", &token).await.expect(200);
    assert_eq!(node.get(path, &node.admin).await.expect(200)["items"].as_array().map(Vec::len), Some(2));
    node.post(path, &node.admin, &json!({"algorithm": "none"})).await.expect_problem(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn dead_letters_are_listed_looked_into_and_removed() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let letter = |reason: &'static str, body: &'static [u8]| NewDeadLetter {
        reason,
        detail: "why".to_owned(),
        routing_key: "a..b".to_owned(),
        exchange: "nuncio.shop".to_owned(),
        properties: json!({"type": "t"}),
        body: body.into(),
    };
    let letters = vec![letter("bad_channel", b"text"), letter("bad_event", b"\xff\x00")];
    node.app.store.add_dead_letters(node.project(&tenant.name).id, letters).await.expect("kept");
    let path = "/admin/v1/projects/shop/dead-letters";
    let list = node.get(path, &node.admin).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(list["items"][0].get("body"), None);
    let filtered = node.get(&format!("{path}?reason=bad_event"), &node.admin).await.expect(200);
    let one = format!("{path}/{}", filtered["items"][0]["id"].as_str().expect("an id"));
    let letter = node.get(&one, &node.admin).await.expect(200);
    assert_eq!((&letter["bodyBase64"], &letter["bodyBytes"]), (&json!("/wA="), &json!(2)));
    node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect(204);
    node.send(Method::DELETE, &one, &node.admin, &json!({})).await.expect_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn dead_letters_are_filtered_edited_and_removed_together() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    let letter = |reason: &'static str, key: &str| NewDeadLetter {
        reason,
        detail: "why".to_owned(),
        routing_key: key.to_owned(),
        exchange: "nuncio.shop".to_owned(),
        properties: json!({"messageId": "m-1", "headers": {"n": 1, "old": 2}}),
        body: b"text".as_slice().into(),
    };
    let all = || {
        vec![letter("bad_event", "orders.eu"), letter("too_large", "orders.us"), letter("bad_event", "stock")]
    };
    for tenant in [&shop, &bank] {
        node.app.store.add_dead_letters(node.project(&tenant.name).id, all()).await.expect("kept");
    }
    let path = "/admin/v1/projects/shop/dead-letters";
    let keys = async |query: &str| {
        let list = node.get(&format!("{path}?{query}"), &node.admin).await.expect(200);
        list["items"].as_array().expect("a list").iter().map(|i| i["routingKey"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys("reason=bad_event").await, ["orders.eu", "stock"]);
    assert_eq!(keys("routingKey=orders.&order=newest").await, ["orders.us", "orders.eu"]);
    assert_eq!(keys("since=2026-01-01T00:00:00Z&before=2026-01-02T00:00:00Z").await, [""; 0]);
    let first = node.get(&format!("{path}?order=newest&limit=2"), &node.admin).await.expect(200);
    let next =
        format!("order=newest&limit=2&pageToken={}", first["nextPageToken"].as_str().expect("a token"));
    assert_eq!(keys(&next).await, ["orders.eu"]);
    for bad in ["order=x", "since=x", "resaon=bad_event", "reason=%00"] {
        node.get(&format!("{path}?{bad}"), &node.admin).await.expect_problem(400, "INVALID_REQUEST");
    }

    let one = format!("{path}/{}", first["items"][0]["id"].as_str().expect("an id"));
    let changes = json!({"routingKey": "stock.a", "properties": {"headers": {"n": 5, "old": null}}, "bodyBase64": "/wA="});
    let edited = node.change(&one, "\"1\"", &changes).await.expect(200);
    assert_eq!(edited["properties"], json!({"messageId": "m-1", "headers": {"n": 5}}));
    assert_eq!((&edited["routingKey"], &edited["bodyBase64"]), (&json!("stock.a"), &json!("/wA=")));
    assert!(edited["editedAt"].is_string() && node.get(&one, &node.admin).await.expect(200) == edited);
    node.change(&one, "\"1\"", &json!({"body": "x"})).await.expect_problem(412, "PRECONDITION_FAILED");
    let wrong =
        json!({"routingKey": "a..b", "properties": {"timestamp": "x"}, "body": "", "bodyBase64": "%"});
    let problem = node.change(&one, "*", &wrong).await.expect_problem(400, "INVALID_REQUEST");
    let fields: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["routingKey", "properties", "bodyBase64"]);

    let remove = async |query: &str| {
        node.send(Method::DELETE, &format!("{path}{query}"), &node.admin, &json!({})).await
    };
    // A misspelt parameter would else mean everything.
    remove("?resaon=bad_event").await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(remove("?reason=bad_event").await.expect(200), json!({"removed": 2, "more": false}));
    assert_eq!(keys("").await, ["orders.us"]);
    assert_eq!(remove("").await.expect(200)["removed"], 1);
    let others = node.get("/admin/v1/projects/bank/dead-letters", &node.admin).await.expect(200);
    assert_eq!(others["items"].as_array().map(Vec::len), Some(3));
}
