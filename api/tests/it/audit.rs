//! The audit log: every change of settings is told, with who made it, and nothing secret is in it.

use nuncio_model::ProjectName;
use nuncio_store::{AuditFilter, NewAdminKey, Note, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node};

const LOG: &str = "/admin/v1/audit-log";

impl Node {
    /// Asks under this request id.
    async fn ask_as(&self, id: &str, method: &Method, path: &str, body: &Value) -> Answer {
        let request = self.request(method.clone(), path, &self.admin).header("x-request-id", id);
        Answer::of(request.json(body).send().await.expect("an answer")).await
    }

    /// All entries, the newest first.
    async fn entries(&self, query: &str, key: &str) -> Vec<Value> {
        let page = self.get(&format!("{LOG}?limit=200{query}"), key).await.expect(200);
        page["items"].as_array().expect("a list").clone()
    }
}

/// What is changed by each request, in an order in which all of it works, and what is told of it.
fn changes() -> Vec<(Method, &'static str, Value, Vec<(&'static str, &'static str, &'static str)>)> {
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let project = "/admin/v1/projects/bank";
    let [namespaces, orders] =
        ["/admin/v1/projects/bank/namespaces", "/admin/v1/projects/bank/namespaces/orders"];
    let [keys, key] = ["/admin/v1/projects/bank/keys", "/admin/v1/projects/bank/keys/1"];
    let [admins, admin] = ["/admin/v1/admin-keys", "/admin/v1/admin-keys/2"];
    vec![
        (post.clone(), "/admin/v1/projects", json!({"name": "bank"}), vec![("created", "projects", "bank")]),
        (patch.clone(), project, json!({"audience": "app"}), vec![("changed", "projects", "bank")]),
        (post.clone(), namespaces, json!({"name": "orders"}), vec![("created", "namespaces", "orders")]),
        (patch.clone(), orders, json!({"signals": false}), vec![("changed", "namespaces", "orders")]),
        (delete.clone(), orders, json!({}), vec![("deleted", "namespaces", "orders")]),
        (post.clone(), keys, json!({"label": "a"}), vec![("created", "keys", "1")]),
        (patch.clone(), key, json!({"label": "b"}), vec![("changed", "keys", "1")]),
        (
            post.clone(),
            "/admin/v1/projects/bank/keys/1:rotate",
            json!({}),
            vec![("created", "keys", "2"), ("changed", "keys", "1")],
        ),
        (post.clone(), "/admin/v1/projects/bank/keys/1:revoke", json!({}), vec![("revoked", "keys", "1")]),
        // It is revoked: nothing changes, and nothing is told.
        (delete.clone(), key, json!({}), vec![]),
        (
            post.clone(),
            "/admin/v1/projects/bank/signing-keys",
            json!({"algorithm": "HS256", "kid": "k"}),
            vec![("created", "signing-keys", "k")],
        ),
        (
            post.clone(),
            "/admin/v1/projects/bank/revocations",
            json!({"kind": "jti", "jti": "t"}),
            vec![("created", "revocations", "1")],
        ),
        (
            delete.clone(),
            "/admin/v1/projects/bank/revocations/1",
            json!({}),
            vec![("deleted", "revocations", "1")],
        ),
        (
            post.clone(),
            admins,
            json!({"name": "b", "role": "admin", "projects": ["bank"]}),
            vec![("created", "admin-keys", "2")],
        ),
        (patch, admin, json!({"role": "viewer"}), vec![("changed", "admin-keys", "2")]),
        (
            post,
            "/admin/v1/admin-keys/2:rotate",
            json!({"overlapSeconds": 0}),
            vec![("created", "admin-keys", "3"), ("changed", "admin-keys", "2")],
        ),
        (delete.clone(), admin, json!({}), vec![("revoked", "admin-keys", "2")]),
        // What goes with it is not told of one by one.
        (delete, project, json!({}), vec![("deleted", "projects", "bank")]),
    ]
}

#[tokio::test]
async fn every_change_of_settings_is_told_and_nothing_secret() {
    let node = Node::start().await;
    let mut secrets = vec![node.admin.clone()];
    let changes = changes();
    for (n, (method, path, body, _)) in changes.iter().enumerate() {
        let answer = node.ask_as(&format!("change-{n}"), method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
        if !answer.text.is_empty() {
            secrets.extend(answer.json()["secret"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(secrets.len(), 6, "two keys, two admin keys, a signing key and that of the test");
    let entries = node.entries("", &node.admin).await;
    for (n, (method, path, _, expected)) in changes.iter().enumerate() {
        let of_this = entries.iter().filter(|entry| entry["requestId"] == format!("change-{n}"));
        let mut told: Vec<[&str; 3]> = of_this
            .clone()
            .map(|entry| {
                ["action", "resource", "resourceId"].map(|name| entry[name].as_str().unwrap_or_default())
            })
            .collect();
        told.reverse();
        let expected: Vec<_> =
            expected.iter().map(|(action, resource, id)| [*action, *resource, *id]).collect();
        assert_eq!(told, expected, "{method} {path}");
        for entry in of_this {
            assert_eq!(entry["actor"]["kind"], "adminKey", "{entry}");
            assert_eq!(entry["actor"]["prefix"], node.admin[..11], "{entry}");
            assert_eq!(entry["actor"]["address"], "127.0.0.1", "{entry}");
            assert_eq!(entry["actor"].get("requestId"), None, "{entry}");
            let project = if path.contains("admin-keys") { Value::Null } else { json!("bank") };
            assert_eq!(entry["project"], project, "{entry}");
            assert_eq!(entry["before"].is_null(), entry["action"] == "created", "{entry}");
            assert_eq!(entry["after"].is_null(), entry["action"] == "deleted", "{entry}");
        }
    }
    // What is at rest, not only what is shown.
    let rows = node.database.run("select * from audit_log").await.expect("the rows");
    for secret in secrets {
        assert!(!rows.contains(&secret), "a key's text is in the log: {rows}");
    }
    for column in ["\"hash\"", "\"secret\"", "\"private_key\""] {
        assert!(!rows.contains(column), "{column} is in the log: {rows}");
    }
}

#[tokio::test]
async fn before_and_after_are_told_with_the_names_of_the_api() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let path = "/admin/v1/projects/shop/keys/1";
    node.change(path, "*", &json!({"allowedNetworks": ["192.0.2.0/24"]})).await.expect(200);
    let body = json!({"name": "n", "role": "admin", "projects": ["shop"]});
    node.post("/admin/v1/admin-keys", &node.admin, &body).await.expect(201);
    let entries = node.entries("", &node.admin).await;
    assert_eq!(entries[0]["after"]["projects"], json!(["shop"]), "{}", entries[0]);
    let change = &entries[1];
    assert_eq!(change["before"]["allowedNetworks"], json!([]), "{change}");
    assert_eq!(change["after"]["allowedNetworks"], json!(["192.0.2.0/24"]), "{change}");
    assert_eq!(change["after"].get("lastUsedAt"), None, "when it was last used is no setting: {change}");

    // Nuncio noting a use is no change of a setting; somebody at the database is.
    let now = node.app.clock.now();
    node.app.store.touch_api_keys(&[(1, now)]).await.expect("noted");
    let used = node.get(path, &node.admin).await.expect(200);
    assert!(used["lastUsedAt"].is_string(), "{used}");
    assert_eq!(node.entries("", &node.admin).await.len(), entries.len());
    let by_hand = format!("update projects set audience = 'mine' where name = '{}'", tenant.name);
    node.database.run(&by_hand).await.expect("changed");
    let entry = node.entries("", &node.admin).await.remove(0);
    assert_eq!((&entry["actor"], &entry["action"]), (&json!({"kind": "database"}), &json!("changed")));
}

#[tokio::test]
async fn the_log_is_filtered_paged_and_shown_to_those_whom_it_concerns() {
    let node = Node::start().await;
    for name in ["shop", "bank"] {
        node.post("/admin/v1/projects", &node.admin, &json!({"name": name})).await.expect(201);
        let path = format!("/admin/v1/projects/{name}/namespaces");
        node.post(&path, &node.admin, &json!({"name": "orders"})).await.expect(201);
    }
    let count = async |query: &str| node.entries(query, &node.admin).await.len();
    for (query, expected) in [
        ("&project=shop", 2),
        ("&project=bank&action=created&resource=namespaces", 1),
        ("&project=club", 0),
        ("&action=purged", 0),
        ("&actor=%00", 0),
        (&format!("&project=shop&actor={}", &node.admin[..11]), 2),
        ("&project=shop&actor=tests", 2),
        ("&project=shop&actor=nobody", 0),
        ("&project=shop&since=2020-01-01T00:00:00Z&until=2999-01-01T00:00:00%2B00:00", 2),
        ("&since=2999-01-01T00:00:00Z", 0),
        ("&until=2020-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    for (query, field) in [("since=now", "since"), ("until=1", "until"), ("limit=0", "limit")] {
        let problem = node.get(&format!("{LOG}?{query}"), &node.admin).await;
        assert_eq!(problem.expect_problem(400, "INVALID_REQUEST")["errors"][0]["field"], field);
    }
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("{LOG}?limit=1&project=shop{token}"), &node.admin).await.expect(200);
        ids.extend(page["items"].as_array().expect("a list").iter().map(|item| item["resource"].clone()));
        let Some(next) = page["nextPageToken"].as_str() else { break };
        token = format!("&pageToken={next}");
    }
    assert_eq!(ids, ["namespaces", "projects"], "the newest first");

    let shop = node.project(&ProjectName::parse("shop").expect("a good name")).id;
    let viewer = NewAdminKey { projects: Some(vec![shop]), ..NewAdminKey::new("v", Role::Viewer) };
    let (_, viewer) = node.app.store.make_admin_key(&viewer).await.expect("a key");
    node.refresh().await;
    let seen = node.entries("", viewer.expose()).await;
    assert!(seen.len() == 2 && seen.iter().all(|entry| entry["project"] == "shop"), "{seen:?}");
    assert_eq!(node.entries("&project=bank", viewer.expose()).await.len(), 0);
}

#[tokio::test]
async fn what_is_no_change_of_a_row_is_noted_and_old_entries_are_swept() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let project = Some(node.project(&tenant.name).id);
    let note = Note {
        project,
        action: "purged",
        resource: "channels",
        resource_id: "orders.eu",
        details: Some(json!({"events": 7})),
    };
    node.app.store.note(&note).await.expect("noted");
    let entry = node.entries("&action=purged", &node.admin).await.remove(0);
    assert_eq!((&entry["project"], &entry["after"]), (&json!("shop"), &json!({"events": 7})));
    assert_eq!(entry["actor"]["kind"], "system");

    node.database
        .run("update audit_log set at = at - interval '3 days' where action <> 'purged'")
        .await
        .expect("aged");
    let store = &node.app.store;
    let left = async || store.list_audit_log(&AuditFilter::default(), None, 100).await.expect("listed").len();
    let before = left().await;
    store.sweep_audit_log(4).await.expect("swept");
    assert_eq!(left().await, before);
    store.sweep_audit_log(2).await.expect("swept");
    assert_eq!(left().await, 1);
}
