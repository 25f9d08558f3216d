//! Why a socket is closed: the codes in one place, each with what a client makes of it.

use crate::auth::Over;

/// Why the server closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client asked for it, by a message. There is nothing to come back for.
    Asked,
    /// The node is stopping. Reconnect: another one answers.
    GoingAway,
    /// An administrator has ended the connection. Reconnect, if you may.
    Disconnected,
    /// The client broke the WebSocket protocol itself. Do not reconnect as you are.
    BrokenFrame,
    /// A text message is not UTF-8. Do not reconnect as you are.
    NotUtf8,
    /// A message is too large. Do not send it again.
    TooBig,
    /// A defect of Nuncio. Ordinary clients do not reconnect.
    Defect,
    /// There is no room for one more connection. Reconnect, later.
    Overloaded,
    /// A message is not one of the protocol's. Do not reconnect as you are.
    BadMessage,
    /// An operation before `connection_ack`. Do not reconnect as you are.
    NotInitialised,
    /// Bad credentials, or an origin that is not allowed. Reconnect with a new token.
    Forbidden,
    /// Credentials that have expired or were revoked since. Reconnect with a new token; where the project is closed,
    /// later with the same.
    Over(Over),
    /// None of the subprotocols asked for is known. Do not reconnect as you are.
    UnknownSubprotocol,
    /// No `connection_init` in time. Reconnect.
    InitTimeout,
    /// A message that has begun was not ended in time. Reconnect.
    Unfinished,
    /// The id is that of an operation that still runs. Do not reconnect as you are.
    DuplicateId,
    /// A second `connection_init`. Do not reconnect as you are.
    SecondInit,
    /// The client took nothing for too long. Reconnect, and resume.
    Stalled,
}

impl CloseReason {
    /// The close code (RFC 6455, section 7.4; graphql-transport-ws for the 44xx).
    pub fn code(self) -> u16 {
        match self {
            Self::Asked => 1000,
            Self::GoingAway | Self::Disconnected => 1001,
            Self::BrokenFrame => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Defect => 1011,
            Self::Overloaded | Self::Over(Over::ProjectClosed) => 1013,
            Self::BadMessage => 4400,
            Self::NotInitialised => 4401,
            Self::Forbidden | Self::Over(_) => 4403,
            Self::UnknownSubprotocol => 4406,
            Self::InitTimeout | Self::Unfinished => 4408,
            Self::DuplicateId => 4409,
            Self::SecondInit => 4429,
            Self::Stalled => 4508,
        }
    }

    /// The reason as a text, at most 123 bytes.
    pub fn text(self) -> &'static str {
        match self {
            Self::Asked => "As you asked",
            Self::GoingAway => "Going away: reconnect and resume",
            Self::Disconnected => "Disconnected by an administrator",
            Self::BrokenFrame => "Protocol error",
            Self::NotUtf8 => "A text message must be UTF-8",
            Self::TooBig => "Message too big",
            Self::Defect => "Internal server error",
            Self::Overloaded => "Overloaded: try again later",
            Self::BadMessage => "Invalid message",
            Self::NotInitialised => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::Over(over) => over.close_text(),
            Self::UnknownSubprotocol => "Subprotocol not acceptable: use graphql-transport-ws",
            Self::InitTimeout => "Connection initialisation timeout",
            Self::Unfinished => "A message was not ended in time",
            Self::DuplicateId => "Subscriber for this id already exists",
            Self::SecondInit => "Too many initialisation requests",
            Self::Stalled => "Stalled: nothing was taken for too long",
        }
    }
}
