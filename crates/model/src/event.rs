//! Events: what a publisher hands in, and what the log gives back.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS, MAX_ID_BYTES, MAX_TYPE_BYTES};
use crate::namespace::{PublisherKind, Rules};
use crate::{Channel, Code, Cursor, Epoch, Position, ProjectId};

/// An event's payload.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Data {
    /// The event says all it has to say by its type.
    #[default]
    None,
    /// A compacted JSON text (see [`crate::json::compact`]).
    Json(Bytes),
    /// Bytes that are not JSON; they travel as base64.
    Binary(Bytes),
}

impl Data {
    /// The payload's bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Json(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// An event as published: checked, and without a place in the log yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Where it goes.
    pub channel: Channel,
    /// Names the event together with `source`.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// What happened.
    pub r#type: String,
    /// What it happened to.
    pub subject: Option<String>,
    /// When it happened, where the publisher said so.
    pub time: Option<DateTime<Utc>>,
    /// The media type of `data`.
    pub content_type: Option<String>,
    /// The payload.
    pub data: Data,
    /// CloudEvents extension attributes, `traceparent` among them.
    pub extensions: BTreeMap<String, Value>,
}

/// Why a publication is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EventError {
    /// The stable code: `INVALID_EVENT`, `INVALID_CHANNEL`, `TOO_LARGE` and the like.
    pub code: Code,
    /// What to mend, in a sentence.
    pub message: String,
}

impl EventError {
    /// An `INVALID_EVENT`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: Code::InvalidEvent, message: message.into() }
    }
}

impl From<crate::channel::NameError> for EventError {
    fn from(error: crate::channel::NameError) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

impl Draft {
    /// The media type of the data: as the publisher said, else what the data is.
    pub fn media_type(&self) -> &str {
        let default = match self.data {
            Data::Binary(_) => "application/octet-stream",
            Data::None | Data::Json(_) => "application/json",
        };
        self.content_type.as_deref().unwrap_or(default)
    }

    /// The check every way of publishing must pass: sizes and characters of all attributes, and the namespace's rules.
    ///
    /// # Errors
    /// With the first rule that is broken.
    pub fn check(&self, rules: &Rules, publisher: PublisherKind) -> Result<(), EventError> {
        rules.check_publisher(publisher)?;
        check_text("id", &self.id, MAX_ID_BYTES)?;
        check_text("source", &self.source, MAX_ATTRIBUTE_BYTES)?;
        check_text("type", &self.r#type, MAX_TYPE_BYTES)?;
        for (name, value) in [("subject", &self.subject), ("datacontenttype", &self.content_type)] {
            value.as_deref().map_or(Ok(()), |text| check_text(name, text, MAX_ATTRIBUTE_BYTES))?;
        }
        check_extensions(&self.extensions)?;
        let (size, limit) = (self.data.bytes().len(), rules.settings.max_event_bytes);
        if size as i64 > limit {
            let message =
                format!("data has {size} bytes; the limit of this namespace (maxEventBytes) is {limit}");
            return Err(EventError { code: Code::TooLarge, message });
        }
        rules.schemas().check(&self.r#type, &self.data)
    }

    /// Two events of one `(channel, source, id)` with the same digest are the same event, published twice.
    ///
    /// `time` is left out: a publisher that tries again may stamp its message anew.
    pub fn digest(&self) -> [u8; 8] {
        let mut hash = blake3::Hasher::new();
        let kind = match self.data {
            Data::None => b"none",
            Data::Json(_) => b"json",
            Data::Binary(_) => b"byte",
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        for part in [
            kind,
            self.r#type.as_bytes(),
            text(&self.subject).as_bytes(),
            text(&self.content_type).as_bytes(),
        ] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(self.data.bytes());
        first_bytes(&hash)
    }

    /// The 16 bytes by which a repeat of this event is recognised within its project.
    pub fn identity(&self, project: ProjectId) -> [u8; 16] {
        let mut hash = blake3::Hasher::new();
        hash.update(&project.0.to_le_bytes());
        for part in [self.channel.as_str(), &self.source, &self.id] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        first_bytes(&hash)
    }
}

fn first_bytes<const N: usize>(hash: &blake3::Hasher) -> [u8; N] {
    let mut out = [0; N];
    hash.finalize_xof().fill(&mut out);
    out
}

fn check_text(name: &str, text: &str, limit: usize) -> Result<(), EventError> {
    if text.is_empty() {
        return Err(EventError::invalid(format!("{name} must not be empty")));
    }
    if text.len() > limit {
        return Err(EventError::invalid(format!(
            "{name} has {} bytes; at most {limit} are allowed",
            text.len()
        )));
    }
    // CloudEvents 1.0, "Type System": control characters are not allowed. A line break here would also break SSE.
    if text.chars().any(char::is_control) {
        return Err(EventError::invalid(format!("{name} must not hold control characters")));
    }
    Ok(())
}

fn check_extensions(extensions: &BTreeMap<String, Value>) -> Result<(), EventError> {
    if extensions.len() > MAX_EXTENSIONS {
        return Err(EventError::invalid(format!("more than {MAX_EXTENSIONS} extension attributes")));
    }
    for (name, value) in extensions {
        // CloudEvents 1.0, "Naming Conventions": lower-case letters and digits; 20 characters are advised.
        if name.is_empty()
            || name.len() > 64
            || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            let short: String = name.chars().take(80).collect();
            return Err(EventError::invalid(format!(
                "{short:?} is no attribute name: use `a-z` and `0-9`, at most 64"
            )));
        }
        match value {
            Value::String(text) => check_text(name, text, MAX_ATTRIBUTE_BYTES)?,
            Value::Number(_) | Value::Bool(_) => {}
            _ => return Err(EventError::invalid(format!("{name} must be a string, a number or a boolean"))),
        }
    }
    Ok(())
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The project it belongs to.
    pub project: ProjectId,
    /// The epoch of its position.
    pub epoch: Epoch,
    /// Its place in the project's total order.
    pub position: Position,
    /// Its number within the channel: 1, 2, 3 …
    pub sequence: i64,
    /// When it was stored; never earlier than that of the event before it.
    pub stored_at: DateTime<Utc>,
    /// The event as it was published.
    pub draft: Draft,
}

impl Event {
    /// The place right after this event.
    pub fn cursor(&self) -> Cursor {
        Cursor { project: self.project, epoch: self.epoch, position: self.position }
    }

    /// When it happened: as the publisher said, else when it was stored.
    pub fn time(&self) -> DateTime<Utc> {
        self.draft.time.unwrap_or(self.stored_at)
    }
}

/// Where a publication ended up: the answer to whoever published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The event's id, made where the publisher gave none.
    pub id: String,
    /// The channel.
    pub channel: String,
    /// Its number within the channel.
    pub sequence: i64,
    /// The place right after it.
    pub cursor: String,
    /// Whether it had been stored before; then this is the original's place.
    pub duplicate: bool,
}
