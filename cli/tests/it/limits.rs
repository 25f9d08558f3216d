//! Rate limits over several processes: what two nodes let through together, and that RabbitMQ is slowed and loses nothing.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clients::run;
use crate::event::assert_complete;
use crate::node::Node;
use crate::place::{Place, Tenant};
use crate::program::eventually;

/// A place of history that costs a node little.
const PAGE: &str = "/v1/channels/nothing/events?first=1";
/// The rate of all limits here, a second.
const RATE: u64 = 100;
/// For how long two nodes are flooded.
const FLOOD: Duration = Duration::from_secs(10);
/// How many ask each node at a time.
const ASKING: usize = 4;
/// How many messages are published over a limit.
const MESSAGES: u64 = 500;

/// Adds the figures to the file that is asked for, and to the test's output.
#[expect(clippy::print_stdout, reason = "a test speaks to whoever runs it with `--no-capture`")]
fn report(figures: &Value) {
    println!("{figures}");
    if let Some(file) = std::env::var_os("NUNCIO_TEST_FIGURES") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the file of figures");
        writeln!(file, "{figures}").expect("the file of figures can be written to");
    }
}

async fn make_limit(node: &Node, tenant: &Tenant, scope: &str, action: &str) -> Value {
    let body = json!({ "scope": scope, "action": action, "limit": RATE, "periodSeconds": 1 });
    node.api.admin(Method::POST, &format!("/projects/{}/rate-limits", tenant.name), &body).await
}

/// Whether a request of the tenant is counted at this node.
async fn is_limited(node: &Node, tenant: &Tenant) -> bool {
    let answer = node.api.request(Method::GET, PAGE, tenant).send().await;
    answer.is_ok_and(|answer| answer.headers().contains_key("ratelimit"))
}

/// Asks without a pause until the end; how many requests were admitted and how many refused.
async fn flood(node: &Node, tenant: &Tenant, until: Instant) -> (u64, u64) {
    let (mut admitted, mut refused) = (0, 0);
    while Instant::now() < until {
        let answer = node.api.request(Method::GET, PAGE, tenant).send().await.expect("an answer");
        match answer.status() {
            StatusCode::OK => admitted += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                refused += 1;
                // Whoever does not wait at all measures the machine.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            other => panic!("{other}"),
        }
    }
    (admitted, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_together_keep_a_limit_within_a_tenth() {
    let place = Place::new().await;
    let (first, second, _worker) =
        tokio::join!(place.start("api"), place.start("api"), place.start("worker"));
    let tenant = place.make_project(&first, "shop").await;
    eventually("the project to be known", async || {
        let answer = second.api.request(Method::GET, PAGE, &tenant).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;

    let made = Instant::now();
    let limit = make_limit(&first, &tenant, "key", "request").await;
    assert!(is_limited(&first, &tenant).await, "where it was made it is in force at once");
    eventually("the limit to be in force", async || is_limited(&second, &tenant).await).await;
    let in_force = made.elapsed();

    let until = Instant::now() + FLOOD;
    let all = async |node: &Node| {
        let floods = (0..ASKING).map(|_| flood(node, &tenant, until));
        let counts = join_all(floods).await;
        counts.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let (one, two) = tokio::join!(all(&first), all(&second));
    let (admitted, allowed) = (one.0 + two.0, RATE * FLOOD.as_secs());

    let changed = Instant::now();
    let path = format!("/projects/shop/rate-limits/{}", limit["id"].as_str().expect("an id"));
    first.api.admin(Method::DELETE, &path, &Value::Null).await;
    eventually("the limit to be gone", async || !is_limited(&second, &tenant).await).await;
    let gone = changed.elapsed();

    report(&json!({
        "test": "limits over two nodes", "allowed": allowed, "admitted": [one.0, two.0], "refused": [one.1, two.1],
        "ratio": admitted as f64 / allowed as f64,
        "inForceMs": in_force.as_millis(), "goneMs": gone.as_millis(),
    }));
    assert!(one.1 > 100 && two.1 > 100, "it was no flood: {one:?} {two:?}");
    assert!(admitted * 10 <= allowed * 11, "{admitted} of {allowed}");
    assert!(admitted * 10 >= allowed * 9, "{admitted} of {allowed}");
    assert!(in_force < Duration::from_secs(2) && gone < Duration::from_secs(2), "{in_force:?} {gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_from_rabbitmq_over_a_limit_waits_and_holds_up_nobody_else() {
    let place = Place::new().await;
    let (api, worker) = tokio::join!(place.start("api"), place.start("worker"));
    let slow = place.make_project(&api, "slow").await;
    let free = place.make_project(&api, "free").await;
    make_limit(&api, &slow, "project", "publish").await;
    let stored = async |tenant: &Tenant| api.api.history(tenant, "#", None).await;
    // It is made after the limit, so that the worker has heard of both when it has this one's exchange.
    place.make_project(&api, "last").await;

    let start = Instant::now();
    let publish = |tenant| run("publish_pika.py", &place.publisher(tenant, "orders.eu", MESSAGES)).succeed();
    tokio::join!(publish(&slow), publish(&free));
    eventually("the free project's messages", async || stored(&free).await.len() as u64 >= MESSAGES).await;
    let (free_took, left) = (start.elapsed(), MESSAGES - stored(&slow).await.len() as u64);
    eventually("the slow project's messages", async || stored(&slow).await.len() as u64 >= MESSAGES).await;
    let slow_took = start.elapsed();

    let metric = worker.metric("nuncio_ingest_sessions_lost_total").await;
    report(&json!({
        "test": "slowed ingest", "messages": MESSAGES, "rate": RATE, "slowMs": slow_took.as_millis(),
        "freeMs": free_took.as_millis(), "slowLeftThen": left, "sessionsLost": metric,
    }));
    assert_complete(&stored(&slow).await, "orders.eu", MESSAGES);
    assert_complete(&stored(&free).await, "orders.eu", MESSAGES);
    // A burst goes at once, and the rest at the rate.
    let least = Duration::from_secs_f64((MESSAGES - RATE / 2) as f64 / RATE as f64);
    assert!(slow_took >= least, "{slow_took:?} is less than {least:?}");
    assert!(slow_took < least * 2 + Duration::from_secs(5), "{slow_took:?} is much more than {least:?}");
    assert!(left > 0, "the free project was held up: {free_took:?}");
    assert_eq!(metric, 0.0, "no session was taken for a hanging one");
    assert!(worker.metric("nuncio_ingest_slowed_total").await > 0.0);
}
