//! Filters on history, over HTTP and GraphQL.

use std::time::Duration;

use serde_json::{Value, json};

use crate::counts::Counts;
use crate::graphql_kit;
use crate::node::{Node, Tenant};
use crate::sse_kit::Source;

/// Publishes events whose number is in `data.n`; one in a thousand is rare.
async fn publish(node: &Node, tenant: &Tenant, channel: &str, numbers: std::ops::Range<u32>) {
    let kind = |n: u32| if n % 1_000 == 999 { "rare" } else { "common" };
    let events: Vec<_> = numbers.map(|n| json!({"type": kind(n), "data": {"n": n}})).collect();
    for some in events.chunks(1_000) {
        node.post(&format!("/v1/channels/{channel}/events"), &tenant.key, &some.into()).await.expect(201);
    }
}

fn numbers(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().expect("a list");
    events.iter().map(|event| event["data"]["n"].as_i64().expect("a number")).collect()
}

fn path(channel: &str, pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("/v1/channels/{}/events?{}", encode(channel), pairs.join("&"))
}

/// Reads page after page; gives what they hold, oldest first, and how many there were.
async fn read_all(node: &Node, tenant: &Tenant, filter: &str, limit: &str, on: &str) -> (Vec<i64>, usize) {
    let (mut pages, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut pairs = vec![("filter", filter), (limit, "2")];
        pairs.extend(cursor.as_deref().map(|cursor| (on, cursor)));
        let page = node.get(&path("orders.#", &pairs), &tenant.key).await.expect(200);
        pages.push(numbers(&page));
        if page["hasMore"] == false {
            break;
        }
        cursor = Some(page["cursor"].as_str().expect("a cursor").to_owned());
    }
    if on == "before" {
        pages.reverse();
    }
    (pages.concat(), pages.len())
}

#[tokio::test]
async fn pages_hold_what_the_filter_wants_and_lead_to_the_end_in_both_directions() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    publish(&node, &tenant, "orders.eu", 0..4_500).await;
    for (limit, on) in [("first", "after"), ("last", "before")] {
        let (rare, pages) = read_all(&node, &tenant, "type == 'rare'", limit, on).await;
        assert_eq!(rare, [999, 1_999, 2_999, 3_999], "{on}");
        assert!((3..=5).contains(&pages), "{on}: {pages}");
        let (some, _) = read_all(&node, &tenant, "data.n >= 10 && data.n < 15", limit, on).await;
        assert_eq!(some, [10, 11, 12, 13, 14], "{on}");
        // One that wants nothing gets empty pages that still move on.
        let (none, pages) = read_all(&node, &tenant, "data.missing == 1", limit, on).await;
        assert!(none.is_empty() && (2..=4).contains(&pages), "{on}: {pages}");
    }
}

#[tokio::test]
async fn a_long_poll_waits_for_what_the_filter_wants() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let held = path("orders", &[("wait", "20"), ("filter", "data.n == 7")]);
    let (page, ()) = tokio::join!(node.get(&held, &tenant.key), async {
        // It can only be answered by what is published while it is held.
        node.until_listeners(node.project(&tenant.name).id, "orders", 1).await;
        publish(&node, &tenant, "orders", 0..5).await;
        publish(&node, &tenant, "orders", 5..10).await;
    });
    assert_eq!(numbers(&page.expect(200)), [7]);
    let empty = path("orders", &[("wait", "0"), ("filter", "data.n == 70")]);
    let page = tokio::time::timeout(Duration::from_secs(10), node.get(&empty, &tenant.key)).await;
    assert_eq!(page.expect("at once").expect(200)["events"], json!([]));
}

#[tokio::test]
async fn a_filter_that_is_not_good_is_refused_by_name_and_place() {
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    let bad = [
        ("type = 'x'", "line 1, column 6: "),
        ("nope", "line 1, column 1: "),
        ("((((", "line 1, column 5: "),
    ];
    for (filter, place) in bad {
        let answer = node.get(&path("orders", &[("filter", filter)]), &tenant.key).await;
        let problem = answer.expect_problem(400, "INVALID_FILTER");
        assert_eq!(problem["errors"][0]["field"], "filter", "{problem}");
        let message = problem["errors"][0]["message"].as_str().expect("a message");
        assert!(message.starts_with(place), "{problem}");
    }
}

#[tokio::test]
async fn graphql_reads_history_through_filters_too() {
    let node = graphql_kit::Node::start().await;
    let events: Vec<_> = (0..10).map(|n| json!({ "n": n }).to_string()).collect();
    node.append("orders", &events).await;
    let ask = async |arguments: &str| {
        let fields = "{ events { data } cursor hasMore }";
        node.execute(&format!(r#"{{ history(channel: "orders", {arguments}) {fields} }}"#)).await
    };
    let page = ask(r#"first: 2, filter: "data.n > 4""#).await["data"]["history"].take();
    assert_eq!(page["events"], json!([{"data": {"n": 5}}, {"data": {"n": 6}}]));
    assert_eq!(page["hasMore"], true);
    let rest =
        ask(&format!(r#"after: {}, filter: "data.n > 4""#, page["cursor"])).await["data"]["history"].take();
    assert_eq!((numbers(&rest), &rest["hasMore"]), (vec![7, 8, 9], &json!(false)));
    let newest = ask(r#"last: 1, filter: "data.n < 4""#).await["data"]["history"].take();
    assert_eq!((numbers(&newest), &newest["hasMore"]), (vec![3], &json!(true)));
    for bad in ["", "data.n >", "n > 4"] {
        let answer = ask(&format!(r#"filter: "{bad}""#)).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "INVALID_FILTER", "{answer}");
        assert_eq!(error["extensions"]["errors"][0]["field"], "filter", "{answer}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("line 1, column ")), "{answer}");
    }
}

/// Every stream that came back compiled its filter anew, which may take milliseconds.
#[tokio::test]
async fn streams_and_pages_compile_a_filter_once() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let tenant = node.tenant("shop").await;
    publish(&node, &tenant, "orders.eu", 0..3).await;
    let path = |filter| path("orders.#", &[("filter", filter), ("last", "10")]);
    for _ in 0..3 {
        let mut source = Source::open(&node, &path("data.n > 0"), &tenant.key, "").await;
        source.expect("nuncio.ready").await;
        assert_eq!(numbers(&node.get(&path(" data.n > 0"), &tenant.key).await.expect(200)), [1, 2]);
        let query = "{ history(channel: \"orders.#\", last: 10, filter: \"data.n > 0\") { events { id } } }";
        let page = node.post("/graphql", &tenant.key, &json!({ "query": query })).await.expect(200);
        assert_eq!(page["data"]["history"]["events"].as_array().map(Vec::len), Some(2), "{page}");
    }
    assert_eq!(counts.of("nuncio_filters_compiled_total"), 1);
}
