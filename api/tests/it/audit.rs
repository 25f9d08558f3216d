//! The audit log: every change of settings is told, with who made it, and nothing secret is in it.

use nuncio_broker::Broker;
use nuncio_devstack::testkit::vhost;
use nuncio_model::{ProjectName, Secret};
use nuncio_store::{AuditFilter, NewAdminKey, Note, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node, Setup};
use crate::redrive::keep;
use crate::sse_kit::Source;

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

/// An entry's action, resource and resourceId.
type Told = (&'static str, &'static str, &'static str);

/// What is changed by each request, in an order in which all of it works, and what is told of it.
fn changes() -> Vec<(Method, &'static str, Value, Vec<Told>)> {
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

#[tokio::test]
async fn a_token_that_is_made_is_told_and_never_shown() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let path = "/admin/v1/projects/shop/tokens";
    let body = json!({"subject": "ada", "rights": {"subscribe": ["orders"]}, "jti": "t-1"});
    for (asker, kind, name) in [(&node.admin, "adminKey", "tests"), (&tenant.key, "apiKey", "test")] {
        let made = node.post(path, asker, &body).await.expect(201);
        let entry = node.entries("&resource=tokens", &node.admin).await.remove(0);
        assert_eq!((&entry["action"], &entry["resourceId"]), (&json!("minted"), &json!("t-1")), "{entry}");
        let actor = &entry["actor"];
        assert_eq!((&actor["kind"], &actor["name"]), (&json!(kind), &json!(name)), "{entry}");
        assert_eq!(
            (&actor["prefix"], &actor["address"]),
            (&json!(asker[..11]), &json!("127.0.0.1")),
            "{entry}"
        );
        assert!(entry["requestId"].is_string() && entry["project"] == "shop", "{entry}");
        let after = &entry["after"];
        assert_eq!((&after["subject"], &after["rights"]["subscribe"]), (&json!("ada"), &json!(["orders"])));
        assert_eq!((&after["expiresAt"], &after["kid"]), (&made["expiresAt"], &made["kid"]), "{entry}");
        let rows = node.database.run("select * from audit_log").await.expect("the rows");
        let signature = made["token"].as_str().and_then(|token| token.rsplit('.').next()).expect("a token");
        assert!(!rows.contains(signature), "{rows}");
    }
    node.post(path, &tenant.key, &json!({"subject": ""})).await.expect_problem(400, "INVALID_REQUEST");
    assert_eq!(node.entries("&resource=tokens", &node.admin).await.len(), 2, "what was refused was not made");
}

/// Some entries were written after the act: a crash between left the act without its entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_whose_entry_cannot_be_written() {
    let vhost = vhost().await.expect("a virtual host");
    let broker = Broker::new(Secret::new(&vhost.url), "test");
    let node = Node::build(Setup { broker: Some(broker.clone()), ..Setup::default() }).await;
    let tenant = node.tenant("shop").await;
    let link = broker.connect("test").await.expect("a connection");
    link.declare_project(&tenant.name).await.expect("a topology");
    let letters = keep(&node, &tenant, &["orders.1", "orders.2"], &json!({})).await;
    let mut stream = Source::open(&node, "/v1/stream?channel=orders", &tenant.key, "").await;
    stream.expect("nuncio.ready").await;

    let full = "alter table audit_log add check (resource not in ('dead-letters', 'connections', 'tokens')) not valid";
    node.database.run(full).await.expect("changed");
    let shop = "/admin/v1/projects/shop";
    let (post, delete) = (Method::POST, Method::DELETE);
    for (method, path, body) in [
        (&delete, format!("{shop}/dead-letters"), json!({})),
        (&delete, format!("{shop}/dead-letters/{}", letters[0]), json!({})),
        (&post, format!("{shop}/dead-letters:redrive"), json!({"ids": letters})),
        (&post, format!("{shop}/connections:disconnect"), json!({"key": &tenant.key[..11]})),
        (&post, format!("{shop}/tokens"), json!({"subject": "ada", "rights": {}})),
    ] {
        let answer = node.send(method.clone(), &path, &node.admin, &body).await;
        assert!(!answer.text.contains("eyJ"), "a token: {}", answer.text);
        answer.expect_problem(500, "INTERNAL");
    }
    let left = node.get(&format!("{shop}/dead-letters"), &node.admin).await.expect(200);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(2), "{left}");
    node.post("/v1/channels/orders/events", &tenant.key, &json!({"data": 1})).await.expect(201);
    assert_eq!(stream.numbers(1).await, [1], "it is open");

    node.database
        .run("alter table audit_log drop constraint audit_log_resource_check")
        .await
        .expect("changed");
    let redrive = json!({"ids": [letters[0], "999", "x"]});
    node.post(&format!("{shop}/dead-letters:redrive"), &node.admin, &redrive).await.expect(200);
    let removed =
        node.send(delete, &format!("{shop}/dead-letters?reason=bad_event"), &node.admin, &json!({})).await;
    assert_eq!(removed.expect(200), json!({"removed": 1, "more": false}));
    let entries = node.entries("&resource=dead-letters", &node.admin).await;
    let told: Vec<_> = entries.iter().rev().map(|entry| (&entry["action"], &entry["after"])).collect();
    let purge =
        json!({"removed": 1, "reason": "bad_event", "routingKey": null, "since": null, "before": null});
    let [named, done] = [json!({"ids": [letters[0], "999"]}), json!({"ids": [letters[0]]})];
    let words = ["redriving", "redriven", "purged"].map(Value::from);
    assert_eq!(told, [(&words[0], &named), (&words[1], &done), (&words[2], &purge)]);
}
