//! Rate limits, where requests meet them: who is counted, what they are told, and the guard before all that.
//!
//! A [`Visitor`] goes with a request or connection to wherever something is counted. How it stands with the nearest limit is
//! noted on the way, and written into the fields `RateLimit-Policy` and `RateLimit` of the answer
//! (draft-ietf-httpapi-ratelimit-headers, 11).

pub(crate) mod guard;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use nuncio_model::rights::Proof;
use nuncio_model::{Channel, Code, Identity, Limited, Pattern};
use nuncio_store::{Limiter, Spender, Spending, Standing, Verdict};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::address::ClientAddress;
use crate::app::App;
use crate::error::ApiError;

/// The limits that concern an answer.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How it stands with them.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// How long a WebSocket is held back for which there is no room.
const MAX_HOLD: Duration = Duration::from_secs(10);
/// The shortest time that it waits before it looks again.
const MIN_WAIT: Duration = Duration::from_millis(5);

/// What the limits of an api node are counted by.
#[derive(Debug, Default)]
pub struct Limits {
    limiter: Limiter,
    /// The number of the last connection.
    connections: AtomicU64,
}

impl Limits {
    /// Limits that are counted together with all else that this limiter counts.
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter, connections: AtomicU64::default() }
    }
}

/// Where a request comes from, and what it has met of limits so far.
#[derive(Clone, Debug)]
pub struct Visitor {
    address: IpAddr,
    connection: Option<u64>,
    noted: Option<Noted>,
}

/// What the answer tells of limits.
#[derive(Clone, Debug, Default)]
struct Noted(Arc<Mutex<Option<Note>>>);

/// How it stands with one limit.
#[derive(Debug)]
struct Note {
    standing: Standing,
    /// How long to wait, where something was refused.
    refused: Option<Duration>,
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

impl Visitor {
    /// Whoever sent the request.
    pub fn of(extensions: &Extensions) -> Self {
        let noted = extensions.get::<Noted>().cloned();
        Self { address: ClientAddress::of(extensions), connection: None, noted }
    }

    /// The same on a connection of its own, which has no answer that anything could be noted in.
    pub fn connected(&self, app: &App) -> Self {
        let number = app.limits.connections.fetch_add(1, Ordering::Relaxed);
        Self { address: self.address, connection: Some(number), noted: None }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn request(&self, app: &App, identity: &Identity) -> Result<(), ApiError> {
        self.spend(app, identity, &Spending::one(Limited::Request))
    }

    /// Counts a stream that is opened.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn connect(&self, app: &App, identity: &Identity) -> Result<(), ApiError> {
        self.spend(app, identity, &Spending::one(Limited::Connect))
    }

    /// Counts a connection once there is room for it, and waits for that, but not for long.
    ///
    /// # Errors
    /// `RATE_LIMITED` where there was none in time.
    pub async fn connect_in_time(&self, app: &App, identity: &Identity) -> Result<(), ApiError> {
        let until = Instant::now() + MAX_HOLD;
        loop {
            let Err(error) = self.connect(app, identity) else { return Ok(()) };
            if Instant::now() >= until {
                return Err(error);
            }
            let wait = error.retry_after().unwrap_or(MAX_HOLD).max(MIN_WAIT);
            tokio::time::sleep_until(until.min(Instant::now() + wait)).await;
        }
    }

    /// Counts a subscription to these patterns; in each of the namespaces that they name.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn subscribe(&self, app: &App, identity: &Identity, patterns: &[Pattern]) -> Result<(), ApiError> {
        let names: BTreeMap<&str, u64> = patterns.iter().map(|pattern| (namespace_of(pattern), 1)).collect();
        let names: Vec<_> = names.into_iter().collect();
        self.spend(app, identity, &Spending::many(Limited::Subscribe, 1, &names))
    }

    /// Counts events that are to be published to these channels.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn publish<'a>(
        &self,
        app: &App,
        identity: &Identity,
        channels: impl Iterator<Item = &'a Channel>,
    ) -> Result<(), ApiError> {
        self.send(app, identity, Limited::Publish, channels)
    }

    /// Counts signals that are to be sent to these channels.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn signal<'a>(
        &self,
        app: &App,
        identity: &Identity,
        channels: impl Iterator<Item = &'a Channel>,
    ) -> Result<(), ApiError> {
        self.send(app, identity, Limited::Signal, channels)
    }

    fn send<'a>(
        &self,
        app: &App,
        identity: &Identity,
        action: Limited,
        channels: impl Iterator<Item = &'a Channel>,
    ) -> Result<(), ApiError> {
        let mut names: BTreeMap<&str, u64> = BTreeMap::new();
        for channel in channels {
            *names.entry(channel.namespace()).or_default() += 1;
        }
        let (cost, names) = (names.values().sum(), names.into_iter().collect::<Vec<_>>());
        self.spend(app, identity, &Spending::many(action, cost, &names))
    }

    fn spend(&self, app: &App, identity: &Identity, spending: &Spending<'_>) -> Result<(), ApiError> {
        let project = app.project(identity)?;
        let key = match &identity.proof {
            Proof::ApiKey(prefix) => Some(prefix.as_str()),
            Proof::Token(_) => None,
        };
        let subject = identity.subject.as_deref();
        let spender = Spender { address: Some(self.address), key, subject, connection: self.connection };
        match app.limits.limiter.spend(&project, &spender, spending) {
            Verdict::Free => Ok(()),
            Verdict::Admitted(standing) => {
                self.note(Note { standing, refused: None });
                Ok(())
            }
            Verdict::Refused(standing, wait) => {
                let action = spending.action.as_str();
                metrics::counter!("nuncio_rate_limited_total", "action" => action).increment(1);
                let error = over(&standing, wait);
                self.note(Note { standing, refused: Some(wait.unwrap_or_default()) });
                Err(error)
            }
        }
    }

    /// A refusal is told before all else, and of what was admitted the limit that is nearest.
    fn note(&self, note: Note) {
        let Some(noted) = &self.noted else { return };
        let mut place = noted.0.lock();
        let rank = |note: &Note| (note.refused.is_none(), note.standing.remaining);
        if place.as_ref().is_none_or(|before| rank(&note) <= rank(before)) {
            *place = Some(note);
        }
    }
}

/// The first segment. One that is a wildcard stands for itself.
fn namespace_of(pattern: &Pattern) -> &str {
    pattern.as_str().split('.').next().unwrap_or_default()
}

fn over(standing: &Standing, wait: Option<Duration>) -> ApiError {
    let rule = &standing.rule;
    let (name, limit, period, burst) = (&rule.name, rule.limit, rule.period_seconds, rule.quota.burst());
    let Some(wait) = wait else {
        let detail =
            format!("the rate limit {name} lets through {burst} at once and no more: send fewer at a time");
        return ApiError::new(Code::RateLimited, detail).with_retry_after(None);
    };
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let detail = format!("over the rate limit {name} ({limit} in {period} s): try again in {millis} ms");
    ApiError::new(Code::RateLimited, detail).with("retryAfterMs", millis).with_retry_after(Some(wait))
}

/// Writes what a request met of limits into its answer.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let noted = Noted::default();
    request.extensions_mut().insert(noted.clone());
    let mut response = next.run(request).await;
    let note = noted.0.lock().take();
    if let Some(note) = note {
        write(&note, response.headers_mut());
    }
    response
}

fn write(note: &Note, headers: &mut HeaderMap) {
    let rule = &note.standing.rule;
    let (limit, period, name) = (rule.limit, rule.period_seconds, &rule.name);
    // After a refusal it is the time of `Retry-After`, else the time until there is a whole burst again.
    let seconds = note.refused.unwrap_or(note.standing.full_after).as_nanos().div_ceil(1_000_000_000);
    let policy = format!("\"{name}\";q={limit};w={period}");
    let state = format!("\"{name}\";r={};t={seconds}", note.standing.remaining);
    for (field, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
        // Names of limits are made of letters, digits and `-`.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(field, value);
        }
    }
}
