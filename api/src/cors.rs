//! Which pages of other origins may call from a browser.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use nuncio_store::Project;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::error::ApiError;
use crate::limits::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// An entry of a project's list that stands for every origin.
const ANY: &str = "*";

/// Answers preflights. They carry no token, so that they are answered for the origins of all projects; the request
/// itself is then judged by its own project, in [`check_origin`].
pub(crate) fn layer(app: &Arc<App>) -> CorsLayer {
    let app = app.clone();
    let allowed = move |origin: &header::HeaderValue, _: &Parts| {
        let origin = origin.to_str().unwrap_or_default();
        let snapshot = app.directory.snapshot();
        [ANY, origin].into_iter().any(|one| snapshot.any_lists_origin(one))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::CACHE_CONTROL,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("x-graphql-event-stream-token"),
        ])
        .expose_headers([
            HeaderName::from_static("x-request-id"),
            header::RETRY_AFTER,
            RATE_LIMIT_POLICY,
            RATE_LIMIT,
        ])
}

/// Refuses what a page of a foreign origin sends with a good token. Requests without `Origin` come from no browser.
///
/// # Errors
/// `FORBIDDEN`, naming the origin.
pub(crate) fn check_origin(project: &Project, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    check(project, origin.to_str().unwrap_or_default(), host_of(headers).unwrap_or_default())
}

/// Where the page is from that something was opened by, to be judged once more: a few words where no page did, and
/// nothing of the request's memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(Option<Box<(Box<str>, Box<str>)>>);

impl Origin {
    /// What the request's headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        let host = host_of(headers).unwrap_or_default();
        Self(origin.map(|origin| Box::new((origin.into(), host.into()))))
    }

    /// As [`check_origin`].
    ///
    /// # Errors
    /// `FORBIDDEN`, naming the origin.
    pub(crate) fn check(&self, project: &Project) -> Result<(), ApiError> {
        self.0.as_ref().map_or(Ok(()), |page| check(project, &page.0, &page.1))
    }
}

fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

fn check(project: &Project, origin: &str, host: &str) -> Result<(), ApiError> {
    if is_own(origin, host) || allows(project, origin) {
        return Ok(());
    }
    Err(ApiError::forbidden("pages of this origin are not on the project's list of allowedOrigins"))
}

fn allows(project: &Project, origin: &str) -> bool {
    project.allowed_origins.iter().any(|allowed| allowed == ANY || allowed == origin)
}

/// Pages that Nuncio itself serves.
fn is_own(origin: &str, host: &str) -> bool {
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    !host.is_empty() && of_origin == Some(host)
}
