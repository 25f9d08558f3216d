//! What is revoked at one node ends at all, in time, and disturbs nobody else.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{member, run};
use crate::place::{ADMIN_KEY, Place};
use crate::program::{eventually, within};

/// How many tries there are of each kind.
const TRIES: usize = 25;
/// How many times in a second two events are published.
const PER_SECOND: u64 = 50;
/// What is revoked is not delivered for longer than this.
const LIMIT: Duration = Duration::from_secs(5);
/// Names the file that the figures are added to.
const FILE: &str = "NUNCIO_TEST_FIGURES";

/// A hundred times somebody's credentials are revoked or narrowed at one of two nodes, while they listen at both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_ends_everywhere_within_five_seconds_and_nothing_else_does() {
    let place = Place::new().await;
    let nodes = [place.start("all").await, place.start("api").await];
    let tenant = place.make_project(&nodes[0], "shop").await;
    place.let_pages_in(&nodes, &tenant).await;
    let options = json!({
        "apis": [nodes[0].api.url, nodes[1].api.url], "adminKey": ADMIN_KEY, "project": tenant.name, "key": tenant.key,
        "signing": tenant.signing(), "tries": TRIES, "perSecond": PER_SECOND,
    });
    let clients = run("revocation.mjs", &options).succeed().await;
    let lines: Vec<Value> =
        clients.out.all().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();

    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for attempt in lines.iter().filter(|line| line.get("kind").is_some()) {
        let kind = attempt["kind"].as_str().expect("a kind");
        let mut ends: Vec<_> = attempt["ends"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|end| end.as_str().expect("a text"))
            .collect();
        ends.sort_unstable();
        let expected = match kind {
            "keyRevoked" => ["4403 KEY_REVOKED: connect again with another API key", "KEY_REVOKED"],
            "keyNarrowed" => ["FORBIDDEN", "RIGHT_REVOKED"],
            "jti" => ["4403 TOKEN_REVOKED: connect again with a new token", "TOKEN_REVOKED"],
            _ => ["4403 SUBJECT_REVOKED: connect again with a new token", "SUBJECT_REVOKED"],
        };
        assert_eq!(ends, expected, "{attempt}");
        times.entry(kind).or_default().push(attempt["milliseconds"].as_f64().expect("a number"));
    }
    let bystanders: Vec<_> = lines.iter().filter(|line| line.get("bystander").is_some()).collect();
    assert!(bystanders.len() >= 10 + 2 * TRIES, "{bystanders:?}");
    for bystander in bystanders {
        let undisturbed = (&bystander["missing"], &bystander["twice"], &bystander["end"]);
        assert_eq!(undisturbed, (&json!(0), &json!(0), &Value::Null), "{bystander}");
    }
    let load = lines.iter().find(|line| line.get("published").is_some()).expect("a last line");
    assert!(load["perSecond"].as_f64().is_some_and(|rate| rate >= 50.0), "{load}");
    report(&mut times, load);
    assert_eq!(times.values().map(Vec::len).collect::<Vec<_>>(), [TRIES; 4]);
    let longest = times.values().flatten().copied().fold(0.0, f64::max);
    assert!(longest <= LIMIT.as_secs_f64() * 1_000.0, "{longest} ms");
}

/// Tells the figures: for each kind the middle and the longest time from the call to the last delivery at any node.
#[expect(clippy::print_stdout, reason = "a test speaks to whoever runs it with `--no-capture`")]
fn report(times: &mut BTreeMap<&str, Vec<f64>>, load: &Value) {
    for (kind, times) in times {
        times.sort_by(f64::total_cmp);
        let (middle, longest) = (times[times.len() / 2], times[times.len() - 1]);
        let line = json!({
            "revocation": kind, "tries": times.len(), "medianMs": middle.round(), "maxMs": longest.round(),
            "publishedPerSecond": load["perSecond"],
        });
        println!("{line}");
        if let Some(file) = std::env::var_os(FILE) {
            let file = OpenOptions::new().create(true).append(true).open(file);
            writeln!(file.expect("the file of figures"), "{line}")
                .expect("the file of figures can be written to");
        }
    }
}

/// An unmodified client that sends `refreshToken` in time keeps its connection; one that does not is closed when its
/// token expires, and comes back with a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_keeps_its_connection_by_refreshing_its_token() {
    let place = Place::new().await;
    let nodes = [place.start("all").await];
    let tenant = place.make_project(&nodes[0], "shop").await;
    place.let_pages_in(&nodes, &tenant).await;
    let mut signing = tenant.signing();
    signing["seconds"] = json!(4);
    let start = |refresh: bool| {
        let options =
            json!({"api": nodes[0].api.url, "signing": signing, "channel": "load.a", "refresh": refresh});
        run("refresh_graphql_ws.mjs", &options)
    };
    let (mut keeps, mut leaves) = (start(true), start(false));
    for client in [&mut keeps, &mut leaves] {
        client.out.find("a connection", member("connected")).await;
    }
    let closed = within("the other to be closed", leaves.out.find("its end", member("closed"))).await;
    assert_eq!(closed, 4403, "{}", leaves.out.text());
    assert!(leaves.out.text().contains("TOKEN_EXPIRED"), "{}", leaves.out.text());
    // Well past the end of its first token.
    eventually("some more refreshes", async || keeps.out.text().matches("refreshed").count() >= 4).await;
    nodes[0].api.publish(&tenant, "load.a", 1..=1).await;
    let event = keeps.out.find("an event", member("event")).await;
    assert_eq!(event, json!({"n": 1}));
    let text = keeps.out.text();
    assert!(!text.contains("closed") && !text.contains("error"), "{text}");
    eventually("the other to be back", async || leaves.out.text().matches("connected").count() >= 2).await;
}
