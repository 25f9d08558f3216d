//! Pages of history, both ways, and the long poll.

use std::time::Duration;

use nuncio_model::Channel;
use nuncio_model::rights::RightsText;
use serde_json::{Value, json};

use crate::node::Node;

fn numbers(page: &Value) -> Vec<i64> {
    page["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| event["data"].as_i64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn pages_have_no_hole_and_no_double_in_either_direction() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    for n in (0..60).step_by(4) {
        node.publish(&tenant, "orders.eu", n..n + 3).await;
        node.publish(&tenant, "stock", n + 3..n + 4).await;
    }
    let expected: Vec<i64> = (0..60).filter(|n| n % 4 != 3).collect();
    for pattern in ["orders.eu", "orders.%23"] {
        let path = format!("/v1/channels/{pattern}/events");
        let (mut forward, mut query) = (Vec::new(), "first=7".to_owned());
        loop {
            let page = node.get(&format!("{path}?{query}"), &tenant.key).await.expect(200);
            forward.extend(numbers(&page));
            if page["hasMore"] == false {
                break;
            }
            query = format!("first=7&after={}", page["cursor"].as_str().expect("a cursor"));
        }
        assert_eq!(forward, expected, "{pattern} forward");
        let (mut back, mut query) = (Vec::new(), "last=7".to_owned());
        loop {
            let page = node.get(&format!("{path}?{query}"), &tenant.key).await.expect(200);
            back.splice(0..0, numbers(&page));
            if page["hasMore"] == false {
                break;
            }
            query = format!("last=7&before={}", page["cursor"].as_str().expect("a cursor"));
        }
        assert_eq!(back, expected, "{pattern} back");
    }
}

#[tokio::test]
async fn a_cursor_is_good_in_its_own_project_alone() {
    let node = Node::start().await;
    let (shop, bank) = (node.tenant("shop").await, node.tenant("bank").await);
    let cursors = node.publish(&shop, "orders", 0..3).await;
    node.publish(&bank, "orders", 0..3).await;
    let path = |cursor: &str| format!("/v1/channels/orders/events?after={cursor}");
    assert_eq!(numbers(&node.get(&path(&cursors[0]), &shop.key).await.expect(200)), [1, 2]);
    let problem = node.get(&path(&cursors[0]), &bank.key).await.expect_problem(400, "CURSOR_INVALID");
    assert!(problem["oldest"].is_string() && problem["newest"].is_string(), "{problem}");
    for bad in ["", "AAAA", "%00", "-1", "1%27%20or%201=1", &"A".repeat(10_000)] {
        node.get(&path(bad), &shop.key).await.expect_problem(400, "CURSOR_INVALID");
        let before = format!("/v1/channels/orders/events?before={bad}");
        node.get(&before, &shop.key).await.expect_problem(400, "CURSOR_INVALID");
    }
    node.get(&path("1%0d%0a2"), &shop.key).await.expect_problem(400, "CURSOR_INVALID");
}

#[tokio::test]
async fn a_pattern_wider_than_the_rights_is_refused_and_not_narrowed() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let rights = RightsText { subscribe: vec!["orders.*".to_owned()], ..RightsText::default() };
    let key = node.key(&tenant.name, rights).await;
    for (channel, status) in
        [("orders.eu", 200), ("orders.*", 200), ("orders.%23", 403), ("%23", 403), ("stock", 403)]
    {
        let answer = node.get(&format!("/v1/channels/{channel}/events"), &key).await;
        assert_eq!(answer.status.as_u16(), status, "{channel}");
    }
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_there_is_something() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let cursors = node.publish(&tenant, "orders", 0..1).await;
    let path = format!("/v1/channels/orders/events?wait=20&after={}", cursors[0]);
    let (page, _) = tokio::join!(node.get(&path, &tenant.key), async {
        // It can only be answered by what is published while it is held.
        while node
            .app
            .feeds
            .listeners(node.project(&tenant.name).id, &Channel::parse("orders").expect("a good name"))
            == 0
        {
            tokio::task::yield_now().await;
        }
        node.publish(&tenant, "stock", 5..6).await;
        node.publish(&tenant, "orders", 1..3).await
    });
    let page = page.expect(200);
    assert_eq!(numbers(&page), [1, 2]);
    let path =
        format!("/v1/channels/orders/events?wait=0&after={}", page["cursor"].as_str().expect("a cursor"));
    let empty =
        tokio::time::timeout(Duration::from_secs(10), node.get(&path, &tenant.key)).await.expect("at once");
    assert_eq!(empty.expect(200)["events"], json!([]));
}
