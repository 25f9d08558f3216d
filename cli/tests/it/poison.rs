//! Messages that cannot be events, published with pika, are kept with a reason and hold up nothing.

use reqwest::Method;
use serde_json::Value;

use crate::clients::{Subscriber, member, received, run};
use crate::place::Place;
use crate::program::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_kinds_of_poison_and_the_good_event_behind_them() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    let start = node.api.cursor(&tenant).await;
    let subscriber = Subscriber::EventSource.start(&node.api, &tenant, "orders.#", Some(&start), 2);
    let publisher = run("publish_poison.py", &place.publisher(&tenant, "orders.eu", 0)).succeed().await;
    let published = publisher.out.all();
    let expected: Vec<Value> = published.iter().filter_map(|line| member("reason")(line)).collect();
    assert_eq!(expected.len(), 6);

    let good = received(&subscriber.succeed().await);
    assert_eq!(good.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["taken", "good"]);

    let letters = async || node.api.admin(Method::GET, "/projects/shop/dead-letters", &Value::Null).await;
    eventually("six dead letters", async || letters().await["items"].as_array().map(Vec::len) == Some(6))
        .await;
    let letters = letters().await;
    let letters = letters["items"].as_array().expect("a list");
    let reasons: Vec<Value> = letters.iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(reasons, expected);
    for letter in letters {
        assert!(letter["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{letter}");
        let path = format!("/projects/shop/dead-letters/{}", letter["id"].as_str().expect("an id"));
        let whole = node.api.admin(Method::GET, &path, &Value::Null).await;
        assert!(whole["body"].is_string() || whole["bodyBase64"].is_string(), "{letter}");
    }
}
