//! What can go wrong with the broker, and what to do about it.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

/// A failed operation on the broker. It names the operation and keeps its cause; it never shows the URL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `AMQP_URL` is no AMQP URL.
    #[error("AMQP_URL is not an AMQP URL like amqp://user:password@host:5672/vhost")]
    Url,
    /// Nothing came back in time.
    #[error("{operation}: the broker did not answer in time")]
    Timeout {
        /// What was tried.
        operation: &'static str,
    },
    /// AMQP ends routing keys at 255 bytes.
    #[error("a routing key has at most 255 bytes")]
    RoutingKey,
    /// AMQP ends most properties, and the names of headers, at 255 bytes.
    #[error("{name} has at most 255 bytes")]
    Property {
        /// Which one is longer.
        name: &'static str,
    },
    /// A property is none that Nuncio knows, or has not the form in which Nuncio writes it.
    #[error("{name} is no property that can be published, or not in the form in which it is shown")]
    NoProperty {
        /// Which one.
        name: String,
    },
    /// The broker took the message and then said that it could not keep it.
    #[error("the broker refused the message")]
    Refused,
    /// The server ended the consumer: its queue was deleted, or its leader moved.
    #[error("the broker ended the consumer of {queue}")]
    Cancelled {
        /// The queue that was read.
        queue: String,
    },
    /// Everything else, as lapin tells it.
    #[error("{operation}: {source}")]
    Amqp {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<lapin::Error>,
    },
}

impl Error {
    pub(crate) fn amqp(operation: &'static str) -> impl Fn(lapin::Error) -> Self {
        move |source| Self::Amqp { operation, source: Box::new(source) }
    }

    /// Whether trying again cannot help before somebody mends the configuration: a bad URL, wrong credentials, missing
    /// rights, or a queue that was made with other arguments.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Url | Self::RoutingKey | Self::Property { .. } | Self::NoProperty { .. } => true,
            Self::Timeout { .. } | Self::Refused | Self::Cancelled { .. } => false,
            Self::Amqp { source, .. } => match source.kind() {
                ErrorKind::ProtocolError(error) => matches!(
                    error.kind(),
                    AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED)
                        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
                ),
                ErrorKind::InvalidProtocolVersion(_) | ErrorKind::AuthProviderError(_) => true,
                _ => false,
            },
        }
    }

    /// Whether somebody else has for himself what was asked for.
    pub(crate) fn is_locked(&self) -> bool {
        self.soft() == Some(&AMQPSoftError::RESOURCELOCKED)
    }

    /// Whether there is no such exchange or queue.
    pub fn is_not_found(&self) -> bool {
        self.soft() == Some(&AMQPSoftError::NOTFOUND)
    }

    fn soft(&self) -> Option<&AMQPSoftError> {
        let Self::Amqp { source, .. } = self else { return None };
        let ErrorKind::ProtocolError(error) = source.kind() else { return None };
        match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        }
    }

    /// Whether a message was met that the AMQP library cannot read (a property that is not UTF-8, for one). The
    /// connection is gone then, and the message comes again until the queue's delivery limit throws it out.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Amqp { source, .. } if matches!(source.kind(), ErrorKind::ParsingError(_)))
    }
}
