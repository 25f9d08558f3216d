//! Equal subscriptions are executed once for all who ask for the same, and nobody is given what is another's.

use std::time::Duration;

use nuncio_model::rights::RightsText;
use nuncio_store::{Error, NewApiKey};
use serde_json::{Value, json};

use crate::counts::Counts;
use crate::graphql_kit::{Client, Node};
use crate::node::Tenant;

const EXECUTIONS: &str = "nuncio_graphql_executions_total";
const GROUPS: &str = "nuncio_groups";
const HOUR: Duration = Duration::from_secs(3_600);

/// A subscription's payload with what is needed of it.
fn payload(query: impl Into<String>, variables: Value) -> Value {
    json!({ "query": query.into(), "variables": variables })
}

/// One and the same subscription, written in so many ways.
fn writings(channel: &str, selection: &str, filter: &str, head: &str) -> Vec<Value> {
    let (c, s) = (format!("channel: {}", json!(channel)), selection);
    let f = if filter.is_empty() { String::new() } else { format!(", filter: {}", json!(filter)) };
    let g = if filter.is_empty() { "" } else { ", filter: $f" };
    let d = if filter.is_empty() { "" } else { ", $f: String" };
    let spaced = selection.replace(' ', "\n ,, ");
    let variables = json!({"c": channel, "f": filter, "head": head, "n": 1_000, "gap": "SKIP"});
    let named = json!({"query": format!("subscription A {{ events({c}) {{ id }} }} subscription B {{ events({c}{f}) {{ {s} }} }}"), "operationName": "B"});
    let mut all: Vec<Value> = [
        format!("subscription {{ events({c}{f}) {{ {s} }} }}"),
        format!("subscription($c: String!{d}) {{ events(channel: $c{g}) {{ {s} }} }}"),
        format!("subscription {{ events({c}{f}) {{ ...F }} }} fragment F on Event {{ {s} }}"),
        format!("subscription Named\n{{ # said\n events( {c}{f} ) {{ {spaced} }} }}"),
        format!("subscription($head: Cursor) {{ events({c}, after: $head{f}) {{ {s} }} }}"),
        format!("subscription($n: Int = 1000) {{ events(last: $n, {c}{f}) {{ {s} }} }}"),
        format!("subscription($gap: OnGap) {{ events({c}{f}, onGap: $gap, after: \"{head}\") {{ {s} }} }}"),
        format!("subscription {{ events({c}{f}, last: 1000, after: null) {{ ... on Event {{ {s} }} ... {{ {s} }} }} }}"),
    ]
    .into_iter()
    .map(|query| payload(query, variables.clone()))
    .collect();
    all.push(named);
    all
}

/// Readers that began some events back, on a node that knew nothing of the project yet, each read pages of their own; and
/// where events are large, each read the same page again that was too short to reach them.
#[tokio::test]
async fn who_begins_some_large_events_back_shares_the_pages_of_all() {
    const READERS: usize = 30;
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let large: Vec<String> = (0..100).map(|n| format!("\"{n}{}\"", "x".repeat(100_000))).collect();
    node.append("a", &large).await;
    let mut clients = Vec::new();
    for _ in 0..READERS {
        let mut client = node.ready().await;
        client.subscribe("1", "subscription { events(channel: \"a\", last: 10) { sequence } }").await;
        clients.push(client);
    }
    for client in &mut clients {
        for sequence in 91..=100 {
            assert_eq!(client.event().await.1, json!({ "events": { "sequence": sequence } }));
        }
    }
    let pages = counts.of("nuncio_feed_log_pages_total");
    assert!(pages <= 16, "{pages} pages were read for {READERS} readers");
}

/// P6: executions per event = number of groups, exactly.
#[tokio::test]
async fn an_event_is_executed_once_for_each_group() {
    const EVENTS: usize = 40;
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let head = node.execute("{ cursor }").await["data"]["cursor"].as_str().expect("a cursor").to_owned();
    let groups = [
        ("a.b", "sequence data", ""),
        ("a.*", "sequence data", ""),
        ("a.b", "n: sequence data", ""),
        ("a.b", "sequence data", "data < 1000"),
        ("a.b", "sequence data", "data < 10"),
    ]
    .map(|(channel, selection, filter)| writings(channel, selection, filter, &head));
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = node.ready().await;
        for (group, writings) in groups.iter().enumerate() {
            for (n, writing) in writings.iter().enumerate() {
                client.start(&format!("{group}.{n}"), writing).await;
            }
        }
        clients.push(client);
    }
    let each = groups[0].len();
    node.until_listeners("a.b", 5 * 5 * each).await;
    assert_eq!(counts.of(GROUPS), 5);
    let members = 5 * each;
    // Who has got an event has begun, and whatever it had to look at for that is behind it.
    node.publish("a.b", &["-1".to_owned()]).await;
    for client in &mut clients {
        for _ in 0..members {
            client.event().await;
        }
    }
    let before = counts.of(EXECUTIONS);
    for n in 0..EVENTS / 4 {
        let data: Vec<String> = (4 * n..4 * n + 4).map(|n| n.to_string()).collect();
        node.publish("a.b", &data).await;
    }
    for client in &mut clients {
        let mut seen = vec![0; members];
        for _ in 0..4 * each * EVENTS + each * 10 {
            let (id, data) = client.event().await;
            let (group, n) = id.split_once('.').expect("ids are ours");
            let at = group.parse::<usize>().expect("a number") * each + n.parse::<usize>().expect("a number");
            seen[at] += 1;
            let name = if group == "2" { "n" } else { "sequence" };
            assert_eq!(data, json!({"events": {name: seen[at] + 1, "data": seen[at] - 1}}), "{id}");
        }
        assert!(seen[..4 * each].iter().all(|seen| *seen == EVENTS), "{seen:?}");
        assert!(seen[4 * each..].iter().all(|seen| *seen == 10), "{seen:?}");
    }
    // The last group's filter lets ten through; what a filter keeps back is not executed.
    assert_eq!(counts.of(EXECUTIONS) - before, (4 * EVENTS + 10) as i64);
    drop(clients);
    node.until_listeners("a.b", 0).await;
    assert_eq!(counts.of(GROUPS), 0, "nothing is left of them");
}

/// A document that is known is not validated again: its variables are, each time.
#[tokio::test]
async fn a_known_document_is_as_strict_as_a_new_one() {
    let node = Node::start().await;
    let head = node.execute("{ cursor }").await["data"]["cursor"].clone();
    let mut client = node.ready().await;
    let query = "subscription($c: String!, $x: Cursor!, $n: Int, $gap: OnGap, $f: String) {
        events(channel: $c, after: $x, last: $n, onGap: $gap, filter: $f) { id } }";
    let good = json!({"c": "a.b", "x": head});
    let bad = [
        json!({"x": head}),
        json!({"c": "a.b"}),
        json!({"c": "a.b", "x": null}),
        json!({"c": 1, "x": head}),
        json!({"c": "a.b", "x": 5}),
        json!({"c": "a.b", "x": head, "n": "1"}),
        json!({"c": "a.b", "x": head, "n": 1}),
        json!({"c": "a.b", "x": head, "gap": "skip"}),
        json!({"c": "a.b", "x": head, "f": true}),
        json!({"c": "a.b", "x": head, "f": ""}),
        json!({"c": "a..b", "x": head}),
        json!({"c": ["a.b"], "x": head}),
    ];
    let mut first = Vec::new();
    for round in 0..2 {
        for (n, variables) in bad.iter().enumerate() {
            client.start("1", &payload(query, variables.clone())).await;
            let message = client.message().await;
            assert_eq!(message["type"], json!("error"), "{round} {variables} {message}");
            let error = &message["payload"][0];
            let error = json!([error["message"], error["extensions"]["code"]]);
            match first.get(n) {
                None => first.push(error),
                Some(first) => assert_eq!(error, *first, "{variables}"),
            }
        }
        client.start("1", &payload(query, good.clone())).await;
        node.until_listeners("a.b", 1).await;
        client.complete("1").await;
        node.until_listeners("a.b", 0).await;
    }
}

async fn other_project(node: &Node) -> Tenant {
    node.tenant("other").await
}

async fn next(client: &mut Client) -> Value {
    client.event().await.1["events"].take()
}

#[tokio::test]
async fn projects_share_nothing_whatever_they_name_alike() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let other = other_project(&node).await;
    let theirs = node.publish_to(&other, "a.b", 100..105).await;
    let (mut ours, mut foreign) = (node.ready().await, Client::ready(&node.address, &other.key).await);
    let query = "subscription { events(channel: \"a.b\") { data } }";
    ours.subscribe("1", query).await;
    foreign.subscribe("1", query).await;
    node.until_listeners("a.b", 1).await;
    foreign.settle().await;
    node.until_listeners_in(&other, "a.b", 1).await;
    assert_eq!(counts.of(GROUPS), 2, "equal operations of two projects are two groups");
    for n in 0..50 {
        node.publish("a.b", &[n.to_string()]).await;
        node.publish_to(&other, "a.b", 200 + n..201 + n).await;
    }
    for n in 0..50 {
        assert_eq!(
            (next(&mut ours).await, next(&mut foreign).await),
            (json!({"data": n}), json!({"data": 200 + n}))
        );
    }
    // Places of another project are none here, also where the document is known by now.
    let after =
        "subscription($x: Cursor, $gap: OnGap) { events(channel: \"a.b\", after: $x, onGap: $gap) { data } }";
    for _ in 0..2 {
        ours.start("2", &payload(after, json!({"x": theirs[0]}))).await;
        assert_eq!(ours.error_code("2").await, json!("CURSOR_INVALID"));
    }
    ours.start("2", &payload(after, json!({"x": theirs[0], "gap": "SKIP"}))).await;
    for n in 0..50 {
        assert_eq!(next(&mut ours).await, json!({"data": n}));
    }
    ours.complete("2").await;
    foreign.subscribe("3", "subscription { events(channel: \"#\", last: 1000) { data } }").await;
    for n in (100..105).chain(200..250) {
        assert_eq!(next(&mut foreign).await, json!({"data": n}));
    }
}

#[tokio::test]
async fn a_narrower_right_sees_no_more_for_sharing_with_a_wider_one() {
    let node = Node::start().await;
    let mut wide = node.ready().await;
    let mut narrow = Client::ready(&node.address, &node.token(&["a.*"], HOUR)).await;
    let all = "subscription($c: String!) { events(channel: $c) { channel data } }";
    wide.start("all", &payload(all, json!({"c": "#"}))).await;
    wide.start("some", &payload(all, json!({"c": "a.*"}))).await;
    node.until_listeners("a.b", 2).await;
    for wider in ["#", "a.#", "*.*", "*", "b.c", "a", "a.b.c", "$system.#"] {
        narrow.start("1", &payload(all, json!({"c": wider}))).await;
        assert_eq!(narrow.error_code("1").await, json!("FORBIDDEN"), "{wider}");
    }
    // The same where the document is new.
    for wider in ["#", "a.#"] {
        let query = format!("subscription {{ events(channel: \"{wider}\", last: 9) {{ channel data }} }}");
        narrow.subscribe("1", &query).await;
        assert_eq!(narrow.error_code("1").await, json!("FORBIDDEN"), "{wider}");
    }
    narrow.start("1", &payload(all, json!({"c": "a.*"}))).await;
    node.until_listeners("a.b", 3).await;
    let channels = ["b.c", "a", "a.b.c", "x", "a.b"];
    for (n, channel) in channels.iter().enumerate() {
        node.publish(channel, &[n.to_string()]).await;
    }
    assert_eq!(narrow.event().await, ("1".to_owned(), json!({"events": {"channel": "a.b", "data": 4}})));
    let mut seen = Vec::new();
    for _ in 0..6 {
        let (id, data) = wide.event().await;
        seen.push((id, data["events"]["data"].as_i64().expect("a number")));
    }
    seen.sort();
    let expected: Vec<_> = (0..5).map(|n| ("all".to_owned(), n)).chain([("some".to_owned(), 4)]).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn who_is_revoked_leaves_the_others_of_the_group_undisturbed() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let rights = RightsText { subscribe: vec!["a.#".to_owned()], ..RightsText::default() };
    let new = NewApiKey { label: "revoked".to_owned(), rights: rights.clone(), ..NewApiKey::default() };
    let (created, secret) = node.app.store.create_api_key(node.project.id, &new).await.expect("a new key");
    node.refresh().await;
    let query = "subscription { events(channel: \"a.b\") { data } }";
    let credentials = [
        secret.expose().to_owned(),
        node.key.clone(),
        node.token_of("ada", &["a.b"], HOUR),
        node.token_of("bob", &["#"], HOUR),
    ];
    let mut clients = Vec::new();
    for text in credentials {
        let mut client = Client::ready(&node.address, &text).await;
        client.subscribe("1", query).await;
        clients.push(client);
    }
    node.until_listeners("a.b", 4).await;
    assert_eq!(counts.of(GROUPS), 1, "keys and tokens of whatever subject are one group");
    node.publish("a.b", &["1".to_owned()]).await;
    for client in &mut clients {
        assert_eq!(next(client).await, json!({"data": 1}));
    }
    let none = NewApiKey { rights: RightsText::default(), ..new };
    let changed = node.app.store.update_api_key(node.project.id, created.id, |_| Ok::<_, Error>(none)).await;
    changed.expect("it is there");
    node.refresh().await;
    assert_eq!(clients.remove(0).error_code("1").await, json!("FORBIDDEN"));
    node.until_listeners("a.b", 3).await;
    let before = counts.of(EXECUTIONS);
    node.publish("a.b", &["2".to_owned()]).await;
    for client in &mut clients {
        assert_eq!(next(client).await, json!({"data": 2}));
    }
    assert_eq!(counts.of(EXECUTIONS) - before, 1);
}

/// Sharing is denied by default; whatever is not known to be the same for all is executed for each alone.
#[tokio::test]
async fn what_cannot_be_shared_is_executed_alone_and_as_right() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    node.publish("a.b", &["0".to_owned()]).await;
    let before = counts.of(EXECUTIONS);
    let with =
        "subscription($no: Boolean!) { events(channel: \"a.b\", last: 1) { data sequence @skip(if: $no) } }";
    let plain = json!({"events": {"data": 0, "sequence": 1}});
    let short = json!({"events": {"data": 0}});
    let on_root =
        "subscription { ...R } fragment R on Subscription { events(channel: \"a.b\", last: 1) { data } }";
    let inline = "subscription { ... on Subscription { events(channel: \"a.b\", last: 1) { data } } }";
    let directed =
        "subscription { events(channel: \"a.b\", last: 1) { ... on Event @include(if: true) { data } } }";
    let mut client = node.ready().await;
    for (payload, expected) in [
        (payload(with, json!({"no": false})), plain),
        (payload(with, json!({"no": true})), short.clone()),
        (payload(directed, Value::Null), short),
    ] {
        client.start("1", &payload).await;
        assert_eq!(client.event().await.1, expected, "{payload}");
        client.complete("1").await;
        node.until_listeners("a.b", 0).await;
    }
    assert_eq!(counts.of(EXECUTIONS), before, "none of them was executed for a group");
    // The library passes over fragments at the root; they are dissolved before it sees them.
    for query in [on_root, inline] {
        client.subscribe("1", query).await;
        assert_eq!(client.event().await.1, json!({"events": {"data": 0}}), "{query}");
        client.complete("1").await;
        node.until_listeners("a.b", 0).await;
    }
    let mut narrow = Client::ready(&node.address, &node.token(&["b"], HOUR)).await;
    for query in [on_root, inline, directed] {
        narrow.subscribe("1", query).await;
        assert_eq!(narrow.error_code("1").await, json!("FORBIDDEN"), "{query}");
    }
    for bad in [
        "subscription { events(channel: \"a.b\") { x: id x: type } }",
        "subscription { events(channel: \"a.b\") { id } events2: events(channel: \"b\") { id } nothing }",
        "subscription { events(channel: \"a.b\", nothing: 1) { id } }",
        "subscription { events(channel: \"a.b\") }",
    ] {
        client.subscribe("1", bad).await;
        assert_eq!(client.error_code("1").await, json!("INVALID_REQUEST"), "{bad}");
    }
}

#[tokio::test]
async fn a_filter_is_compiled_and_evaluated_for_all_at_once() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let mut client = node.ready().await;
    for _ in 0..2 {
        let bad = "subscription($f: String) { events(channel: \"a.b\", filter: $f) { id } }";
        client.start("1", &payload(bad, json!({"f": "true &&\n  data.n >"}))).await;
        let error = client.message().await["payload"][0].take();
        assert_eq!(error["extensions"]["code"], json!("INVALID_FILTER"), "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("line 2, column")), "{error}");
        // A good one makes the document a known one.
        client.start("1", &payload(bad, json!({"f": "true"}))).await;
        node.until_listeners("a.b", 1).await;
        client.complete("1").await;
        node.until_listeners("a.b", 0).await;
    }
    let query =
        "subscription($f: String, $n: Int) { events(channel: \"a.b\", filter: $f, last: $n) { data } }";
    let compiled = counts.of("nuncio_filters_compiled_total");
    for id in 0..20 {
        client.start(&format!("even {id}"), &payload(query, json!({"f": "data.n % 2 == 0"}))).await;
        client.start(&format!("odd {id}"), &payload(query, json!({"f": " data.n % 2 == 1\n"}))).await;
    }
    node.until_listeners("a.b", 40).await;
    client.settle().await;
    assert_eq!((counts.of("nuncio_filters_compiled_total") - compiled, counts.of(GROUPS)), (2, 2));
    let (failed, executed) = (counts.of("nuncio_filter_errors_total"), counts.of(EXECUTIONS));
    let data = |n: i32| if n % 10 == 9 { "{}".to_owned() } else { format!("{{\"n\":{n}}}") };
    for n in 0..21 {
        node.publish("a.b", &[data(n)]).await;
    }
    let mut seen = vec![Vec::new(); 40];
    for _ in 0..20 * 19 {
        let (id, event) = client.event().await;
        let (kind, id) = id.split_once(' ').expect("ids are ours");
        let at = 2 * id.parse::<usize>().expect("a number") + usize::from(kind == "odd");
        seen[at].push(event["events"]["data"]["n"].as_i64().expect("a number"));
    }
    for pair in seen.chunks(2) {
        assert_eq!(pair[0], (0..21).filter(|n| n % 2 == 0).collect::<Vec<_>>());
        assert_eq!(pair[1], (0..20).filter(|n| n % 2 == 1 && n % 10 != 9).collect::<Vec<_>>());
    }
    assert_eq!(counts.of("nuncio_filter_errors_total") - failed, 4, "two events, for each of two groups");
    assert_eq!(counts.of(EXECUTIONS) - executed, 19);
}

#[tokio::test]
async fn a_filter_that_seldom_matches_is_caught_up_with() {
    let node = Node::start().await;
    let start = node.execute("{ cursor }").await["data"]["cursor"].clone();
    let wanted = [3, 64, 65, 1_999, 2_000, 4_999];
    for n in 0..5 {
        let data: Vec<String> = (n * 1_000..n * 1_000 + 1_000).map(|n| n.to_string()).collect();
        node.append("a.b", &data).await;
    }
    let query = "subscription($x: Cursor) {
        events(channel: \"a.b\", after: $x, filter: \"data in [3, 64, 65, 1999, 2000, 4999, 7000]\") { data } }";
    let mut client = node.ready().await;
    client.start("1", &payload(query, json!({"x": start}))).await;
    for n in wanted {
        assert_eq!(next(&mut client).await, json!({"data": n}));
    }
    node.publish("a.b", &["7".to_owned(), "7000".to_owned()]).await;
    assert_eq!(next(&mut client).await, json!({"data": 7_000}));
}
