//! Server-sent events: `GET /v1/stream`, and `GET /v1/channels/{channel}/events` for who accepts an event stream.
//!
//! Once a stream is open nothing about a cursor ends it: an EventSource that meets a 4xx never comes back.

mod form;
mod frame;
mod session;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use nuncio_model::{Action, Identity, Pattern};
use tokio_util::task::TaskTracker;

use crate::accept::Accept;
use crate::app::App;
use crate::auth::{self, StreamCaller};
use crate::connections::Client;
use crate::error::ApiError;
use crate::feed::Start;
use crate::limits::Visitor;
use crate::live::{self, Exit};
use crate::openapi::Problem;
use crate::query::Reading;
use form::Form;
use session::Session;

/// The media type of streams.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// How long an EventSource should wait where there was no room for its stream.
const OVERLOADED_PAUSE: Duration = Duration::from_secs(5);
/// The header by which an EventSource says how far it came.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Stream the events of channels and patterns.
///
/// Stored events after `after` (or the header `Last-Event-ID`, which wins), then live ones, in order, each once. The
/// first event is `nuncio.ready`; a hole is told by `nuncio.gap`; `nuncio.goaway` asks to connect again.
#[utoipa::path(
    get, path = "/v1/stream", tag = "events",
    params(
        ("channel" = Vec<String>, Query, description = "A channel or pattern; up to 100"),
        ("after" = Option<String>, Query, description = "A cursor: strictly after it"),
        ("since" = Option<String>, Query, description = "A time (RFC 3339)"),
        ("last" = Option<u32>, Query, description = "Start so many events back"),
        ("filter" = Option<String>, Query, description = "A CEL expression: only events for which it is true"),
        ("events" = Option<String>, Query, description = "`typed`: each event is named by its type"),
        ("access_token" = Option<String>, Query, description = "A token, where no header can be set"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn of_channels(
    State(app): State<Arc<App>>,
    StreamCaller(identity): StreamCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let reading = Reading::parse(parts.uri.query(), &app.filters)?;
    let patterns = reading.patterns()?;
    open(&app, &identity, &parts, reading, patterns)
}

/// Opens the stream, if all of it may be read.
///
/// # Errors
/// `FORBIDDEN`, or `INVALID_REQUEST` where the query names two places to begin at.
pub(crate) fn open(
    app: &Arc<App>,
    identity: &Arc<Identity>,
    request: &Parts,
    mut reading: Reading,
    patterns: Vec<Pattern>,
) -> Result<Response, ApiError> {
    let visitor = Visitor::of(&request.extensions);
    visitor.request(app, identity)?;
    reading.check_for_stream()?;
    for pattern in &patterns {
        auth::require_pattern(identity, Action::Subscribe, pattern)?;
    }
    let exit = Exit::of(&request.extensions, request.version)?;
    let (typed, framing) = (reading.typed, exit.framing);
    let form = Form { typed, framing, filter: reading.filter.take() };
    let start = start(&request.headers, reading)?;
    visitor.connect(app, identity)?;
    visitor.subscribe(app, identity, &patterns)?;
    let (app, identity, patterns) = (app.clone(), identity.clone(), patterns.into());
    let hello = frame::hello(app.settings.reconnect);
    let client = Client::of(&request.headers, &request.extensions);
    let session = Session { app, identity, patterns, form, start, client };
    let takeover =
        Box::new(|socket, seat, tasks: &TaskTracker| drop(tasks.spawn(session.serve(socket, seat))));
    Ok(live::open(exit, EVENT_STREAM, hello, takeover))
}

/// The answer where there is no room for a stream: one that ends at once. An EventSource that meets a 503 never comes
/// back; this one it opens again, after a while.
pub(crate) fn turn_away() -> Response {
    let mut body = Vec::new();
    frame::goaway(&mut body, "OVERLOADED", OVERLOADED_PAUSE);
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (header::CONNECTION, HeaderValue::from_static("close")),
    ];
    (fields, body).into_response()
}

/// Where the stream begins. A client that was cut sends its first query again, and how far it came in the header.
fn start(headers: &HeaderMap, reading: Reading) -> Result<Start, ApiError> {
    match headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) {
        // What is not text is no cursor: that is told inside the stream, like every other bad cursor.
        Some(value) => Ok(Start::After(value.to_str().unwrap_or("?").to_owned())),
        None => Start::parse(reading.after, reading.since, reading.last.map(|n| n as i64)),
    }
}

/// Whether the client wants a stream rather than a page.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    Accept::of(headers).names(EVENT_STREAM)
}
