//! RabbitMQ: messages that no publisher in its right mind sends.

use reqwest::Method;
use serde_json::Value;

use super::Arena;
use crate::clients::{member, run};
use crate::program::eventually;

const CHANNEL: &str = "orders.eu";

/// All of history as it is written: some of its numbers are too large for our own reader.
async fn history(arena: &Arena) -> String {
    let path = format!("/v1/channels/{CHANNEL}/events?first=1000");
    let answer = arena.node.api.request(Method::GET, &path, &arena.tenant).send().await.expect("an answer");
    answer.text().await.expect("text")
}

/// All dead letters, oldest first, page by page.
async fn dead_letters(arena: &Arena) -> Vec<Value> {
    let (mut letters, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/projects/abused/dead-letters?limit=100{token}");
        let page = arena.node.api.admin(Method::GET, &path, &Value::Null).await;
        letters.extend(page["items"].as_array().expect("a list").clone());
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => return letters,
        }
    }
}

/// Each is kept with its reason or stored as it was written; none holds up what comes behind it, and none reaches another
/// project or ends the process. Headers nested thousands deep once did that: the AMQP library read them by recursion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_stored_as_it_was_or_kept_with_a_reason() {
    let mut arena = Arena::start().await;
    arena.memory.allow(256, 128);
    let options = arena.place.publisher(&arena.tenant, CHANNEL, 0);
    let publisher = run("publish_hostile.py", &options).succeed().await;
    let cases: Vec<Value> =
        publisher.out.all().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let wanted: Vec<&Value> = cases.iter().filter(|case| case["reason"].is_string()).collect();
    assert!(wanted.len() > 50, "{wanted:?}");
    eventually("the last message", async || history(&arena).await.contains("\"id\":\"the-last\"")).await;

    let letters = dead_letters(&arena).await;
    for (case, letter) in wanted.iter().zip(&letters) {
        assert_eq!(letter["reason"], case["reason"], "{case}: {letter}");
        assert!(letter["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{letter}");
        let path = format!("/projects/abused/dead-letters/{}", letter["id"].as_str().expect("an id"));
        let whole = arena.node.api.admin(Method::GET, &path, &Value::Null).await;
        assert!(whole["body"].is_string() || whole["bodyBase64"].is_string(), "{case}");
        arena.leaks.assert_clean(&whole.to_string());
    }
    assert_eq!(letters.len(), wanted.len(), "{}", letters.last().unwrap_or(&Value::Null));
    assert_stored(&history(&arena).await, &cases);
    arena.still_well("hostile messages").await;
}

/// Looks for each event by its id, and for the piece of it that must be there.
fn assert_stored(history: &str, cases: &[Value]) {
    let events: Vec<&str> = history.split("{\"specversion\":").collect();
    let mut count = 0;
    for line in cases.iter().map(Value::to_string) {
        let (Some(case), Some(piece)) = (member("case")(&line), member("stored")(&line)) else { continue };
        let (case, piece) = (case.as_str().expect("text"), piece.as_str().expect("text"));
        let id = format!("\"id\":\"{case}\"");
        let found = events.iter().any(|event| event.contains(piece) && event.contains(&id));
        assert!(found, "{case}: no {piece:.200} in {history:.20000}");
        count += 1;
    }
    // Two more came with headers that are deep, but not too deep.
    assert_eq!(events.len() - 1, count + 2);
}
