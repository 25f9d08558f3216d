//! A thousand operations of one socket: the busy ones do not keep the others waiting.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::graphql_kit::{Client, Node};

const OPERATIONS: usize = 1_000;
const SHARED: usize = 10;
const ALONE: usize = 10;
/// How many events of about 1 KB each busy operation has to catch up with.
const BACKLOG: usize = 400;

fn name(n: usize) -> String {
    format!("quiet.{n}")
}

/// How often each operation was given something, up to where all in `wanted` were.
async fn until_all(client: &mut Client, wanted: &HashSet<String>) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    let mut left = wanted.clone();
    while !left.is_empty() {
        let (id, _) = client.event().await;
        left.remove(&id);
        *seen.entry(id).or_default() += 1;
    }
    seen
}

/// Twenty operations have megabytes to catch up with, ten of them shared and ten alone; the others have one event each,
/// and get it long before the twenty are done.
#[tokio::test]
async fn quiet_operations_do_not_wait_for_busy_ones() {
    let node = Node::start().await;
    let head: Value = node.execute("{ cursor }").await["data"]["cursor"].clone();
    let data: Vec<String> =
        (0..BACKLOG).map(|n| json!({"n": n, "x": "x".repeat(1_000)}).to_string()).collect();
    node.publish("busy", &data).await;
    let mut client = node.ready().await;
    for n in 0..SHARED + ALONE {
        let directive = if n < SHARED { "" } else { "@skip(if: false)" };
        let query = format!(
            "subscription($after: Cursor) {{ events(channel: \"busy\", after: $after) {{ data {directive} }} }}"
        );
        client.start(&format!("busy.{n}"), &json!({"query": query, "variables": {"after": head}})).await;
    }
    let quiet: HashSet<String> = (SHARED + ALONE..OPERATIONS).map(name).collect();
    for id in &quiet {
        let query = format!(
            "subscription($after: Cursor) {{ events(channel: {}, after: $after) {{ data }} }}",
            json!(id)
        );
        client.start(id, &json!({"query": query, "variables": {"after": head}})).await;
    }
    node.until_listeners("quiet.999", 1).await;
    for id in &quiet {
        node.publish(id, &["1".to_owned()]).await;
    }
    let seen = until_all(&mut client, &quiet).await;
    let busy = |range: std::ops::Range<usize>| {
        range.map(|n| seen.get(&format!("busy.{n}")).copied().unwrap_or_default()).collect::<Vec<_>>()
    };
    let left = busy(0..SHARED + ALONE).iter().filter(|seen| **seen < BACKLOG).count();
    assert!(left > 0, "nobody had anything left to wait for");
    // Those that are busy are fair among themselves too.
    for kind in [busy(0..SHARED), busy(SHARED..SHARED + ALONE)] {
        let (most, least) = (kind.iter().max().copied(), kind.iter().min().copied());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least < 100), "{kind:?}");
    }
    // All of it comes in the end.
    let mut rest = (SHARED + ALONE) * BACKLOG - busy(0..SHARED + ALONE).iter().sum::<usize>();
    while rest > 0 {
        rest -= usize::from(client.event().await.0.starts_with("busy."));
    }
}
