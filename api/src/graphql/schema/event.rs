//! `Event` and `EventPage`.

use std::sync::Arc;

use async_graphql::{ID, Object, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nuncio_model::Data;

use super::scalars::{Cursor, Int64, Json, Time};
use crate::history::HistoryPage;

/// The name of the type [`Event`].
pub(crate) const EVENT_TYPE: &str = "Event";

/// The fields of [`Event`] that are the same for everybody who may read the event. Only a subscription to nothing else
/// is executed once for all who ask for the same: a field that depends on who is asking must never stand here.
pub(crate) const SAME_FOR_ALL: [&str; 12] = [
    "__typename",
    "id",
    "channel",
    "type",
    "source",
    "subject",
    "time",
    "contentType",
    "data",
    "dataBase64",
    "sequence",
    "cursor",
];

/// An event as it is stored: CloudEvents 1.0 attributes with a place in its channel and in the project.
pub(crate) struct Event(pub Arc<nuncio_model::Event>);

#[Object]
impl Event {
    /// Names the event together with `source`.
    async fn id(&self) -> ID {
        ID(self.0.draft.id.clone())
    }

    /// Where it was published.
    async fn channel(&self) -> &str {
        self.0.draft.channel.as_str()
    }

    /// What happened.
    async fn r#type(&self) -> &str {
        &self.0.draft.r#type
    }

    /// Where it comes from.
    async fn source(&self) -> &str {
        &self.0.draft.source
    }

    /// What it happened to.
    async fn subject(&self) -> Option<&str> {
        self.0.draft.subject.as_deref()
    }

    /// When it happened: as the publisher said, else when it was stored.
    async fn time(&self) -> Time {
        Time(self.0.time())
    }

    /// The media type of the data.
    async fn content_type(&self) -> &str {
        self.0.draft.media_type()
    }

    /// The payload, where it is JSON: byte for byte as it was published, white space apart.
    async fn data(&self) -> Option<Json> {
        match &self.0.draft.data {
            Data::Json(text) => Some(Json(text.clone())),
            Data::None | Data::Binary(_) => None,
        }
    }

    /// The payload, where it is not JSON.
    async fn data_base64(&self) -> Option<String> {
        match &self.0.draft.data {
            Data::Binary(bytes) => Some(BASE64.encode(bytes)),
            Data::None | Data::Json(_) => None,
        }
    }

    /// Its number within the channel: 1, 2, 3 … without holes.
    async fn sequence(&self) -> Int64 {
        Int64(self.0.sequence)
    }

    /// The place right after it.
    async fn cursor(&self) -> Cursor {
        self.0.cursor().into()
    }
}

/// A page of stored events, always oldest first.
#[derive(SimpleObject)]
pub(crate) struct EventPage {
    /// The events. There may be none although there is more.
    pub events: Vec<Event>,
    /// Where to go on: as `after`, or as `before` where `before` or `last` was given.
    pub cursor: Cursor,
    /// Whether there is more in that direction.
    pub has_more: bool,
}

impl From<HistoryPage> for EventPage {
    fn from(page: HistoryPage) -> Self {
        let events = page.events.into_iter().map(Event).collect();
        Self { events, cursor: page.cursor.into(), has_more: page.has_more }
    }
}
