//! Why a message became an ingest dead letter: the stable words, and what each means.
//!
//! | word | meaning |
//! |---|---|
//! | `bad_channel` | the routing key is no channel name that a client may publish to |
//! | `bad_event` | the message breaks the rules of CloudEvents, or a limit on an attribute |
//! | `conflicting_headers` | one attribute is given in several forms that disagree |
//! | `delivery_limit` | it came back unacknowledged too often, also from the queue of the dead: it seems to end whoever reads it |
//! | `forbidden` | its namespace takes no events from RabbitMQ |
//! | `id_conflict` | its `(channel, source, id)` was stored before with other data |
//! | `not_storable` | PostgreSQL refused it, whatever it is |
//! | `schema_mismatch` | its data does not fit the JSON Schema of its type |
//! | `too_large` | its data, or the number of its events, is over the limit |
//! | `unsupported_encoding` | `content_encoding` names a compression |

use nuncio_model::event::EventError;
use nuncio_model::{Code, channel};

/// The routing key is no channel name that a client may publish to.
pub const BAD_CHANNEL: &str = "bad_channel";
/// The message breaks the rules of CloudEvents, or a limit on an attribute.
pub const BAD_EVENT: &str = "bad_event";
/// One attribute is given in several forms that disagree.
pub const CONFLICTING_HEADERS: &str = "conflicting_headers";
/// It came back unacknowledged too often, also from the queue of the dead.
pub const DELIVERY_LIMIT: &str = "delivery_limit";
/// Its namespace takes no events from RabbitMQ.
pub const FORBIDDEN: &str = "forbidden";
/// Its `(channel, source, id)` was stored before with other data.
pub const ID_CONFLICT: &str = "id_conflict";
/// PostgreSQL refused it.
pub const NOT_STORABLE: &str = "not_storable";
/// Its data does not fit the JSON Schema of its type.
pub const SCHEMA_MISMATCH: &str = "schema_mismatch";
/// Its data, or the number of its events, is over the limit.
pub const TOO_LARGE: &str = "too_large";
/// `content_encoding` names a compression.
pub const UNSUPPORTED_ENCODING: &str = "unsupported_encoding";

/// Why a message is no event: one of the words above, and what to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable word.
    pub reason: &'static str,
    /// A sentence for people.
    pub detail: String,
}

impl Rejection {
    /// A rejection with this word and sentence.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<EventError> for Rejection {
    fn from(error: EventError) -> Self {
        let reason = match error.code {
            Code::InvalidChannel => BAD_CHANNEL,
            Code::TooLarge => TOO_LARGE,
            Code::Forbidden => FORBIDDEN,
            Code::SchemaMismatch => SCHEMA_MISMATCH,
            _ => BAD_EVENT,
        };
        Self::new(reason, error.message)
    }
}

impl From<channel::NameError> for Rejection {
    fn from(error: channel::NameError) -> Self {
        Self::new(BAD_CHANNEL, error.to_string())
    }
}
