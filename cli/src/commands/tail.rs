//! `nuncio tail`: prints events as they come, one CloudEvent a line, over SSE, and goes on after a break.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use nuncio_model::Pattern;
use reqwest::header::ACCEPT;
use reqwest::{Client, Response};

use super::client::{self, Target};
use crate::exit::Failure;

/// The server sends something at least every 15 seconds; a connection that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(45);

/// How long to wait before a broken stream is opened again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Arguments {
    /// A channel, or a pattern like 'orders.#'
    pattern: String,
    /// Begin after this cursor.
    #[arg(long, conflicts_with = "last")]
    after: Option<String>,
    /// Begin this many events back.
    #[arg(long)]
    last: Option<u32>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let pattern = Pattern::parse(&arguments.pattern).map_err(|error| Failure::Config(error.to_string()))?;
    let (url, key) = arguments.target.find()?;
    let client = Client::builder().read_timeout(SILENCE).build().map_err(Failure::other)?;
    let mut after = arguments.after;
    let mut last = arguments.last;
    loop {
        let mut request = client
            .get(format!("{url}/v1/stream"))
            .query(&[("channel", pattern.as_str())])
            .bearer_auth(&key)
            .header(ACCEPT, "text/event-stream");
        if let Some(cursor) = &after {
            request = request.query(&[("after", cursor)]);
        } else if let Some(n) = last {
            request = request.query(&[("last", n)]);
        }
        match client::check(&url, request.send().await).await {
            Ok(stream) => print_all(stream, &mut after).await?,
            // Only a server that was there before may be away for a while.
            Err(Failure::Unreachable(_)) if after.is_some() => {}
            Err(failure) => return Err(failure),
        }
        last = last.filter(|_| after.is_none());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints events until the stream breaks; `after` moves on with them.
async fn print_all(stream: Response, after: &mut Option<String>) -> Result<(), Failure> {
    let mut events = stream.bytes_stream().eventsource();
    while let Some(Ok(event)) = events.next().await {
        match event.event.as_str() {
            "message" => print_line(&event.data)?,
            "nuncio.gap" => tell_gap(&event.data),
            _ => {}
        }
        if !event.id.is_empty() {
            *after = Some(event.id);
        }
    }
    Ok(())
}

/// A closed pipe (`nuncio tail … | head`) is an ordinary end.
fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => outcome.map_err(Failure::other),
    }
}

#[expect(clippy::print_stderr, reason = "events go to standard output, what is missing from them does not")]
fn tell_gap(data: &str) {
    eprintln!("nuncio: some events are missing here: {data}");
}
