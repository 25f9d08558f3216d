//! GraphiQL in a real browser.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::clients::{chromium, member, run};
use crate::place::Place;

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

/// The page loaded its parts from elsewhere, so that it did not work without the internet, and it knew no way to
/// give a subscription credentials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_and_a_subscription_with_nothing_but_the_node() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shown").await;
    let picture =
        std::env::var_os("NUNCIO_TEST_PICTURES").map(|folder| PathBuf::from(folder).join("graphiql.png"));
    let options = json!({
        "api": node.api.url, "token": tenant.key, "chromium": chromium(), "channel": "page.live", "picture": picture,
    });
    let page = run("graphiql.mjs", &options).succeed().await;
    let lines = page.out.all();
    let told = |name: &str| {
        let found = lines.iter().find_map(|line| member(name)(line));
        found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
    };
    assert!(told("live").as_str().expect("a text").contains("\"type\": \"seen.live\""));
    assert_eq!(texts(&told("errors")), [""; 0]);
    let requests = told("requests");
    let requests = texts(&requests);
    assert!(requests.len() > 6, "{requests:?}");
    for request in requests {
        assert!(request.starts_with(&node.api.url) || request == "data:,", "{request}");
    }
    assert_eq!(texts(&told("sockets")), [format!("{}/graphql", node.api.url.replace("http", "ws"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_turned_off() {
    let place = Place::new().await;
    for (shown, page, part) in [("true", 200, 200), ("false", 401, 404)] {
        let mut command = place.nuncio();
        command.arg("all").env("NUNCIO_GRAPHIQL", shown);
        let node = crate::node::Node::start("nuncio all", command).await;
        let get = async |path: &str| {
            let request = reqwest::Client::new().get(format!("{}{path}", node.api.url));
            let answer = request.header("accept", "text/html").send().await.expect("an answer");
            let policy = answer.headers().get("content-security-policy").expect("a policy").to_str();
            (answer.status().as_u16(), policy.expect("ASCII").to_owned())
        };
        let (status, policy) = get("/graphql").await;
        assert_eq!((status, policy.contains("script-src 'self';")), (page, shown == "true"), "{policy}");
        assert_eq!(get("/graphql/assets/graphiql.min.js").await.0, part);
        assert_eq!(get("/graphql/assets/..%2findex.html").await.0, 404);
    }
}
