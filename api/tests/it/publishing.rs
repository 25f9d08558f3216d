//! Publishing over HTTP: every form, every refusal, and how requests share commits.

use futures_util::future::join_all;
use nuncio_model::rights::RightsText;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node};

const ORDERS: &str = "/v1/channels/orders/events";

#[tokio::test]
async fn one_event_or_many_are_committed_when_the_answer_comes() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let one = node
        .post(ORDERS, &tenant.key, &json!({"id": "a", "type": "made", "data": {"n": 1}}))
        .await
        .expect(201);
    assert_eq!(one["events"][0]["id"], "a");
    assert_eq!((&one["events"][0]["sequence"], &one["events"][0]["duplicate"]), (&json!(1), &json!(false)));
    let many = json!([{"channel": "orders", "data": 2}, {"channel": "stock.eu", "data_base64": "AAE="}]);
    let many = node.post("/v1/events", &tenant.key, &many).await.expect(201);
    let places: Vec<_> =
        many["events"].as_array().expect("a list").iter().map(|e| (&e["channel"], &e["sequence"])).collect();
    assert_eq!(places, [(&json!("orders"), &json!(2)), (&json!("stock.eu"), &json!(1))]);
    let stored = node.get("/v1/channels/%23/events", &tenant.key).await.expect(200);
    let events = stored["events"].as_array().expect("a list");
    assert_eq!((&events[0]["data"], &events[0]["source"]), (&json!({"n": 1}), &json!("/http")));
    assert_eq!((&events[1]["data"], &events[2]["data_base64"]), (&json!(2), &json!("AAE=")));
    assert_eq!(events[0]["cursor"], one["events"][0]["cursor"]);
}

#[tokio::test]
async fn a_repeat_answers_with_the_original_and_other_data_is_a_conflict() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let event = json!({"id": "a", "data": 1});
    let first = node.post(ORDERS, &tenant.key, &event).await.expect(201);
    let again = node.post(ORDERS, &tenant.key, &event).await.expect(201);
    assert_eq!(again["events"][0]["duplicate"], true);
    assert_eq!(again["events"][0]["cursor"], first["events"][0]["cursor"]);
    let other = json!([{"data": 2}, {"id": "a", "data": 2}]);
    let problem = node.post(ORDERS, &tenant.key, &other).await.expect_problem(409, "ID_CONFLICT");
    assert_eq!(problem["errors"][0]["index"], 1);
    let stored = node.get(ORDERS, &tenant.key).await.expect(200);
    assert_eq!(stored["events"].as_array().map(Vec::len), Some(1), "a batch is stored whole or not at all");
}

#[tokio::test]
async fn cloudevents_come_in_three_forms() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let event =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": {"a": 1}});
    let send = async |content_type: &str, headers: &[(&str, &str)], body: String| {
        let request =
            node.request(Method::POST, ORDERS, &tenant.key).header("content-type", content_type).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send().await.expect("an answer")).await
    };
    send("application/cloudevents+json", &[], event("1").to_string()).await.expect(201);
    send("application/cloudevents-batch+json", &[], json!([event("2"), event("3")]).to_string())
        .await
        .expect(201);
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", "4"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-subject", "%C3%A9"),
    ];
    send("application/json", &attributes, r#"{"a": 1}"#.to_owned()).await.expect(201);
    let stored = node.get(ORDERS, &tenant.key).await.expect(200);
    let events = stored["events"].as_array().expect("a list");
    let seen: Vec<_> = events.iter().map(|e| (e["id"].as_str().unwrap_or_default(), &e["data"])).collect();
    let data = json!({"a": 1});
    assert_eq!(seen, [("1", &data), ("2", &data), ("3", &data), ("4", &data)]);
    assert_eq!(events[3]["subject"], "é");
    send("application/cloudevents+json", &[], json!({"data": 1}).to_string())
        .await
        .expect_problem(400, "INVALID_EVENT");
    send("application/xml", &[], "<a/>".to_owned()).await.expect_problem(415, "INVALID_REQUEST");
}

#[tokio::test]
async fn each_refusal_says_what_to_mend() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let post = async |path: &str, body: Value| node.post(path, &tenant.key, &body).await;
    post("/v1/channels/a..b/events", json!({})).await.expect_problem(400, "INVALID_CHANNEL");
    post("/v1/channels/$system.x/events", json!({})).await.expect_problem(400, "INVALID_CHANNEL");
    post("/v1/events", json!({"data": 1})).await.expect_problem(400, "INVALID_EVENT");
    let bad = json!([{"data": 1}, {"id": ""}, {"data": 2}, {"time": "now"}, {"data": "x".repeat(262_144)}]);
    let problem = post(ORDERS, bad).await.expect_problem(400, "INVALID_EVENT");
    let items: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|e| (&e["index"], &e["code"])).collect();
    assert_eq!(
        items,
        [
            (&json!(1), &json!("INVALID_EVENT")),
            (&json!(3), &json!("INVALID_EVENT")),
            (&json!(4), &json!("TOO_LARGE"))
        ]
    );
    post(ORDERS, json!({"data": "x".repeat(262_144)})).await.expect_problem(413, "TOO_LARGE");
    post(ORDERS, vec![json!({}); 1_001].into()).await.expect_problem(413, "TOO_LARGE");
    post(ORDERS, json!({"data": "x".repeat(25 << 20)})).await.expect_problem(413, "TOO_LARGE");
    assert_eq!(node.get("/v1/channels/%23/events", &tenant.key).await.expect(200)["events"], json!([]));
}

#[tokio::test]
async fn the_right_to_publish_is_asked_for_every_channel() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let key = node
        .key(&tenant.name, RightsText { publish: vec!["orders.*".to_owned()], ..RightsText::default() })
        .await;
    node.post("/v1/channels/orders.eu/events", &key, &json!({})).await.expect(201);
    node.post(ORDERS, &key, &json!({})).await.expect_problem(403, "FORBIDDEN");
    let mixed = json!([{"channel": "orders.eu"}, {"channel": "stock"}]);
    node.post("/v1/events", &key, &mixed).await.expect_problem(403, "FORBIDDEN");
    node.get("/v1/channels/orders.eu/events", &key).await.expect_problem(403, "FORBIDDEN");
}

#[tokio::test]
async fn concurrent_requests_share_commits_and_each_has_its_own_outcome() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    node.post(ORDERS, &tenant.key, &json!({"id": "taken", "data": 0})).await.expect(201);
    let commits = async || {
        let sql = "select count(distinct stored_at) from events";
        node.database.run(sql).await.expect("a count").trim().parse::<usize>().expect("a number")
    };
    let before = commits().await;
    let bodies = (0..200).map(|n| match n % 10 {
        0 => json!([{"data": n}, {"id": "taken", "data": -1}]),
        _ => json!([{"data": n}, {"data": n}]),
    });
    let bodies: Vec<_> = bodies.collect();
    let answers = join_all(bodies.iter().map(|body| node.post(ORDERS, &tenant.key, body))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match n % 10 {
            0 => drop(answer.expect_problem(409, "ID_CONFLICT")),
            _ => {
                let events = answer.expect(201);
                let sequence = |i: usize| events["events"][i]["sequence"].as_i64().expect("a number");
                assert_eq!(sequence(0) + 1, sequence(1), "a request's events lie side by side");
            }
        }
    }
    let stored = node.database.run("select count(*) from events").await.expect("a count");
    assert_eq!(stored.trim(), "361");
    let used = commits().await - before;
    assert!(used < 100, "{used} commits for 200 requests");
}

/// For up to a second the other nodes do not know of it, and called it a defect of theirs.
#[tokio::test]
async fn who_publishes_into_a_project_that_was_just_deleted_is_told_so() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    // As by another node.
    let project = node.project(&tenant.name);
    node.app.store.delete_project(project.id, None).await.expect("it is there");
    let body = json!({"data": 1});
    let problem =
        node.post("/v1/channels/a/events", &tenant.key, &body).await.expect_problem(401, "UNAUTHENTICATED");
    assert_eq!(problem["reason"], "PROJECT_DELETED", "{problem}");
    let mutation = json!({"query": "mutation { publish(channel: \"a\", event: {data: 1}) { cursor } }"});
    let answer = node.post("/graphql", &tenant.key, &mutation).await.json();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer}");
}
