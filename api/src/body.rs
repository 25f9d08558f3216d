//! The body of a request as bytes, with each way to fail told apart.

use std::error::Error;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use nuncio_model::Code;

use crate::error::ApiError;
use crate::server::TooSlow;

/// A whole body. As an argument it stands last: who is asking is judged before anything is read of it.
pub struct Payload(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
            Err(rejection) if is_too_slow(&rejection) => {
                Err(ApiError::invalid("the request's body came too slowly")
                    .with_status(StatusCode::REQUEST_TIMEOUT))
            }
            Err(rejection) => {
                Err(ApiError::invalid("the request's body ended early, or its chunks are not well formed")
                    .caused_by(rejection))
            }
        }
    }
}

/// A body over `NUNCIO_MAX_BODY_BYTES`.
pub(crate) fn too_large() -> ApiError {
    ApiError::new(Code::TooLarge, "the request's body is too large")
}

fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    error.is::<TooSlow>() || error.source().is_some_and(is_too_slow)
}
