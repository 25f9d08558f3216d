//! Answers to GraphQL over HTTP that are given at once and whole: status, headers and body.

use async_graphql::Response as GraphqlResponse;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use nuncio_model::Code;

use super::accept::Json;
use super::{error, response};
use crate::accept::Accept;
use crate::error::ApiError;

/// What a request is answered with.
pub(super) enum Answer {
    /// One response.
    One(Box<GraphqlResponse>),
    /// The responses of a batch, in the order of its operations.
    Batch(Vec<GraphqlResponse>),
}

/// Writes the answer in the media type that the client asks for.
///
/// A client that takes none of ours is answered with the older one: what it is told is why it gets nothing else.
pub(super) fn write(answer: Result<Answer, ApiError>, accept: &Accept) -> Response {
    let form = accept.json().unwrap_or(Json::Plain);
    let (status, more, body) = match answer {
        Ok(Answer::One(mut answer)) => {
            error::finish(&mut answer);
            (status(&answer, form), HeaderMap::new(), response::write(&answer, None))
        }
        Ok(Answer::Batch(mut answers)) => {
            answers.iter_mut().for_each(error::finish);
            (StatusCode::OK, HeaderMap::new(), response::write_batch(&answers))
        }
        Err(error) => {
            let (status, headers) = (error.status(), headers(&error));
            (status, headers, response::write(&error::response(error), None))
        }
    };
    let media_type = HeaderValue::from_static(form.media_type());
    let usual = [(CONTENT_TYPE, media_type), (VARY, HeaderValue::from_static("accept"))];
    (status, usual, more, body).into_response()
}

/// The older media type has the status 200 wherever the request could be read (GraphQL over HTTP, section 6.4).
fn status(answer: &GraphqlResponse, form: Json) -> StatusCode {
    if response::is_request_error(answer) && form == Json::Graphql {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    }
}

/// What HTTP wants beside some statuses.
fn headers(error: &ApiError) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if error.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    // A mutation by GET.
    if error.status() == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    headers
}
