//! Somebody else's stream, with a trickle of events that must arrive, all of them, in order and soon.

use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{Api, json_of};
use crate::place::Tenant;
use crate::program::within;

/// How often an event is published.
const EVERY: Duration = Duration::from_millis(50);
/// The longest that the stream may be silent while another project is abused.
const SILENCE: Duration = Duration::from_secs(5);
const CHANNEL: &str = "/v1/channels/quiet.street/events";

/// A live subscription of a project that nobody abuses.
pub(super) struct Bystander {
    arrived: watch::Receiver<Arrived>,
    confirmed: watch::Receiver<u64>,
    /// Ends with this value.
    _tasks: JoinSet<()>,
}

/// What the stream has given so far.
#[derive(Debug)]
struct Arrived {
    /// Whether the stream has a place: what is published from now on belongs to it.
    ready: bool,
    newest: u64,
    at: Instant,
    /// The longest time between two events so far.
    silence: Duration,
    fault: Option<String>,
}

impl Bystander {
    /// Opens the stream and begins to publish.
    pub(super) async fn start(api: &Api, tenant: Tenant) -> Self {
        let api = Api::new(api.url.clone(), "");
        let none =
            Arrived { ready: false, newest: 0, at: Instant::now(), silence: Duration::ZERO, fault: None };
        let ((arriving, mut arrived), (confirming, confirmed)) = (watch::channel(none), watch::channel(0));
        let stream = api.request(Method::GET, CHANNEL, &tenant).header(ACCEPT, "text/event-stream");
        let stream = stream.send().await.and_then(reqwest::Response::error_for_status).expect("a stream");
        let mut tasks = JoinSet::new();
        tasks.spawn(read(stream, arriving));
        let ready = within("the bystander's place", arrived.wait_for(|so_far| so_far.ready)).await;
        drop(ready.expect("the reader lives"));
        tasks.spawn(async move { trickle(&api, &tenant, &confirming).await });
        let mut bystander = Self { arrived, confirmed, _tasks: tasks };
        bystander.went_on("the start").await;
        bystander
    }

    /// Waits until an event that is published from now on has arrived, and checks that all before it have, in time.
    pub(super) async fn went_on(&mut self, after: &str) {
        let next = *self.confirmed.borrow() + 1;
        let what = format!("the bystander's event {next} after {after}");
        let reached = |so_far: &Arrived| so_far.newest >= next || so_far.fault.is_some();
        let waited = within(&what, self.arrived.wait_for(reached)).await;
        let so_far = waited.unwrap_or_else(|_| panic!("the bystander's reader ended after {after}"));
        assert_eq!(so_far.fault, None, "after {after}");
        assert!(
            so_far.silence <= SILENCE,
            "the bystander heard nothing for {:?} with {after}",
            so_far.silence
        );
        assert!(self.confirmed.has_changed().is_ok(), "the bystander could not publish with {after}");
    }
}

/// Publishes one event after the other, and ends at the first that is not taken.
async fn trickle(api: &Api, tenant: &Tenant, confirmed: &watch::Sender<u64>) {
    let mut pause = tokio::time::interval(EVERY);
    for n in 1.. {
        pause.tick().await;
        let event = json!({ "id": n.to_string(), "data": { "n": n } });
        json_of(api.request(Method::POST, CHANNEL, tenant).json(&event)).await;
        confirmed.send_replace(n);
    }
}

async fn read(stream: reqwest::Response, arrived: watch::Sender<Arrived>) {
    let mut events = stream.bytes_stream().eventsource();
    while let Some(event) = events.next().await {
        let told = match event {
            Ok(event) if event.event == "message" => number(&event.data).ok_or(event.data),
            Ok(event) if event.event == "nuncio.ready" => {
                arrived.send_modify(|so_far| so_far.ready = true);
                continue;
            }
            Ok(event) => Err(format!("{}: {}", event.event, event.data)),
            Err(error) => Err(error.to_string()),
        };
        arrived.send_modify(|so_far| so_far.take(told));
    }
    arrived.send_modify(|so_far| so_far.take(Err("the end of the stream".to_owned())));
}

fn number(data: &str) -> Option<u64> {
    serde_json::from_str::<Value>(data).ok()?["data"]["n"].as_u64()
}

impl Arrived {
    fn take(&mut self, told: Result<u64, String>) {
        let (now, next) = (Instant::now(), self.newest + 1);
        match told {
            Ok(n) if n == next => {
                // Until the first event the stream was only being opened.
                let silence = if n == 1 { Duration::ZERO } else { now - self.at };
                (self.newest, self.at, self.silence) = (n, now, self.silence.max(silence));
            }
            Ok(n) => drop(self.fault.get_or_insert(format!("event {n} instead of {next}"))),
            Err(fault) => drop(self.fault.get_or_insert(fault)),
        }
    }
}
