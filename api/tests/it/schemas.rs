//! What a namespace asks of those who publish to it: who they are, and what their data is like.

use nuncio_model::Rights;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node, Tenant};

const NAMESPACES: &str = "/admin/v1/projects/shop/namespaces";

/// A project whose namespace `orders` has these settings.
async fn shop(settings: Value) -> (Node, Tenant) {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let mut new = json!({"name": "orders"});
    new.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    node.post(NAMESPACES, &node.admin, &new).await.expect(201);
    (node, tenant)
}

async fn graphql(node: &Node, key: &str, data: &Value) -> Value {
    let query = "mutation($d: JSON) { publish(channel: \"orders.eu\", event: {type: \"order.made\", data: $d}) { id } }";
    node.post("/graphql", key, &json!({"query": query, "variables": {"d": data}})).await.json()
}

fn order() -> Value {
    json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
}

#[tokio::test]
async fn data_that_does_not_fit_its_schema_is_told_where() {
    let (node, tenant) = shop(json!({"schemas": {"order.made": order(), "*": false}})).await;
    let path = "/v1/channels/orders.eu/events";
    let event = |n: Value| json!({"type": "order.made", "data": {"n": n}});
    node.post(path, &tenant.key, &event(json!(1))).await.expect(201);
    let problem = node.post(path, &tenant.key, &event(json!("1"))).await;
    let problem = problem.expect_problem(400, "SCHEMA_MISMATCH");
    let expected =
        "the data does not fit the schema for type \"order.made\": at /n, value is not of type \"integer\"";
    assert_eq!(problem["detail"], expected);

    let batch = json!([event(json!(1)), event(json!(null)), {"type": "other"}, event(json!(2))]);
    let problem = node.post(path, &tenant.key, &batch).await.expect_problem(400, "SCHEMA_MISMATCH");
    let wrong = |n: usize| (problem["errors"][n]["index"].clone(), problem["errors"][n]["code"].clone());
    assert_eq!(
        (wrong(0), wrong(1)),
        ((json!(1), json!("SCHEMA_MISMATCH")), (json!(2), json!("SCHEMA_MISMATCH")))
    );
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2));
    // Another way in, and the same check.
    let refused = graphql(&node, &tenant.key, &json!({"n": []})).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "SCHEMA_MISMATCH", "{refused}");
    assert!(graphql(&node, &tenant.key, &json!({"n": 3})).await["errors"].is_null());
    // Other namespaces ask nothing.
    node.post("/v1/channels/stock/events", &tenant.key, &event(json!("1"))).await.expect(201);
    let stored = node.get(path, &tenant.key).await.expect(200);
    let numbers: Vec<_> =
        stored["events"].as_array().expect("a list").iter().map(|e| e["data"]["n"].clone()).collect();
    assert_eq!(numbers, [json!(1), json!(3)]);
}

#[tokio::test]
async fn schemas_are_checked_when_they_are_stored_and_replaced_one_by_one() {
    let (node, tenant) = shop(json!({"schemas": {"order.made": order()}})).await;
    let one = format!("{NAMESPACES}/orders");
    let change = async |changes: Value| {
        Answer::of(
            node.request(Method::PATCH, &one, &node.admin).json(&changes).send().await.expect("an answer"),
        )
        .await
    };
    let wrong = json!({"maxEventBytes": 2_000_000, "schemas": {
        "a": {"properties": {"x": {"type": "nothing"}}}, "b": {"$ref": "https://example.com/b.json"},
        "c": {"pattern": "(a)\\1"}}});
    let problem = change(wrong).await.expect_problem(400, "INVALID_REQUEST");
    let fields: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|e| e["field"].clone()).collect();
    assert_eq!(
        fields,
        ["maxEventBytes", "schemas/a/properties/x/type", "schemas/b/$ref", "schemas/c/pattern"]
    );
    let shown =
        change(json!({"schemas": {"order.made": {"const": null}, "order.paid": true}})).await.expect(200);
    assert_eq!(shown["schemas"], json!({"order.made": {"const": null}, "order.paid": true}));
    let shown = change(json!({"schemas": {"order.made": null}})).await.expect(200);
    assert_eq!(shown["schemas"], json!({"order.paid": true}));
    node.post("/v1/channels/orders/events", &tenant.key, &json!({"type": "order.made"})).await.expect(201);
    // What a project's defaults ask holds in every namespace that was not made.
    let project = "/admin/v1/projects/shop";
    let defaults = json!({"defaults": {"schemas": {"*": false}}});
    node.send(Method::PATCH, project, &node.admin, &defaults).await.expect(200);
    let refused = node.post("/v1/channels/stock/events", &tenant.key, &json!({"data": 1})).await;
    refused.expect_problem(400, "SCHEMA_MISMATCH");
}

#[tokio::test]
async fn a_namespace_says_who_may_publish_whatever_their_rights() {
    let (node, tenant) = shop(json!({"publishers": ["amqp", "keys"]})).await;
    let token = node.token(&tenant.name, &Rights::everything());
    let path = "/v1/channels/orders.eu/events";
    let problem = node.post(path, &token, &json!({"data": 1})).await.expect_problem(403, "FORBIDDEN");
    assert_eq!(problem["detail"], "this namespace takes events by amqp and keys alone (its `publishers`)");
    let refused = graphql(&node, &token, &json!(1)).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN", "{refused}");
    node.post(path, &tenant.key, &json!({"data": 1})).await.expect(201);
    node.post("/v1/channels/stock/events", &token, &json!({"data": 1})).await.expect(201);
    // A batch is stored whole or not at all.
    let batch = json!([{"channel": "stock", "data": 2}, {"channel": "orders.eu", "data": 2}]);
    let problem = node.post("/v1/events", &token, &batch).await.expect_problem(403, "FORBIDDEN");
    assert_eq!(problem["errors"][0]["index"], 1);
    assert_eq!(
        node.get("/v1/channels/stock/events", &token).await.expect(200)["events"].as_array().map(Vec::len),
        Some(1)
    );
    let frozen = json!({"publishers": []});
    node.send(Method::PATCH, &format!("{NAMESPACES}/orders"), &node.admin, &frozen).await.expect(200);
    node.post(path, &tenant.key, &json!({"data": 2})).await.expect_problem(403, "FORBIDDEN");
    node.get(path, &token).await.expect(200);
    let wrong = json!({"publishers": ["graphql"]});
    node.send(Method::PATCH, &format!("{NAMESPACES}/orders"), &node.admin, &wrong)
        .await
        .expect_problem(400, "INVALID_REQUEST");
}

/// Settings that were stored before there were such rules say nothing of them.
#[tokio::test]
async fn settings_of_an_older_version_are_read() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let statement = "update projects set defaults = defaults - 'publishers' - 'schemas';
                     update settings_version set version = version + 1";
    node.database.run(statement).await.expect("the database answers");
    node.refresh().await;
    node.post("/v1/channels/a/events", &tenant.key, &json!({"data": 1})).await.expect(201);
    let shown = node.get("/admin/v1/projects/shop", &node.admin).await.expect(200);
    assert_eq!(shown["defaults"]["publishers"], json!(["amqp", "keys", "tokens"]));
}
