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

#[tokio::test]
async fn a_page_is_read_in_one_direction_from_one_place() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let cursors = node.publish(&tenant, "orders", 0..10).await;
    let get = async |query: &str| node.get(&format!("/v1/channels/orders/events?{query}"), &tenant.key).await;
    let (second, eighth) = (&cursors[1], &cursors[7]);
    for (query, expected, has_more) in [
        (String::new(), (0..10).collect::<Vec<_>>(), false),
        ("first=3".to_owned(), vec![0, 1, 2], true),
        ("last=3".to_owned(), vec![7, 8, 9], true),
        (format!("after={second}&first=2"), vec![2, 3], true),
        (format!("after={second}&first=8"), (2..10).collect(), false),
        (format!("before={eighth}&last=2"), vec![5, 6], true),
        (format!("before={eighth}&first=2"), vec![5, 6], true),
        (format!("before={second}"), vec![0], false),
        (format!("after={}", cursors[9]), vec![], false),
        ("since=2020-01-01T00:00:00Z&first=2".to_owned(), vec![0, 1], true),
        ("since=2100-01-01T00:00:00Z".to_owned(), vec![], false),
        ("since=2020-01-01T00:00:00Z&wait=30&first=1".to_owned(), vec![0], true),
    ] {
        let page = get(&query).await.expect(200);
        assert_eq!((numbers(&page), &page["hasMore"]), (expected, &json!(has_more)), "{query}");
    }
    for query in [
        format!("after={second}&before={eighth}"),
        format!("after={second}&last=2"),
        format!("after={second}&since=2020-01-01T00:00:00Z"),
        format!("before={eighth}&wait=1"),
        format!("before={eighth}&since=2020-01-01T00:00:00Z"),
        "last=2&first=2".to_owned(),
        "last=2&wait=1".to_owned(),
        "first=0".to_owned(),
        "last=0".to_owned(),
        "first=1001".to_owned(),
        "wait=61".to_owned(),
        "wait=-1".to_owned(),
        "since=now".to_owned(),
        "first=1&first=2".to_owned(),
    ] {
        get(&query).await.expect_problem(400, "INVALID_REQUEST");
    }
}

/// An expired cursor is never ignored; without one a page shows what there is.
#[tokio::test]
async fn a_hole_is_announced_when_reading_on() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let cursors = node.publish(&tenant, "orders", 0..10).await;
    let trim = "update channels set trimmed_sequence = 6, trimmed_position = 6 where name = 'orders'";
    node.database.run(trim).await.expect("trimmed");
    for pattern in ["orders", "%23"] {
        let get = async |query: &str| {
            node.get(&format!("/v1/channels/{pattern}/events?{query}"), &tenant.key).await
        };
        let expired = get(&format!("after={}", cursors[2])).await.expect_problem(410, "CURSOR_EXPIRED");
        assert_eq!((&expired["oldest"], &expired["newest"]), (&json!(cursors[5]), &json!(cursors[9])));
        let waiting = get(&format!("wait=20&after={}", cursors[2])).await;
        waiting.expect_problem(410, "CURSOR_EXPIRED");
        assert_eq!(numbers(&get(&format!("after={}", cursors[5])).await.expect(200)), [6, 7, 8, 9]);
        assert_eq!(numbers(&get("").await.expect(200)), [6, 7, 8, 9]);
        let back = get(&format!("before={}&last=9", cursors[8])).await.expect(200);
        assert_eq!((numbers(&back), &back["hasMore"]), (vec![6, 7], &json!(false)));
    }
}

#[tokio::test]
async fn a_long_poll_ends_at_once_and_empty_when_its_node_drains() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let project = node.project(&tenant.name).id;
    let cursors = node.publish(&tenant, "orders", 0..1).await;
    let path = format!("/v1/channels/orders/events?wait=60&after={}", cursors[0]);
    let begin = std::time::Instant::now();
    let (page, ()) = tokio::join!(node.get(&path, &tenant.key), async {
        node.until_listeners(project, "orders", 1).await;
        node.app.drain.cancel();
    });
    let page = page.expect(200);
    assert_eq!(
        (&page["events"], &page["cursor"], &page["hasMore"]),
        (&json!([]), &json!(cursors[0]), &json!(false))
    );
    assert!(begin.elapsed() < Duration::from_secs(30));
}

/// Ten thousand events of other channels lie between: a page of a pattern may be empty, and still moves its reader on.
#[tokio::test]
async fn a_long_poll_over_a_rare_pattern_passes_what_is_not_for_it() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let start = node.publish(&tenant, "orders.eu", 0..1).await;
    for first in (0..6_000).step_by(1_000) {
        node.publish(&tenant, "noise", first..first + 1_000).await;
    }
    node.publish(&tenant, "orders.us", 7..8).await;
    let path = format!("/v1/channels/orders.%23/events?wait=20&after={}", start[0]);
    let page = node.get(&path, &tenant.key).await.expect(200);
    assert_eq!(numbers(&page), [7]);
    let path = format!("/v1/channels/orders.%23/events?after={}", start[0]);
    let page = node.get(&path, &tenant.key).await.expect(200);
    assert_eq!((numbers(&page), &page["hasMore"]), (vec![], &json!(true)));
    let path = format!("/v1/channels/orders.%23/events?after={}", page["cursor"].as_str().expect("a cursor"));
    assert_eq!(numbers(&node.get(&path, &tenant.key).await.expect(200)), [7]);
}
