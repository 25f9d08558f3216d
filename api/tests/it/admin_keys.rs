//! Admin keys by REST: made, changed, rotated and revoked by owners for all projects, and never the last of these.

use std::time::Duration;

use chrono::TimeDelta;
use nuncio_model::Secret;
use nuncio_store::{Error, NewAdminKey, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::Node;

const KEYS: &str = "/admin/v1/admin-keys";

impl Node {
    /// Makes an admin key: its path and its text.
    async fn admin_key(&self, body: Value) -> (String, String) {
        let made = self.post(KEYS, &self.admin, &body).await;
        let path = made.header("location").to_owned();
        let made = made.expect(201);
        (path, made["secret"].as_str().expect("a secret").to_owned())
    }
}

#[tokio::test]
async fn an_admin_key_is_made_narrowed_rotated_and_revoked() {
    let node = Node::start().await;
    for name in ["shop", "bank"] {
        node.tenant(name).await;
    }
    let (path, secret) = node.admin_key(json!({"name": "ops", "role": "admin"})).await;
    let shown = node.get(&path, &node.admin).await;
    assert!(!shown.text.contains(&secret) && shown.header("etag") == "\"1\"");
    assert!(!node.get(KEYS, &node.admin).await.text.contains(&secret));
    node.post("/admin/v1/projects", &secret, &json!({"name": "club"})).await.expect(201);
    let changed = node.change(&path, "\"1\"", &json!({"projects": ["shop"]})).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.expect(200)["projects"], json!(["shop"]));
    node.change(&path, "\"1\"", &json!({"name": "x"})).await.expect_problem(412, "PRECONDITION_FAILED");
    let listed = node.get("/admin/v1/projects", &secret).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    node.get("/admin/v1/projects/bank", &secret).await.expect_problem(404, "NOT_FOUND");
    node.post("/admin/v1/projects", &secret, &json!({"name": "x"})).await.expect_problem(403, "FORBIDDEN");
    node.change(&path, "*", &json!({"role": "viewer"})).await.expect(200);
    let namespaces = "/admin/v1/projects/shop/namespaces";
    node.post(namespaces, &secret, &json!({"name": "a"})).await.expect_problem(403, "FORBIDDEN");

    let rotated =
        node.post(&format!("{path}:rotate"), &node.admin, &json!({"overlapSeconds": 60})).await.expect(201);
    assert_eq!((&rotated["name"], &rotated["role"]), (&json!("ops"), &json!("viewer")));
    assert_eq!(rotated["projects"], json!(["shop"]));
    assert_eq!(rotated["rotatedFrom"], path.rsplit('/').next().expect("an id"));
    let next = rotated["secret"].as_str().expect("a secret");
    for key in [next, &secret] {
        node.get("/admin/v1/projects/shop", key).await.expect(200);
    }
    node.app.clock.advance(Duration::from_secs(60));
    node.get("/admin/v1/projects/shop", &secret).await.expect_problem(401, "UNAUTHENTICATED");
    node.get("/admin/v1/projects/shop", next).await.expect(200);
    node.post(&format!("{path}:rotate"), &node.admin, &json!({})).await.expect_problem(409, "CONFLICT");
    let path = format!("{KEYS}/{}", rotated["id"].as_str().expect("an id"));
    node.send(Method::DELETE, &path, &node.admin, &json!({})).await.expect(204);
    node.get("/admin/v1/projects/shop", next).await.expect_problem(401, "UNAUTHENTICATED");
    assert!(node.get(&path, &node.admin).await.expect(200)["revokedAt"].is_string());
    node.post(&format!("{path}:explode"), &node.admin, &json!({})).await.expect_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn every_wrong_field_of_an_admin_key_is_named() {
    let node = Node::start().await;
    let past = (node.app.clock.now() - TimeDelta::seconds(1)).to_rfc3339();
    let body = json!({"name": "", "role": "owner", "projects": ["nowhere", "Shop"], "expiresAt": past});
    let problem = node.post(KEYS, &node.admin, &body).await.expect_problem(400, "INVALID_REQUEST");
    let fields: Vec<_> =
        problem["errors"].as_array().expect("errors").iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["name", "expiresAt", "projects[0]", "projects[1]"]);
    let body = json!({"name": "a", "role": "owner", "projects": ["nowhere"]});
    let problem = node.post(KEYS, &node.admin, &body).await.expect_problem(404, "NOT_FOUND");
    assert_eq!(problem["errors"][0]["field"], "projects[0]");
    let body = json!({"name": 7, "role": "king", "projects": [], "x": 1});
    let problem = node.post(KEYS, &node.admin, &body).await.expect_problem(400, "INVALID_REQUEST");
    let fields: Vec<_> =
        problem["errors"].as_array().expect("errors").iter().map(|e| e["field"].clone()).collect();
    assert!(fields.contains(&json!("name")) && fields.contains(&json!("role")), "{fields:?}");
}

#[tokio::test]
async fn the_last_owner_stays() {
    let node = Node::start().await;
    let own = format!("{KEYS}/1");
    let refused = async |changes: &Value| {
        let problem = node.change(&own, "*", changes).await.expect_problem(409, "CONFLICT");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("last usable")), "{problem}");
    };
    node.tenant("shop").await;
    // None of these is a usable owner for all projects.
    node.admin_key(json!({"name": "a", "role": "admin"})).await;
    node.admin_key(json!({"name": "b", "role": "owner", "projects": ["shop"]})).await;
    let soon = (node.app.clock.now() + TimeDelta::seconds(60)).to_rfc3339();
    // An end that was still to come once was no end: nobody was left after it.
    refused(&json!({"expiresAt": soon})).await;
    let rotation = json!({"overlapSeconds": 0, "expiresAt": soon});
    node.post(&format!("{own}:rotate"), &node.admin, &rotation).await.expect_problem(409, "CONFLICT");
    let (third, _) = node.admin_key(json!({"name": "c", "role": "owner", "expiresAt": soon})).await;
    node.app.clock.advance(Duration::from_secs(60));
    for changes in [json!({"role": "admin"}), json!({"projects": ["shop"]})] {
        refused(&changes).await;
    }
    node.send(Method::DELETE, &own, &node.admin, &json!({})).await.expect_problem(409, "CONFLICT");
    node.post(&format!("{own}:revoke"), &node.admin, &json!({})).await.expect_problem(409, "CONFLICT");
    node.change(&own, "*", &json!({"name": "still"})).await.expect(200);
    // One that has ended may be renamed without a new end, and be given one to come.
    node.change(&third, "*", &json!({"name": "late"})).await.expect(200);
    node.change(&third, "*", &json!({"expiresAt": null})).await.expect(200);
    node.send(Method::DELETE, &own, &node.admin, &json!({})).await.expect(204);
    node.get(KEYS, &node.admin).await.expect_problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    let node = Node::start().await;
    let (other, secret) = node.admin_key(json!({"name": "other", "role": "owner"})).await;
    let own = format!("{KEYS}/1");
    let body = json!({});
    let (one, two) = tokio::join!(
        node.send(Method::DELETE, &other, &node.admin, &body),
        node.send(Method::DELETE, &own, &secret, &body),
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    // The slower one is told that it would be the last, or that its own key is gone already.
    assert!(statuses == [204, 401] || statuses == [204, 409], "{statuses:?}");
}

#[tokio::test]
async fn those_who_do_not_manage_admin_keys_see_their_own() {
    let node = Node::start().await;
    node.tenant("shop").await;
    for body in [
        json!({"name": "a", "role": "admin"}),
        json!({"name": "v", "role": "viewer"}),
        json!({"name": "o", "role": "owner", "projects": ["shop"]}),
    ] {
        let (path, secret) = node.admin_key(body.clone()).await;
        let seen = node.get(KEYS, &secret).await.expect(200);
        assert_eq!(seen["items"].as_array().map(Vec::len), Some(1), "{seen}");
        assert_eq!((&seen["items"][0]["name"], &seen["nextPageToken"]), (&body["name"], &Value::Null));
        node.get(&path, &secret).await.expect(200);
        node.get(&format!("{KEYS}/1"), &secret).await.expect_problem(404, "NOT_FOUND");
        let new = json!({"name": "mine", "role": "viewer"});
        node.post(KEYS, &secret, &new).await.expect_problem(403, "FORBIDDEN");
        node.send(Method::PATCH, &path, &secret, &json!({"role": "owner"}))
            .await
            .expect_problem(403, "FORBIDDEN");
        node.send(Method::DELETE, &path, &secret, &json!({})).await.expect_problem(403, "FORBIDDEN");
        for action in ["rotate", "revoke"] {
            let answer = node.post(&format!("{path}:{action}"), &secret, &json!({})).await;
            answer.expect_problem(403, "FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn a_configured_key_takes_the_place_of_the_one_before() {
    // The key that an install was begun with was good for ever, whatever the configuration said later.
    let node = Node::start().await;
    let text = |letter: &str| Secret::new(format!("na_{}", letter.repeat(40)));
    let (first, second) = (text("a"), text("b"));
    let store = &node.app.store;
    let ensure = async |text: &Secret| store.ensure_admin_key(text, "NUNCIO_ADMIN_KEY", Role::Owner).await;
    let opens = async |text: &Secret| {
        node.refresh().await;
        node.get(KEYS, text.expose()).await.status == 200
    };
    ensure(&first).await.expect("made");
    ensure(&first).await.expect("there");
    assert!(opens(&first).await);
    ensure(&second).await.expect("made");
    assert!(opens(&second).await && !opens(&first).await && opens(&Secret::new(node.admin.clone())).await);
    // A node that was started with the old configuration changes nothing.
    assert!(matches!(ensure(&first).await, Err(Error::Refused(_))));
    assert!(opens(&second).await && !opens(&first).await);
    let alike = Secret::new(format!("{}x", second.expose()));
    assert!(matches!(ensure(&alike).await, Err(Error::Unreadable(_))));
    assert!(opens(&second).await && !opens(&alike).await);
}

#[tokio::test]
async fn a_key_for_a_project_that_is_gone_opens_nothing() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let only = Some(vec![node.project(&tenant.name).id]);
    let new = NewAdminKey { projects: only, ..NewAdminKey::new("o", Role::Owner) };
    let (_, key) = node.app.store.make_admin_key(&new).await.expect("a key");
    node.refresh().await;
    node.send(Method::DELETE, "/admin/v1/projects/shop", key.expose(), &json!({})).await.expect(204);
    node.tenant("shop").await;
    node.get("/admin/v1/projects/shop", key.expose()).await.expect_problem(404, "NOT_FOUND");
    let shown = node.get(KEYS, key.expose()).await.expect(200);
    assert_eq!(shown["items"][0]["projects"], json!([]), "{shown}");
}
