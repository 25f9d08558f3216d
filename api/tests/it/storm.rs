//! Many subscribers at once: cut and back with their cursors, slow, gone, or busy with starting and stopping.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nuncio_api::ApiSettings;
use nuncio_devstack::{Postgres, PostgresOptions};
use nuncio_model::Clock;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::time::{interval, timeout};

use crate::counts::Counts;
use crate::graphql_kit::{Client, Node};
use crate::node::{SOON, Setup};

const HOUR: Duration = Duration::from_secs(3_600);
const LIVE: &str = "subscription { events(channel: \"a.b\") { sequence } }";

fn after(cursor: &Value) -> Value {
    let query = "subscription($x: Cursor) { events(channel: \"a.b\", after: $x) { sequence cursor } }";
    json!({"query": query, "variables": {"x": cursor}})
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// A node whose database counts its statements.
async fn counting_node() -> Node {
    let server = PostgresOptions::scratch()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track", "top");
    let server = Some(Postgres::start(server).await.expect("a private PostgreSQL starts"));
    let node = Node::build(Setup { server, ..Setup::default() }).await;
    node.database.run("create extension pg_stat_statements").await.expect("it is part of PostgreSQL");
    node
}

/// How often each statement that reads was executed so far.
async fn reads(node: &Node) -> BTreeMap<String, i64> {
    let lines = node
        .database
        .run(
            "select calls, regexp_replace(query, '\\s+', ' ', 'g') from pg_stat_statements
             where query ~* '^\\s*(select|with)' and query !~ 'pg_stat_statements' and dbid = (
                 select oid from pg_database where datname = current_database())",
        )
        .await
        .expect("the database answers");
    let fields = lines.lines().filter_map(|line| line.split_once('|'));
    fields.map(|(calls, query)| (query.to_owned(), calls.parse().expect("a number"))).collect()
}

/// How often a node reads this by itself: how far the logs are, and what other nodes ask.
fn a_second(query: &str) -> i64 {
    match query {
        heads if heads.contains("from heads") => 1,
        errands if errands.contains("from errands") => 4,
        _ => 0,
    }
}

/// A thousand who came back, and the reads that took, but for those that each node makes anyway.
async fn come_back(
    node: &Node,
    address: &str,
    cursors: &[String],
    nodes: i64,
) -> (Vec<Client>, BTreeMap<String, i64>) {
    let token = node.token(&["a.#"], HOUR);
    // Looked at from before the first count to after the last: counting takes its time too.
    let begun = Instant::now();
    let before = reads(node).await;
    let mut clients = Vec::new();
    for at in 0..1_000 {
        let mut client = Client::ready(address, &token).await;
        client.start("1", &after(&json!(cursors[at * 7_919 % cursors.len()]))).await;
        clients.push(client);
    }
    for (at, client) in clients.iter_mut().enumerate() {
        for sequence in at * 7_919 % cursors.len() + 2..=cursors.len() {
            assert_eq!(client.event().await.1["events"]["sequence"], json!(sequence));
        }
    }
    let after = reads(node).await;
    let seconds = nodes * (begun.elapsed().as_secs() as i64 + 1);
    let more = after.into_iter().filter_map(|(query, calls)| {
        let calls = calls - before.get(&query).unwrap_or(&0) - seconds * a_second(&query);
        (calls > 0).then_some((query, calls))
    });
    (clients, more.collect())
}

/// P9: a thousand who come back to a hot channel cost two reads at the most.
#[tokio::test]
async fn a_thousand_come_back_for_two_reads() {
    let node = counting_node().await;
    let mut live = node.ready().await;
    live.subscribe("1", LIVE).await;
    node.until_listeners("a.b", 1).await;
    let mut cursors = Vec::new();
    for n in 0..50 {
        let events = node.publish("a.b", &numbers(n * 2..n * 2 + 2)).await;
        cursors.extend(events.iter().map(|event| event.cursor().to_string()));
    }
    // Somebody is there all the time.
    let (clients, with_company) = come_back(&node, &node.address, &cursors, 1).await;
    assert!(with_company.values().sum::<i64>() <= 2, "{with_company:?}");
    drop((clients, live));
    node.until_listeners("a.b", 0).await;
    // All were cut at once: nothing is left of their group.
    let (clients, all) = come_back(&node, &node.address, &cursors, 1).await;
    assert!(all.values().sum::<i64>() <= 2, "{all:?}");
    drop(clients);
    // They come to a node that has nothing in memory: two pages, each with the head and with what was removed, and the
    // same for the first who came and for who came while that was asked. The node itself has only just begun.
    let new = node.beside().await;
    let (_clients, on_new) = come_back(&node, &new.site.address, &cursors, 2).await;
    let pages = on_new.iter().filter(|(query, _)| query.contains("from events")).map(|(_, calls)| calls);
    assert!(pages.sum::<i64>() == 2 && on_new.values().sum::<i64>() <= 16, "{on_new:?}");
}

#[tokio::test]
async fn a_storm_of_reconnects_misses_nothing_and_repeats_nothing() {
    const MEMBERS: usize = 300;
    const EVENTS: usize = 240;
    let node = Node::start().await;
    let token = node.token(&["a.#"], HOUR);
    let start = node.execute("{ cursor }").await["data"]["cursor"].clone();
    let (cut, back) = (Barrier::new(MEMBERS), Barrier::new(MEMBERS));
    let publish = async {
        let mut schedule = interval(Duration::from_millis(10));
        for n in 0..EVENTS {
            schedule.tick().await;
            node.publish("a.b", &numbers(n..n + 1)).await;
        }
    };
    let member = async |number: usize| {
        let (mut cursor, mut seen) = (start.clone(), 0);
        // Not all have got equally far.
        for until in [EVENTS / 4 + number % 40, EVENTS] {
            let mut client = Client::ready(&node.address, &token).await;
            client.start("1", &after(&cursor)).await;
            while seen < until {
                let mut event = client.event().await.1;
                seen += 1;
                assert_eq!(event["events"]["sequence"], json!(seen));
                cursor = event["events"]["cursor"].take();
            }
            if until < EVENTS {
                cut.wait().await;
                drop(client);
                back.wait().await;
            }
        }
    };
    tokio::join!(publish, join_all((0..MEMBERS).map(member)));
}

/// The next event's number, without reading a large text whole.
async fn sequence(client: &mut Client) -> usize {
    let text = client.text().await;
    let (_, last) = text.rsplit_once(':').expect("an event");
    last.trim_end_matches('}').parse().unwrap_or_else(|_| panic!("{}", &text[..text.len().min(300)]))
}

async fn until(what: impl Fn() -> bool) {
    let reached = async {
        let mut looks = interval(Duration::from_millis(20));
        while !what() {
            looks.tick().await;
        }
    };
    timeout(SOON, reached).await.expect("it comes true in time");
}

#[tokio::test]
async fn slow_readers_hold_nobody_up_and_leave_nothing_behind() {
    const FAST: usize = 30;
    const SLOW: usize = 10;
    const EVENTS: usize = 128;
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let mut clients = Vec::new();
    for _ in 0..FAST + SLOW {
        let mut client = node.ready().await;
        client.subscribe("1", "subscription { events(channel: \"a.b\") { data sequence } }").await;
        clients.push(client);
    }
    node.until_listeners("a.b", FAST + SLOW).await;
    let mut slow = clients.split_off(FAST);
    let big = format!("\"{}\"", "x".repeat(64 << 10));
    let publish = async {
        for _ in 0..EVENTS {
            node.publish("a.b", std::slice::from_ref(&big)).await;
        }
    };
    let read = clients.iter_mut().map(async |client| {
        for n in 1..=EVENTS {
            assert_eq!(sequence(client).await, n);
        }
    });
    tokio::join!(publish, join_all(read));
    assert!(counts.of("nuncio_pages") <= SLOW as i64 + 4, "each holds a page at the most");
    // Half of them go without having read anything, the others begin to read.
    let gone = slow.split_off(SLOW / 2);
    drop(gone);
    let catch_up = slow.iter_mut().map(async |client| {
        for n in 1..=EVENTS {
            assert_eq!(sequence(client).await, n);
        }
    });
    join_all(catch_up).await;
    // Pages that nobody needs any more leave, though the group goes on.
    node.until_listeners("a.b", FAST + SLOW / 2).await;
    until(|| counts.of("nuncio_pages") == 0).await;
    assert_eq!(counts.of("nuncio_groups"), 1);
    node.publish("a.b", &numbers(0..1)).await;
    for client in clients.iter_mut().chain(&mut slow) {
        assert_eq!(sequence(client).await, EVENTS + 1);
    }
    drop((clients, slow));
    until(|| counts.of("nuncio_groups") == 0).await;
}

#[tokio::test]
async fn starting_and_stopping_all_the_time_leaves_nothing_behind() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let node = Node::start().await;
    let start = node.execute("{ cursor }").await["data"]["cursor"].clone();
    let mut client = node.ready().await;
    for n in 0..5_000 {
        let id = (n % 7).to_string();
        client.start(&id, &after(&if n % 2 == 0 { start.clone() } else { Value::Null })).await;
        if n % 5 == 0 {
            node.publish("a.b", &numbers(n..n + 1)).await;
        }
        client.complete(&id).await;
    }
    client.settle().await;
    node.until_listeners("a.b", 0).await;
    assert_eq!(counts.of("nuncio_groups"), 0);
    client.start("1", &after(&start)).await;
    for n in 1..=1_000 {
        assert_eq!(client.event().await.1["events"]["sequence"], json!(n));
    }
}

#[tokio::test]
async fn an_id_that_is_used_again_gives_nothing_of_the_operation_before() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    node.publish("a.b", &numbers(0..500)).await;
    for round in 0..60 {
        let name = format!("r{round}");
        // Shared and alone, live and from the log, in turn.
        let directive = if round % 3 == 2 { "@skip(if: false)" } else { "" };
        let last = if round % 2 == 0 { ", last: 400" } else { "" };
        let query =
            format!("subscription {{ events(channel: \"a.b\"{last}) {{ {name}: sequence {directive} }} }}");
        client.subscribe("1", &query).await;
        node.until_listeners("a.b", 1).await;
        node.publish("a.b", &numbers(0..3)).await;
        for _ in 0..2 {
            let (id, data) = client.event().await;
            assert!(id == "1" && data["events"][&name].is_i64(), "{data}");
        }
        client.complete("1").await;
        client.settle().await;
        node.until_listeners("a.b", 0).await;
    }
}

#[tokio::test]
async fn a_thousand_operations_of_one_socket_are_one_group() {
    let counts = Counts::new();
    let _counting = counts.begin();
    let mut settings = ApiSettings::default();
    settings.sockets.max_operations = 1_000;
    let node = Node::with(settings).await;
    let mut client = node.ready().await;
    for id in 0..1_000 {
        client.subscribe(&id.to_string(), LIVE).await;
    }
    node.until_listeners("a.b", 1_000).await;
    client.settle().await;
    let before = counts.of("nuncio_graphql_executions_total");
    for n in 0..20 {
        node.publish("a.b", &numbers(n..n + 1)).await;
    }
    let mut seen = vec![0; 1_000];
    for _ in 0..20 * 1_000 {
        let (id, data) = client.event().await;
        let at: usize = id.parse().expect("ids are ours");
        seen[at] += 1;
        assert_eq!(data["events"]["sequence"], json!(seen[at]));
    }
    assert_eq!(counts.of("nuncio_graphql_executions_total") - before, 20);
}

#[tokio::test]
async fn a_group_left_and_joined_again_between_two_events_begins_where_it_is_told() {
    let node = Node::start().await;
    let mut client = node.ready().await;
    for round in 0..40 {
        client.subscribe("1", "subscription { events(channel: \"a.b\") { sequence cursor } }").await;
        node.until_listeners("a.b", 1).await;
        client.settle().await;
        let first = node.publish("a.b", &numbers(0..1)).await.remove(0).sequence;
        let mut event = client.event().await.1["events"].take();
        assert_eq!(event["sequence"], json!(first), "{round}");
        client.complete("1").await;
        node.until_listeners("a.b", 0).await;
        node.publish("a.b", &numbers(0..2)).await;
        client.start("2", &after(&event["cursor"].take())).await;
        for n in 1..=2 {
            assert_eq!(client.event().await.1["events"]["sequence"], json!(first + n), "{round}");
        }
        client.complete("2").await;
        node.until_listeners("a.b", 0).await;
    }
}

#[tokio::test]
async fn many_back_over_a_pattern_are_in_order() {
    let node = Node::start().await;
    for n in 0..30 {
        for channel in ["a.b", "a.c", "x", "a.b.c"] {
            node.append(channel, &numbers(n * 100..n * 100 + 50)).await;
        }
    }
    let mut client = node.ready().await;
    for (id, pattern) in [("1", "a.*"), ("2", "#"), ("3", "a.#"), ("4", "nothing.#")] {
        let query = format!(
            "subscription {{ events(channel: \"{pattern}\", last: 1000) {{ channel sequence cursor }} }}"
        );
        client.subscribe(id, &query).await;
    }
    let mut seen: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for _ in 0..3_000 {
        let (id, mut data) = client.event().await;
        let event = data["events"].take();
        let (channel, sequence) =
            (event["channel"].as_str().expect("text"), event["sequence"].as_i64().expect("a number"));
        seen.entry(id).or_default().push((channel.to_owned(), sequence));
    }
    for (id, channels) in [("1", 2), ("2", 4), ("3", 3)] {
        let seen = &seen[id];
        assert_eq!(seen.len(), 1_000);
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for (channel, sequence) in seen {
            let before = last.insert(channel, *sequence);
            assert!(before.is_none_or(|before| *sequence == before + 1), "{id} {channel} {sequence}");
        }
        assert!(last.len() == channels && last.values().all(|sequence| *sequence == 1_500), "{last:?}");
    }
}

#[tokio::test]
async fn what_is_stopped_while_the_database_is_away_gives_nothing_when_it_is_back() {
    let (node, mut proxy) = Node::proxied().await;
    // Nobody listens yet, so that these are in the log alone.
    let events = node.append("a.b", &vec![format!("\"{}\"", "x".repeat(4_000)); 1_000]).await;
    let start = json!(events[0].cursor().to_string());
    let mut client = node.ready().await;
    client.start("1", &after(&start)).await;
    assert_eq!(client.event().await.1["events"]["sequence"], json!(2));
    proxy.vanish().await;
    for id in 0..20 {
        client
            .subscribe(&format!("late {id}"), "subscription { events(channel: \"a.b\", last: 900) { id } }")
            .await;
    }
    for id in 0..20 {
        client.complete(&format!("late {id}")).await;
    }
    client.subscribe("late 0", "subscription { events(channel: \"a.b\", last: 1) { x: sequence } }").await;
    proxy.accept().await.expect("the port is still free");
    let (mut seen, mut late) = (2, 0);
    while seen < 1_000 || late < 1 {
        let (id, data) = client.event().await;
        if id == "1" {
            seen += 1;
            assert_eq!(data["events"]["sequence"], json!(seen));
        } else {
            late += 1;
            assert_eq!((id.as_str(), &data["events"]), ("late 0", &json!({"x": 1_000})));
        }
    }
    node.until_listeners("a.b", 2).await;
}

#[tokio::test]
async fn an_epoch_that_begins_meanwhile_is_gone_into_without_a_hole() {
    let node = Node::build(Setup { clock: Clock::system(), ..Setup::default() }).await;
    let events = node.publish("a.b", &numbers(0..10)).await;
    let mut client = node.ready().await;
    client.start("1", &after(&json!(events[2].cursor().to_string()))).await;
    client.subscribe("live", LIVE).await;
    for n in 4..=10 {
        assert_eq!(client.event().await.1["events"]["sequence"], json!(n));
    }
    node.until_listeners("a.b", 2).await;
    client.settle().await;
    node.database.run("update log_origin set timeline = timeline + 1").await.expect("the database answers");
    // Whoever connects to the copy begins its epoch.
    let new = node.beside().await;
    assert_eq!(new.app.store.head(node.project.id).await.expect("asked").epoch, 2);
    node.publish("a.b", &numbers(10..12)).await;
    node.append("a.b", &numbers(12..14)).await;
    let mut seen = BTreeMap::from([("1".to_owned(), 10), ("live".to_owned(), 10)]);
    for _ in 0..8 {
        let (id, data) = client.event().await;
        let last = seen.get_mut(&id).expect("ids are ours");
        *last += 1;
        assert_eq!(data["events"]["sequence"], json!(*last), "{id}");
    }
    // Places of before that both copies have are places still, on both nodes.
    for address in [&node.address, &new.site.address] {
        let mut back = Client::ready(address, &node.key).await;
        back.start("1", &after(&json!(events[4].cursor().to_string()))).await;
        for n in 6..=14 {
            assert_eq!(back.event().await.1["events"]["sequence"], json!(n));
        }
    }
}
