//! The whole surface: every operation of the OpenAPI document, without rights.

use nuncio_model::rights::RightsText;
use nuncio_store::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::Node;

/// Every operation: its method and a path with its parameters filled in.
fn operations() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(&nuncio_api::openapi_json()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations = paths.iter().flat_map(|(path, item)| {
        let path =
            path.replace("{project}", "shop").replace("{channel}", "orders").replace("{name}", "orders");
        let path = path
            .replace("{id}", "1")
            .replace("{kid}", "main")
            .replace("/v1/stream", "/v1/stream?channel=orders");
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
            if method != Method::GET {
                let body = json!({"name": "x", "algorithm": "HS256"});
                let answer = node.send(method.clone(), &path, viewer.expose(), &body).await;
                // A body that does not fit this operation may be told first.
                assert!([400, 403].contains(&answer.status.as_u16()), "{method} {path} {}", answer.text);
            }
        } else {
            let body = json!({"channel": "orders"});
            node.send(method.clone(), &path, &powerless, &body).await.expect_problem(403, "FORBIDDEN");
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
