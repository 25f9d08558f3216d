//! The whole surface: every operation of the OpenAPI document, without rights.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_model::ProjectName;
use nuncio_model::rights::RightsText;
use nuncio_store::{AuditFilter, NewAdminKey, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node};

/// What is left of parameters stands for a number.
fn with_any_parameter(path: &str) -> String {
    let mut parts = path.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| path + "1" + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// Every operation: its method and a path with its parameters filled in.
fn operations() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(&nuncio_api::openapi_json()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations = paths.iter().flat_map(|(path, item)| {
        let path =
            path.replace("{project}", "shop").replace("{channel}", "orders").replace("{name}", "orders");
        let path = path.replace("{id}", "1").replace("/v1/stream", "/v1/stream?channel=orders");
        let path = with_any_parameter(&path);
        let methods = item.as_object().expect("operations").keys();
        methods
            .map(move |method| (method.to_uppercase().parse().expect("a method"), path.clone()))
            .collect::<Vec<_>>()
    });
    operations.collect()
}

#[tokio::test]
async fn every_operation_refuses_who_has_no_credentials_or_none_for_this() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let powerless = node.key(&tenant.name, RightsText::default()).await;
    let viewer = node.app.store.create_admin_key("viewer", Role::Viewer).await.expect("a key");
    node.refresh().await;
    let operations = operations();
    assert!(operations.len() >= 20, "{operations:?}");
    for (method, path) in operations {
        for stranger in ["", "x", "nk_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "na_x"] {
            let answer = node.send(method.clone(), &path, stranger, &json!({})).await;
            answer.expect_problem(401, "UNAUTHENTICATED");
        }
        if path.ends_with("/tokens") {
            // Servers may have tokens made with an API key, for what the key may do itself.
            let body = json!({"subject": "ada", "rights": {"subscribe": ["orders"]}});
            for nobody in [&*powerless, viewer.expose()] {
                node.send(method.clone(), &path, nobody, &body).await.expect_problem(403, "FORBIDDEN");
            }
        } else if path.starts_with("/admin/") {
            let answer = node.send(method.clone(), &path, &powerless, &json!({})).await;
            answer.expect_problem(401, "UNAUTHENTICATED");
        } else {
            let body = json!({"channel": "orders"});
            node.send(method.clone(), &path, &powerless, &body).await.expect_problem(403, "FORBIDDEN");
        }
    }
}

/// Viewers were told what was wrong with their body before that they may not change anything: so they learned of shapes, and
/// the server read and judged what it had no reason to look at.
#[tokio::test]
async fn whoever_may_not_is_refused_before_their_body_is_looked_at() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let viewer = node.app.store.create_admin_key("viewer", Role::Viewer).await.expect("a key");
    node.refresh().await;
    // Looking into a token changes nothing.
    let is_change =
        |method: &Method, path: &str| *method != Method::GET && !path.ends_with("/tokens:inspect");
    let changes = operations()
        .into_iter()
        .filter(|(method, path)| path.starts_with("/admin/") && is_change(method, path));
    let mut seen = 0;
    for (method, path) in changes {
        for (headers, body) in
            [("application/json", "[nonsense"), ("text/plain", "{}"), ("application/json", "")]
        {
            let ask = async |key: &str| {
                let request = node.request(method.clone(), &path, key).header("content-type", headers);
                let request = request.header("if-match", "nonsense").header("idempotency-key", "one");
                Answer::of(request.body(body).send().await.expect("an answer")).await
            };
            let refused = ask(viewer.expose()).await;
            assert_eq!(refused.status, 403, "{method} {path} {}", refused.text);
            refused.expect_problem(403, "FORBIDDEN");
            ask("").await.expect_problem(401, "UNAUTHENTICATED");
        }
        seen += 1;
    }
    assert!(seen >= 30, "{seen} operations");
}

/// A thing and its actions once were one address with the methods of both.
#[tokio::test]
async fn every_address_tells_its_own_methods() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path) in operations() {
        let methods = taken.entry(path).or_default();
        methods.insert(method.to_string());
        if method == Method::GET {
            methods.insert("HEAD".to_owned());
        }
    }
    assert!(taken.contains_key("/admin/v1/projects/shop/keys/1:rotate"), "{taken:?}");
    for (path, methods) in taken {
        for other in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if methods.contains(other.as_str()) {
                continue;
            }
            let answer = node.send(other.clone(), &path, &node.admin, &json!({})).await;
            let allowed: BTreeSet<_> =
                answer.header("allow").split(',').map(|name| name.trim().to_owned()).collect();
            assert_eq!((answer.status.as_u16(), &allowed), (405, &methods), "{other} {path}");
        }
    }
    // Also where a client writes the colon in another way; and an action that is unknown is none.
    let encoded = "/admin/v1/projects/shop/keys/1%3Arevoke";
    node.post(encoded, &node.admin, &json!({})).await.expect(200);
    for path in ["keys/1:burn", "channels/orders:rotate"] {
        let path = format!("/admin/v1/projects/shop/{path}");
        node.post(&path, &node.admin, &json!({})).await.expect_problem(404, "NOT_FOUND");
        node.get(&path, &node.admin).await.expect_problem(404, "NOT_FOUND");
        node.post(&path, "", &json!({})).await.expect_problem(401, "UNAUTHENTICATED");
    }
}

/// What only owners may do.
fn is_for_owners(method: &Method, path: &str) -> bool {
    let changes_admin_keys = *method != Method::GET && path.starts_with("/admin/v1/admin-keys");
    changes_admin_keys || (*method == Method::DELETE && path == "/admin/v1/projects/shop")
}

/// A body in which each operation finds what it must have, so that the role is what decides.
fn body_for(method: &Method, path: &str) -> Value {
    match (method, path) {
        (&Method::POST, "/admin/v1/projects") => json!({"name": "club"}),
        (&Method::POST, "/admin/v1/admin-keys") => json!({"name": "x", "role": "viewer"}),
        (&Method::POST, path) if path.ends_with("/signing-keys") => json!({"algorithm": "HS256"}),
        _ => json!({}),
    }
}

/// Every role, for all projects and for one, at every operation of the admin API. What is refused is refused with 403, or
/// with 404 where it concerns a project that does not exist for the key; a body that does not fit may be told first.
#[tokio::test]
async fn every_role_may_do_what_it_may_and_no_more() {
    let node = Node::start().await;
    for name in ["shop", "bank"] {
        node.tenant(name).await;
    }
    let store = &node.app.store;
    let bank = ProjectName::parse("bank").expect("a good name");
    let of_bank = Some(vec![node.project(&bank).id]);
    let mut keys = Vec::new();
    for role in [Role::Viewer, Role::Admin, Role::Owner] {
        for projects in [None, of_bank.clone()] {
            let new = NewAdminKey { projects: projects.clone(), ..NewAdminKey::new("x", role) };
            let (_, text) = store.make_admin_key(&new).await.expect("a key");
            keys.push((role, projects.is_none(), text));
        }
    }
    node.refresh().await;
    let entries =
        async || store.list_audit_log(&AuditFilter::default(), None, 1_000).await.expect("listed").len();
    let operations: Vec<_> =
        operations().into_iter().filter(|(_, path)| path.starts_with("/admin/")).collect();
    for (role, is_global, key) in keys {
        // Only those who are to be refused are tried at what changes something; an owner for all may do everything.
        for (method, path) in &operations {
            let (is_change, in_project) =
                (*method != Method::GET, path.starts_with("/admin/v1/projects/shop"));
            let may = (role >= Role::Admin || !is_change)
                && (role == Role::Owner || !is_for_owners(method, path))
                && (is_global || !is_change || in_project);
            if may && is_change && is_global {
                continue;
            }
            let before = entries().await;
            let answer = node.send(method.clone(), path, key.expose(), &body_for(method, path)).await;
            let (status, what) =
                (answer.status.as_u16(), format!("{role:?} {is_global} {method} {path} {}", answer.text));
            match (is_global, in_project) {
                // Of a project that does not exist for the key, nothing is told and nothing is done.
                (false, true) => assert!([400, 403, 404].contains(&status), "{what}"),
                _ if is_change => assert!([400, 403, 404].contains(&status), "{what}"),
                (true, _) => assert!(status < 500 && ![401, 403].contains(&status), "{what}"),
                (false, false) => assert!([200, 403, 404].contains(&status), "{what}"),
            }
            assert_eq!(entries().await, before, "{what}");
        }
    }
}

#[tokio::test]
async fn the_description_is_the_one_that_is_committed_and_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let committed = std::fs::read_to_string(path).expect("docs/openapi.json is committed");
    assert_eq!(committed, nuncio_api::openapi_json(), "docs/openapi.json is stale: run cargo xtask gen");
    let node = Node::start().await;
    let served = node.get("/admin/openapi.json", "").await;
    assert_eq!(served.header("x-content-type-options"), "nosniff");
    let served = served.expect(200);
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(served, serde_json::from_str::<Value>(&committed).expect("JSON"));
    assert!(node.get("/admin/docs/", "").await.text.contains("swagger"));
}
