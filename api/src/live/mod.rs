//! Answers that stay open: how one takes its socket out of HTTP, and writes to it for as long as it lasts.

mod framing;
mod handover;
mod out;
mod timing;

use axum::body::Body;
use axum::http::{Extensions, HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::error::ApiError;
use handover::Opening;

pub(crate) use framing::Framing;
pub(crate) use handover::{Handover, Takeover};
pub(crate) use out::Out;
pub(crate) use timing::Timing;

/// How an answer can leave HTTP, by the request that it answers.
pub(crate) struct Exit {
    handover: Handover,
    /// What goes around its pieces.
    pub(crate) framing: Framing,
}

impl Exit {
    /// That of a request with these extensions, of this version.
    ///
    /// # Errors
    /// `INTERNAL` where the request did not come in by way of this crate's server.
    pub(crate) fn of(extensions: &Extensions, version: Version) -> Result<Self, ApiError> {
        let no_socket = || ApiError::internal("a stream was asked for by another way than this server");
        let handover = extensions.get::<Handover>().ok_or_else(no_socket)?.clone();
        Ok(Self { handover, framing: Framing::of(version) })
    }
}

/// The answer that opens a stream: the first bytes by HTTP, and then the socket is whoever takes over's.
pub(crate) fn open(exit: Exit, media_type: &'static str, hello: Bytes, takeover: Takeover) -> Response {
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // Nothing else is answered on a connection that a stream has taken over.
        (header::CONNECTION, HeaderValue::from_static("close")),
        // nginx would otherwise hold events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (fields, Body::new(Opening::new(hello, exit.handover, takeover))).into_response()
}
