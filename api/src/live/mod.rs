//! Answers that stay open: how one takes its socket out of HTTP, and writes to it for as long as it lasts.

mod framing;
mod handover;
mod out;
mod timing;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::error::ApiError;
use handover::Opening;

pub(crate) use framing::Framing;
pub(crate) use handover::{Handover, Takeover};
pub(crate) use out::Out;
pub(crate) use timing::Timing;

/// The answer that opens a stream: the first bytes by HTTP, and then the socket is whoever takes over's.
///
/// # Errors
/// `INTERNAL` where the request did not come in by way of this crate's server.
pub(crate) fn open(
    request: &Parts,
    media_type: &'static str,
    hello: Bytes,
    takeover: Takeover,
) -> Result<Response, ApiError> {
    let no_socket = || ApiError::internal("a stream was asked for by another way than this server");
    let handover = request.extensions.get::<Handover>().ok_or_else(no_socket)?.clone();
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // Nothing else is answered on a connection that a stream has taken over.
        (header::CONNECTION, HeaderValue::from_static("close")),
        // nginx would otherwise hold events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((fields, Body::new(Opening::new(hello, handover, takeover))).into_response())
}
