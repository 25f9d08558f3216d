//! `GET /v1/channels/{channel}/events`: pages of what is stored, and the long poll.

mod scan;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use nuncio_model::cursor::CursorError;
use nuncio_model::limits::DEFAULT_PAGE;
use nuncio_model::{Action, Channel, Cursor, Event, Identity, Pattern, ProjectId, cloudevents};
use nuncio_store::Store;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::auth::{self, Caller, StreamCaller, Watch};
use crate::connections::{Client, Kind, Open};
use crate::error::ApiError;
use crate::feed::{Place, Start};
use crate::filter::Filter;
use crate::limits::Visitor;
use crate::openapi::{EventsPage, Problem};
use crate::query::Reading;
use crate::sse;
use scan::{Sieve, scan_back, scan_on};

/// Read the stored events of a channel or pattern.
///
/// A page, oldest first: the first after `after` or `since` (or of all there is), or with `before` or `last` the
/// newest. `cursor` is where to go on in the same direction, while `hasMore`; with a `filter` a page may be empty and
/// still move it on. With `wait` an empty page is held back until there is something new. With
/// `Accept: text/event-stream` this is a stream, as `/v1/stream`.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/events", tag = "events",
    params(
        ("channel" = String, Path, description = "A channel or pattern"),
        ("after" = Option<String>, Query, description = "A cursor: strictly after it"),
        ("before" = Option<String>, Query, description = "A cursor: strictly before its event"),
        ("since" = Option<String>, Query, description = "A time (RFC 3339): from it on"),
        ("first" = Option<u32>, Query, description = "How many from the oldest, at most 1000"),
        ("last" = Option<u32>, Query, description = "How many of the newest, at most 1000"),
        ("filter" = Option<String>, Query, description = "A CEL expression: only events for which it is true"),
        ("wait" = Option<u32>, Query, description = "For how many seconds to wait for something new, at most 60"),
    ),
    responses(
        (status = 200, description = "The page", body = EventsPage),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn of_channel(
    State(app): State<Arc<App>>,
    Path(channel): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    if sse::is_wanted(&parts.headers) {
        let StreamCaller(identity) = StreamCaller::from_request_parts(&mut parts, &app).await?;
        let (pattern, reading) =
            (Pattern::parse(&channel)?, Reading::parse(parts.uri.query(), &app.filters)?);
        return sse::open(&app, &identity, &parts, reading, vec![pattern]);
    }
    let Caller(identity) = Caller::from_request_parts(&mut parts, &app).await?;
    Visitor::of(&parts.extensions).request(&app, &identity)?;
    let pattern = Pattern::parse(&channel)?;
    auth::require_pattern(&identity, Action::Subscribe, &pattern)?;
    let mut reading = Reading::parse(parts.uri.query(), &app.filters)?;
    let filter = reading.filter.take();
    let wanted = Wanted::parse(reading)?;
    let tally = app.meter.of(identity.project);
    let client = Client::of(&parts.headers, &parts.extensions);
    let page = wanted.read(&app, (identity, client), vec![pattern].into(), filter.as_ref()).await?;
    tally.delivered(page.events.len() as u64);
    Ok(([(header::CONTENT_TYPE, "application/json")], page.to_json()).into_response())
}

/// A page of a channel for an administrator, as the query says.
///
/// # Errors
/// As those of pages.
pub(crate) async fn look_into(
    app: &App,
    project: ProjectId,
    channel: &Channel,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    let store = &app.store;
    let mut reading = Reading::parse(query, &app.filters)?;
    if reading.wait.is_some() {
        return Err(
            ApiError::invalid("the query is not good").field("wait", "does not go with the admin API")
        );
    }
    let (filter, patterns) = (reading.filter.take(), [Pattern::parse(channel.as_str())?]);
    let page = match Wanted::parse(reading)? {
        Wanted::Back { before, last } => {
            page_back(store, project, &patterns, before.as_deref(), last, filter.as_ref()).await?
        }
        Wanted::Forward { start, first, .. } => {
            page_on(store, project, &patterns, start.as_ref(), first, filter.as_ref()).await?
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], page.to_json()).into_response())
}

/// A page of the log.
#[derive(Debug)]
pub struct HistoryPage {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// Where to go on, in the direction that was read in.
    pub cursor: Cursor,
    /// Whether there is more in that direction.
    pub has_more: bool,
}

impl HistoryPage {
    fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 512 * self.events.len());
        out.extend_from_slice(br#"{"events":["#);
        for (i, event) in self.events.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            cloudevents::write(event, &mut out);
        }
        out.extend_from_slice(
            format!(r#"],"cursor":"{}","hasMore":{}}}"#, self.cursor, self.has_more).as_bytes(),
        );
        out
    }
}

/// The page that is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// From a place on, or from the oldest, waiting so long where there is nothing.
    Forward { start: Option<Start>, first: usize, wait: Option<Duration> },
    /// The newest before a cursor, or of all.
    Back { before: Option<String>, last: usize },
}

impl Wanted {
    fn parse(reading: Reading) -> Result<Self, ApiError> {
        let Reading { after, before, since, first, last, wait, .. } = reading;
        let forward = after.is_some() || since.is_some() || wait.is_some();
        if first == Some(0) || last == Some(0) {
            return Err(ApiError::invalid("first and last must be at least 1"));
        }
        if before.is_some() || last.is_some() {
            if forward || (first.is_some() && last.is_some()) {
                let detail =
                    "before and last read back; after, since and wait read on: only one way at a time";
                return Err(ApiError::invalid(detail));
            }
            return Ok(Self::Back { before, last: last.or(first).unwrap_or(DEFAULT_PAGE) });
        }
        // Without a place a page begins with the oldest, and a long poll waits for what is new.
        let start = if forward { Some(Start::parse(after, since, None)?) } else { None };
        Ok(Self::Forward { start, first: first.unwrap_or(DEFAULT_PAGE), wait: wait.map(Duration::from_secs) })
    }

    async fn read(
        &self,
        app: &App,
        (identity, client): (Arc<Identity>, Client),
        patterns: Arc<[Pattern]>,
        filter: Option<&Filter>,
    ) -> Result<HistoryPage, ApiError> {
        let project = identity.project;
        match self {
            Self::Back { before, last } => {
                page_back(&app.store, project, &patterns, before.as_deref(), *last, filter).await
            }
            Self::Forward { start, first, wait } => {
                let page = page_on(&app.store, project, &patterns, start.as_ref(), *first, filter).await?;
                match wait {
                    // A filter that has not looked through all there is goes on with the next request, not here.
                    Some(wait) if page.events.is_empty() && !(filter.is_some() && page.has_more) => {
                        let open = app.connections.open(Kind::LongPoll, client, &identity, &Arc::default());
                        let watch = Watch::over(app, identity, patterns.clone());
                        let sieve = Sieve::new(filter, *first);
                        poll(app, (watch, &open), patterns, page, sieve, *wait).await
                    }
                    _ => Ok(page),
                }
            }
        }
    }
}

/// The first events after a place.
///
/// # Errors
/// `CURSOR_INVALID` or `CURSOR_EXPIRED` with `oldest` and `newest`; `UNAVAILABLE`.
pub async fn page_on(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    start: Option<&Start>,
    first: usize,
    filter: Option<&Filter>,
) -> Result<HistoryPage, ApiError> {
    let page = match start {
        None => scan_on(store, project, patterns, 0, Sieve::new(filter, first)).await?,
        Some(start @ Start::After(text)) => {
            let position = Cursor::parse(text, project).map_or(0, |cursor| cursor.position);
            let page = scan_on(store, project, patterns, position, Sieve::new(filter, first)).await?;
            // Asked after the page was read, so that nothing is removed between the two unnoticed.
            start.resolve(store, project, patterns).await?;
            page
        }
        Some(start) => {
            let place = start.resolve(store, project, patterns).await?;
            scan_on(store, project, patterns, place.position, Sieve::new(filter, first)).await?
        }
    };
    let cursor = Cursor { project, epoch: page.head.epoch, position: page.through };
    Ok(HistoryPage { events: page.events, cursor, has_more: page.has_more })
}

/// The newest events before a cursor's event, or of all.
///
/// # Errors
/// `CURSOR_INVALID`; `UNAVAILABLE`.
pub async fn page_back(
    store: &Store,
    project: ProjectId,
    patterns: &[Pattern],
    before: Option<&str>,
    last: usize,
    filter: Option<&Filter>,
) -> Result<HistoryPage, ApiError> {
    let head = store.head(project).await?;
    let before = match before {
        None => head.position + 1,
        Some(text) => {
            let cursor = Cursor::parse(text, project)?;
            if !head.accepts(&cursor) {
                return Err(CursorError.into());
            }
            cursor.position
        }
    };
    let page = scan_back(store, project, patterns, before, Sieve::new(filter, last)).await?;
    let cursor = Cursor { project, epoch: page.head.epoch, position: page.through };
    Ok(HistoryPage { events: page.events, cursor, has_more: page.has_more })
}

/// Waits for the first events after an empty page; the page comes back empty when nothing came in time.
async fn poll(
    app: &App,
    (mut watch, open): (Watch<'_>, &Open),
    patterns: Arc<[Pattern]>,
    page: HistoryPage,
    mut sieve: Sieve<'_>,
    wait: Duration,
) -> Result<HistoryPage, ApiError> {
    let Cursor { project, epoch, position } = page.cursor;
    let mut reader = app.feeds.subscribe(project, patterns, Place { epoch, position, forgiven: position });
    let until = Instant::now() + wait;
    loop {
        let chunk = tokio::select! {
            biased;
            () = app.drain.cancelled() => break,
            // It comes back, if it likes.
            () = open.ended() => break,
            refused = watch.lapse() => return Err(refused),
            chunk = reader.next(sieve.limit) => chunk?,
            () = tokio::time::sleep_until(until) => break,
        };
        let has_more = chunk.events.len() >= sieve.limit;
        for event in chunk.events {
            sieve.is_full_with(event).await;
        }
        if !sieve.found.is_empty() {
            // The time may be over while it is not known whether this may be read: then it is for the next request.
            let confirmed = app.drain.run_until_cancelled(watch.confirm());
            let Ok(Some(confirmed)) = timeout_at(until, confirmed).await else { return Ok(page) };
            confirmed?;
            return Ok(HistoryPage { events: sieve.found, cursor: chunk.cursor, has_more });
        }
    }
    Ok(HistoryPage { events: Vec::new(), cursor: reader.cursor(), has_more: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filters;

    fn wanted(query: &str) -> Result<Wanted, ApiError> {
        Wanted::parse(Reading::parse(Some(query), &Filters::default())?)
    }

    #[test]
    fn a_page_is_read_in_one_direction() {
        let after = Some(Start::After("x".to_owned()));
        for (query, expected) in [
            ("", Wanted::Forward { start: None, first: 100, wait: None }),
            ("after=x&first=5", Wanted::Forward { start: after, first: 5, wait: None }),
            (
                "wait=3",
                Wanted::Forward { start: Some(Start::Now), first: 100, wait: Some(Duration::from_secs(3)) },
            ),
            ("last=7", Wanted::Back { before: None, last: 7 }),
            ("before=x&first=7", Wanted::Back { before: Some("x".to_owned()), last: 7 }),
        ] {
            assert_eq!(wanted(query).expect(query), expected);
        }
        for bad in [
            "after=x&last=1",
            "after=x&before=y",
            "last=1&first=1",
            "wait=1&last=1",
            "after=x&since=2026-01-31T12:00:00Z",
        ] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
