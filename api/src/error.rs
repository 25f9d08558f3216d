//! The one error of this crate: what a client is told (RFC 9457), and what only the log is told.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nuncio_model::Code;
use nuncio_model::channel::NameError;
use nuncio_model::cursor::CursorError;
use nuncio_model::event::EventError;
use serde::Serialize;
use serde_json::Value;

/// How long a client should wait before it tries again when a needed server is away, or there is too much.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why a request was not carried out.
#[derive(Debug)]
pub struct ApiError {
    /// The stable code.
    pub code: Code,
    /// What happened and what to mend, in a sentence that holds nothing secret.
    pub detail: String,
    /// What is wrong with single fields or items of the request.
    pub fields: Vec<FieldError>,
    /// More members of the problem, such as `oldest` and `newest` of a cursor error.
    pub members: Vec<(String, Value)>,
    /// The HTTP status, where it says more than the code does.
    status: Option<StatusCode>,
    /// When to try again, where that is known; none within where trying again does not help.
    retry: Option<Option<Duration>>,
    /// What the log is told and the client is not.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// One wrong field of a request, or one wrong item of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field by its JSON name or path; of a batch's item `[3]`.
    pub field: String,
    /// What to mend.
    pub message: String,
    /// Of a batch: the item's index, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Of a batch: the item's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

impl ApiError {
    /// An error with this code and a sentence for the client.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (fields, members) = (Vec::new(), Vec::new());
        Self { code, detail: detail.into(), fields, members, status: None, retry: None, cause: None }
    }

    /// A malformed request.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// No credentials, or bad ones.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// Good credentials without the right.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// A defect of ours; only the log is told what it was.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "Nuncio could not do this; its log has more under the request id")
            .caused_by(cause)
    }

    /// A needed server is away or too busy.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// Adds a wrong field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.fields.push(FieldError {
            field: field.into(),
            message: message.into(),
            index: None,
            code: None,
        });
        self
    }

    /// This error, where it names a wrong field; so that checks can gather all that is wrong.
    ///
    /// # Errors
    /// With itself.
    pub fn if_any_field(self) -> Result<(), Self> {
        if self.fields.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Adds a wrong item of a batch.
    #[must_use]
    pub fn item(mut self, index: usize, error: &EventError) -> Self {
        let (field, message) = (format!("[{index}]"), error.message.clone());
        self.fields.push(FieldError { field, message, index: Some(index), code: Some(error.code.as_str()) });
        self
    }

    /// Adds a member to the problem, or to GraphQL's `extensions`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.push((name.to_owned(), value.into()));
        self
    }

    /// Answers with this status instead of the code's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Says when to try again; none where that does not help.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry = Some(wait);
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or(match self.code {
            Code::InvalidRequest
            | Code::InvalidChannel
            | Code::InvalidPattern
            | Code::InvalidFilter
            | Code::InvalidEvent
            | Code::SchemaMismatch
            | Code::CursorInvalid
            | Code::TooComplex => StatusCode::BAD_REQUEST,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Conflict | Code::IdConflict | Code::ResumedElsewhere | Code::LeaseLost => {
                StatusCode::CONFLICT
            }
            Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Code::CursorExpired => StatusCode::GONE,
            Code::RateLimited | Code::TooManyOperations => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    /// When to try again, where that is worth telling.
    pub fn retry_after(&self) -> Option<Duration> {
        let usual = matches!(self.code, Code::Unavailable | Code::RateLimited).then_some(RETRY_AFTER);
        self.retry.unwrap_or(usual)
    }

    /// The same in whole seconds, rounded up, as `Retry-After` has it (RFC 9110, section 10.2.3).
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after().and_then(|wait| u64::try_from(wait.as_nanos().div_ceil(1_000_000_000)).ok())
    }

    /// Writes to the log what only the log may know. Call it once, where the request leaves.
    pub fn log(&self, request_id: &str) {
        let cause = self.cause.as_deref().map(causes).unwrap_or_default();
        match self.code {
            Code::Internal => tracing::error!(request_id, cause, "a request failed by a defect"),
            Code::Unavailable => {
                tracing::warn!(request_id, cause, detail = self.detail, "a request could not be served")
            }
            _ => {
                tracing::debug!(request_id, code = %self.code, detail = self.detail, "a request was refused")
            }
        }
    }
}

/// The error and all that caused it, in one line.
fn causes(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl IntoResponse for ApiError {
    /// The body is written by [`crate::problem::layer`], which knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> Self {
        Self::new(error.code, error.message)
    }
}

impl From<nuncio_store::Error> for ApiError {
    fn from(error: nuncio_store::Error) -> Self {
        use nuncio_store::Error as Store;
        if error.is_unavailable() {
            return Self::unavailable("the database cannot be reached; try again").caused_by(error);
        }
        match error {
            Store::NotFound(_) => Self::new(Code::NotFound, error.to_string()),
            Store::Exists(_) | Store::Refused(_) | Store::Rotated(_) => {
                Self::new(Code::Conflict, error.to_string())
            }
            Store::Changed(_) => Self::new(Code::PreconditionFailed, error.to_string()),
            other => Self::internal(other),
        }
    }
}
