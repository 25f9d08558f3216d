//! The stable error codes, the same in REST (`code`), GraphQL (`extensions.code`) and control events.

use std::fmt;

/// What went wrong, in one word that clients may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is malformed in a way no other code names.
    InvalidRequest,
    /// A channel name breaks the rules of names.
    InvalidChannel,
    /// A pattern breaks the rules of patterns.
    InvalidPattern,
    /// A filter expression does not compile.
    InvalidFilter,
    /// An event breaks the rules of CloudEvents or a limit on its attributes.
    InvalidEvent,
    /// The data does not fit the JSON Schema set for its type.
    SchemaMismatch,
    /// A body, an event or a message is over its size limit.
    TooLarge,
    /// No credentials, or credentials that are not good.
    Unauthenticated,
    /// Good credentials without the right for this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The thing exists already, or is in a state that does not allow this.
    Conflict,
    /// The same `(channel, source, id)` was stored with other data.
    IdConflict,
    /// `If-Match` names another version than the current one.
    PreconditionFailed,
    /// The cursor is made up, of another project, or beyond the head.
    CursorInvalid,
    /// Something that matches after the cursor has been removed.
    CursorExpired,
    /// Over a rate limit.
    RateLimited,
    /// One operation too many on this connection.
    TooManyOperations,
    /// A document over the limits of depth, complexity or aliases.
    TooComplex,
    /// Another user of the same resume id took over.
    ResumedElsewhere,
    /// The delivery token's lease is lost.
    LeaseLost,
    /// A needed server is away; try again later.
    Unavailable,
    /// A defect of Nuncio; the details are in its log under the request id.
    Internal,
}

impl Code {
    /// The code as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InvalidChannel => "INVALID_CHANNEL",
            Self::InvalidPattern => "INVALID_PATTERN",
            Self::InvalidFilter => "INVALID_FILTER",
            Self::InvalidEvent => "INVALID_EVENT",
            Self::SchemaMismatch => "SCHEMA_MISMATCH",
            Self::TooLarge => "TOO_LARGE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::IdConflict => "ID_CONFLICT",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::CursorInvalid => "CURSOR_INVALID",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooManyOperations => "TOO_MANY_OPERATIONS",
            Self::TooComplex => "TOO_COMPLEX",
            Self::ResumedElsewhere => "RESUMED_ELSEWHERE",
            Self::LeaseLost => "LEASE_LOST",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
