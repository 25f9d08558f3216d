//! The last step of every HTTP answer: errors become `application/problem+json` with the request's id.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, VARY, WWW_AUTHENTICATE,
};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use nuncio_model::{Code, ids};
use serde::Serialize;
use serde_json::Value;
use tower_http::request_id::RequestId;

use crate::body::too_large;
use crate::error::{ApiError, FieldError};

/// The media type of RFC 9457.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A problem as RFC 9457 writes it, with the members that all of Nuncio's have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    members: BTreeMap<&'a str, &'a Value>,
}

/// Gives every error its body and logs it, once.
pub async fn layer(request: Request, next: Next) -> Response {
    let request_id = id_of(&request);
    let response = next.run(request).await;
    if let Some(error) = response.extensions().get::<Arc<ApiError>>().cloned() {
        error.log(&request_id);
        return render(&error, &request_id, response.headers());
    }
    match refused_by_a_library(&response) {
        Some(error) => render(&error, &request_id, response.headers()),
        None => response,
    }
}

/// The id under which this request is logged.
pub fn id_of(request: &Request) -> String {
    request_id(request.extensions())
}

/// The same, by what came with the request.
pub(crate) fn request_id(extensions: &Extensions) -> String {
    let id = extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    id.unwrap_or_default().to_owned()
}

/// The routing, the extractors and the layers of the libraries refuse in plain text; this is the same in our form.
fn refused_by_a_library(response: &Response) -> Option<ApiError> {
    let status = response.status();
    let content_type =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let theirs = content_type.is_empty() || content_type.starts_with("text/plain");
    if !theirs || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let error = match status {
        StatusCode::NOT_FOUND => ApiError::not_found("address"),
        StatusCode::METHOD_NOT_ALLOWED => ApiError::invalid("this address does not take this method"),
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ if status.is_server_error() => ApiError::internal(format!("a library answered {status}")),
        _ => ApiError::invalid("the request is malformed"),
    };
    Some(error.with_status(status))
}

/// A whole answer, byte by byte, for a connection on which HTTP has no request to answer; it ends the connection.
pub(crate) fn alone(error: ApiError) -> Bytes {
    let (status, request_id) = (error.status(), ids::unique_id());
    error.log(&request_id);
    let body = body(&error, &request_id);
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer.into()
}

fn body(error: &ApiError, request_id: &str) -> Vec<u8> {
    let status = error.status();
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: &error.detail,
        code: error.code.as_str(),
        request_id,
        errors: &error.fields,
        members: error.members.iter().map(|(name, value)| (name.as_str(), value)).collect(),
    };
    serde_json::to_vec(&problem).expect("a problem holds only what has a JSON form")
}

fn render(error: &ApiError, request_id: &str, old: &HeaderMap) -> Response {
    let body = body(error, request_id);
    let mut response = (error.status(), [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
    let headers = response.headers_mut();
    for name in [ALLOW, CONNECTION, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = old.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    // What a page of another origin may read of the answer: without these it is told nothing, not even the status.
    for (name, value) in old {
        if name == VARY || name.as_str().starts_with("access-control-") {
            headers.append(name, value.clone());
        }
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if error.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
