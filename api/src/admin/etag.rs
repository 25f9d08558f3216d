//! `ETag` and `If-Match`: two people who change the same thing do not overwrite each other.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nuncio_model::Code;
use serde::Serialize;

use crate::error::ApiError;

/// The version that `If-Match` asks for; none where there is no such header, or it is `*`.
pub(super) struct IfMatch(pub(super) Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let quoted = text.trim_start_matches("W/").strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let error = ApiError::invalid("the If-Match header is not good");
        let tag = quoted.ok_or_else(|| error.field("If-Match", "must be `*`, or an ETag as it was given"))?;
        // A tag that was never given out names no version of anything.
        tag.parse().map(|version| Self(Some(version))).map_err(|_| changed())
    }
}

impl IfMatch {
    /// Refuses where another version is current.
    ///
    /// # Errors
    /// `PRECONDITION_FAILED`.
    pub(super) fn check(&self, current: i64) -> Result<(), ApiError> {
        if self.0.is_none_or(|version| version == current) { Ok(()) } else { Err(changed()) }
    }
}

fn changed() -> ApiError {
    ApiError::new(Code::PreconditionFailed, "it was changed since you read it: read it again")
}

/// The object with its version.
pub(super) fn ok<T: Serialize>(version: i64, object: T) -> Response {
    ([(header::ETAG, tag(version))], Json(object)).into_response()
}

/// A new object, with where it is and its version.
pub(super) fn created<T: Serialize>(location: String, version: i64, object: T) -> Response {
    let headers: [(HeaderName, String); 2] = [(header::LOCATION, location), (header::ETAG, tag(version))];
    (StatusCode::CREATED, headers, Json(object)).into_response()
}

fn tag(version: i64) -> String {
    format!("\"{version}\"")
}
