//! `EventInput` and `ChannelEventInput`: events on their way in.

use async_graphql::{ID, InputObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nuncio_model::cloudevents::Incoming;
use nuncio_model::event::EventError;
use nuncio_model::{Channel, Data, Draft};

use super::scalars::{Json, Time};

/// The source of events that name none.
const SOURCE: &str = "/graphql";

/// An event to publish. All is optional; an id is made where none is given.
#[derive(InputObject)]
pub(crate) struct EventInput {
    /// Names the event together with `source`: a repeat of both is stored once.
    pub id: Option<ID>,
    /// What happened; `message` where it is not said.
    pub r#type: Option<String>,
    /// Where it comes from; `/graphql` where it is not said.
    pub source: Option<String>,
    /// What it happened to.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<Time>,
    /// The payload, as JSON.
    pub data: Option<Json>,
    /// The payload, where it is not JSON.
    pub data_base64: Option<String>,
    /// The media type of the payload.
    pub content_type: Option<String>,
}

/// An event with the channel it goes to.
#[derive(InputObject)]
pub(crate) struct ChannelEventInput {
    /// The channel.
    pub channel: String,
    /// The event.
    pub event: EventInput,
}

impl EventInput {
    /// The event, checked as far as it can be without its namespace's rules.
    ///
    /// # Errors
    /// Where it carries two payloads, or one that is not base64.
    pub(crate) fn into_draft(self, channel: Channel) -> Result<Draft, EventError> {
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => return Err(EventError::invalid("data and dataBase64 exclude each other")),
            (Some(json), None) => Data::Json(json.0),
            (None, Some(text)) => {
                let bytes = BASE64.decode(text);
                let message = "dataBase64 must be base64 (RFC 4648, section 4)";
                Data::Binary(bytes.map_err(|_| EventError::invalid(message))?.into())
            }
            (None, None) => Data::None,
        };
        let incoming = Incoming {
            id: self.id.map(|id| id.0),
            source: self.source,
            r#type: self.r#type,
            subject: self.subject,
            time: self.time.map(|time| time.0),
            content_type: self.content_type,
            data,
            ..Incoming::default()
        };
        incoming.into_draft(channel, SOURCE)
    }
}
