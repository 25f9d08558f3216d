//! CloudEvents 1.0: reading publications in every form they come in, and the JSON form events are sent in.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::EventError;
use crate::json::{MAX_DEPTH, compact, compact_within, push_string};
use crate::{Channel, Data, Draft, Event, ids};

/// Attributes that Nuncio itself writes; a publisher's are left out, so that what was received can be published again.
const OWN: [&str; 2] = ["sequence", "cursor"];

/// A publication on its way in, gathered from a JSON object, from headers or from message properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// The channel that the event itself names.
    pub channel: Option<String>,
    /// CloudEvents `specversion`; where it stands, the rules of CloudEvents hold.
    pub specversion: Option<String>,
    /// CloudEvents `id`.
    pub id: Option<String>,
    /// CloudEvents `source`.
    pub source: Option<String>,
    /// CloudEvents `type`.
    pub r#type: Option<String>,
    /// CloudEvents `subject`.
    pub subject: Option<String>,
    /// CloudEvents `time`.
    pub time: Option<DateTime<Utc>>,
    /// CloudEvents `datacontenttype`.
    pub content_type: Option<String>,
    /// The payload.
    pub data: Data,
    /// All other attributes.
    pub extensions: BTreeMap<String, Value>,
}

impl Incoming {
    /// Reads one JSON object: a CloudEvent in structured mode, or the shorter form in which all is optional.
    ///
    /// # Errors
    /// Where the text is not such an object.
    pub fn from_json(text: &Bytes) -> Result<Self, EventError> {
        let text = compact_within(text, MAX_DEPTH + 1)
            .map_err(|error| EventError::invalid(format!("the event {error}")))?;
        Self::from_compact(&text)
    }

    /// Reads an array of such objects; each has its own result, so that the answer can name each bad one.
    ///
    /// # Errors
    /// Where the text is no JSON array.
    pub fn batch_from_json(text: &Bytes) -> Result<Vec<Result<Self, EventError>>, EventError> {
        let text = compact_within(text, MAX_DEPTH + 2)
            .map_err(|error| EventError::invalid(format!("the batch {error}")))?;
        let items: Vec<&RawValue> = serde_json::from_slice(&text)
            .map_err(|_| EventError::invalid("a batch is a JSON array of events"))?;
        Ok(items.into_iter().map(|item| Self::from_compact(&text.slice_ref(item.get().as_bytes()))).collect())
    }

    fn from_compact(text: &Bytes) -> Result<Self, EventError> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(text).map_err(|_| EventError::invalid("an event is a JSON object"))?;
        let mut incoming = Self::default();
        let mut has_data = false;
        for (name, raw) in members {
            let is_data = matches!(name.as_str(), "data" | "data_base64") && raw.get() != "null";
            if is_data && std::mem::replace(&mut has_data, true) {
                return Err(EventError::invalid("data and data_base64 exclude each other"));
            }
            match name.as_str() {
                "data" if is_data => incoming.data = Data::Json(text.slice_ref(raw.get().as_bytes())),
                "data_base64" if is_data => incoming.data = Data::Binary(read_base64(raw)?),
                _ if raw.get() == "null" => {}
                _ => {
                    let value = serde_json::from_str(raw.get())
                        .map_err(|_| EventError::invalid(format!("{name} is out of range")))?;
                    incoming.set(&name, value)?;
                }
            }
        }
        Ok(incoming)
    }

    /// Sets one attribute by its CloudEvents name (or `channel`).
    ///
    /// # Errors
    /// Where a core attribute is not a string, or `time` is not RFC 3339.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), EventError> {
        let place = match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.r#type,
            "subject" => &mut self.subject,
            "datacontenttype" => &mut self.content_type,
            "channel" => &mut self.channel,
            "time" => {
                self.time = Some(read_time(&value)?);
                return Ok(());
            }
            _ if OWN.contains(&name) => return Ok(()),
            _ => {
                self.extensions.insert(name.to_owned(), value);
                return Ok(());
            }
        };
        let Value::String(text) = value else {
            return Err(EventError::invalid(format!("{name} must be a string")));
        };
        *place = Some(text);
        Ok(())
    }

    /// Takes a body that carries the data alone: JSON where its type says so, or says nothing and it is JSON; else bytes.
    pub fn set_body(&mut self, content_type: Option<&str>, body: &Bytes) {
        let json = content_type.is_none_or(is_json_type);
        self.content_type = content_type.map(str::to_owned);
        self.data = match compact(body) {
            _ if body.is_empty() => Data::None,
            Ok(text) if json => Data::Json(text),
            _ => Data::Binary(body.clone()),
        };
    }

    /// What CloudEvents asks for: `specversion` 1.0, and an `id`, a `source` and a `type`.
    ///
    /// # Errors
    /// With the first that is missing or wrong.
    pub fn require_cloudevent(&self) -> Result<(), EventError> {
        match self.specversion.as_deref() {
            Some("1.0") => {}
            Some(other) => {
                let other: String = other.chars().take(20).collect();
                return Err(EventError::invalid(format!(
                    "specversion is {other:?}; 1.0 is what Nuncio reads"
                )));
            }
            None => return Err(EventError::invalid("a CloudEvent needs specversion")),
        }
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.r#type)] {
            if value.is_none() {
                return Err(EventError::invalid(format!("a CloudEvent needs {name}")));
            }
        }
        Ok(())
    }

    /// Fills in what is missing: an id, the type `message`, and the source of the way it came.
    ///
    /// # Errors
    /// Where the event says `specversion` and breaks the rules of CloudEvents, or names another channel.
    pub fn into_draft(self, channel: Channel, default_source: &str) -> Result<Draft, EventError> {
        if self.specversion.is_some() {
            self.require_cloudevent()?;
        }
        if self.channel.as_deref().is_some_and(|named| named != channel.as_str()) {
            return Err(EventError::invalid(format!(
                "the event names another channel than {channel}, where it was sent"
            )));
        }
        Ok(Draft {
            channel,
            id: self.id.unwrap_or_else(ids::unique_id),
            source: self.source.unwrap_or_else(|| default_source.to_owned()),
            r#type: self.r#type.unwrap_or_else(|| "message".to_owned()),
            subject: self.subject,
            time: self.time,
            content_type: self.content_type,
            data: self.data,
            extensions: self.extensions,
        })
    }
}

/// Whether a media type means JSON: `application/json`, `text/json`, or any with the suffix `+json` (RFC 6839).
pub fn is_json_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Reads an RFC 3339 time between the years 1 and 9999.
///
/// # Errors
/// Where the value is no such text.
pub fn read_time(value: &Value) -> Result<DateTime<Utc>, EventError> {
    value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|time| time.with_timezone(&Utc))
        .filter(|time| is_writable(*time))
        .ok_or_else(|| EventError::invalid("time must be RFC 3339, like 2026-01-31T12:00:00Z"))
}

/// Whether the time can be written in RFC 3339, which ends with the year 9999.
pub fn is_writable(time: DateTime<Utc>) -> bool {
    use chrono::Datelike;
    (1..=9999).contains(&time.year())
}

/// The form in which Nuncio writes times.
pub fn write_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn read_base64(raw: &RawValue) -> Result<Bytes, EventError> {
    serde_json::from_str::<String>(raw.get())
        .ok()
        .and_then(|text| BASE64.decode(text).ok())
        .map(Bytes::from)
        .ok_or_else(|| EventError::invalid("data_base64 must be a string of base64 (RFC 4648, section 4)"))
}

/// Appends the event as CloudEvents JSON with `channel`, `sequence` and `cursor`: one line, without a line break.
pub fn write(event: &Event, out: &mut Vec<u8>) {
    let draft = &event.draft;
    out.extend_from_slice(br#"{"specversion":"1.0""#);
    push_member(out, "id", &draft.id);
    push_member(out, "source", &draft.source);
    push_member(out, "type", &draft.r#type);
    if let Some(subject) = &draft.subject {
        push_member(out, "subject", subject);
    }
    push_member(out, "time", &write_time(event.time()));
    if let Some(content_type) = &draft.content_type {
        push_member(out, "datacontenttype", content_type);
    }
    push_member(out, "channel", draft.channel.as_str());
    push_member(out, "sequence", &event.sequence.to_string());
    push_member(out, "cursor", &event.cursor().to_string());
    for (name, value) in &draft.extensions {
        push_name(out, name);
        serde_json::to_writer(&mut *out, value).expect("a JSON value always prints, and a Vec takes all");
    }
    match &draft.data {
        Data::None => {}
        Data::Json(text) => {
            push_name(out, "data");
            out.extend_from_slice(text);
        }
        Data::Binary(bytes) => push_member(out, "data_base64", &BASE64.encode(bytes)),
    }
    out.push(b'}');
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
}

fn push_member(out: &mut Vec<u8>, name: &str, value: &str) {
    push_name(out, name);
    push_string(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProjectId, PublisherKind, Rules};

    fn incoming(text: &str) -> Result<Incoming, EventError> {
        Incoming::from_json(&Bytes::from(text.to_owned()))
    }

    fn draft(text: &str) -> Result<Draft, EventError> {
        incoming(text)?.into_draft(Channel::parse("orders.eu")?, "/http")
    }

    #[test]
    fn what_was_received_can_be_published_again_unchanged() {
        let first = draft(
            r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","time":"2026-01-31T12:00:00.5Z",
               "subject":"x","traceparent":"00-1-2-00","data":{"n": 1e400}}"#,
        )
        .expect("a good CloudEvent");
        let stored_at = "2026-02-01T00:00:00Z".parse().expect("a time");
        let event = Event {
            project: ProjectId(1),
            epoch: 1,
            position: 7,
            sequence: 3,
            stored_at,
            draft: first.clone(),
        };
        let mut sent = Vec::new();
        write(&event, &mut sent);
        let sent = String::from_utf8(sent).expect("JSON is UTF-8");
        assert_eq!(
            sent,
            format!(
                r#"{{"specversion":"1.0","id":"a","source":"/s","type":"t","subject":"x","time":"2026-01-31T12:00:00.500Z","channel":"orders.eu","sequence":"3","cursor":"{}","traceparent":"00-1-2-00","data":{{"n":1e400}}}}"#,
                event.cursor()
            )
        );
        assert_eq!(draft(&sent).expect("what Nuncio sends, it reads"), first);
    }

    #[test]
    fn data_may_nest_as_deep_in_an_event_as_alone() {
        let nested = |depth| format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(draft(&nested(MAX_DEPTH)).is_ok() && draft(&nested(MAX_DEPTH + 1)).is_err());
        let batch = Bytes::from(format!("[{}]", nested(MAX_DEPTH)));
        assert!(Incoming::batch_from_json(&batch).expect("a batch")[0].is_ok());
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        let draft = draft(r#"{"data":null}"#).expect("all is optional");
        assert_eq!(
            (draft.r#type.as_str(), draft.source.as_str(), &draft.data),
            ("message", "/http", &Data::None)
        );
        assert_eq!(draft.id.len(), 36);
        assert_eq!(draft.check(&Rules::default(), PublisherKind::Keys), Ok(()));
    }

    #[test]
    fn a_bad_event_is_told_what_to_mend() {
        for (text, part) in [
            (r#"[]"#, "JSON object"),
            (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "needs id"),
            (r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "1.0 is what"),
            (r#"{"id":7}"#, "id must be a string"),
            (r#"{"id":""}"#, "id must not be empty"),
            (r#"{"type":"a\nb"}"#, "control"),
            (r#"{"type":"a\u0000b"}"#, "control"),
            (r#"{"time":"yesterday"}"#, "RFC 3339"),
            (r#"{"time":"+99999-01-01T00:00:00Z"}"#, "RFC 3339"),
            (r#"{"Data":1}"#, "attribute name"),
            (r#"{"ext":[1]}"#, "string, a number"),
            (r#"{"ext":1e400}"#, "out of range"),
            (r#"{"data":1,"data_base64":"AA=="}"#, "exclude"),
            (r#"{"data_base64":"%"}"#, "base64"),
            (r#"{"channel":"other"}"#, "another channel"),
        ] {
            let error =
                draft(text).and_then(|d| d.check(&Rules::default(), PublisherKind::Keys)).expect_err(text);
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_body_is_json_where_its_type_allows_and_it_parses() {
        let body = |content_type: Option<&str>, body: &'static str| {
            let mut incoming = Incoming::default();
            incoming.set_body(content_type, &Bytes::from_static(body.as_bytes()));
            incoming.data
        };
        let json = Data::Json(Bytes::from_static(b"{}"));
        assert_eq!(body(None, "{ }"), json);
        assert_eq!(body(Some("application/vnd.x+json; charset=utf-8"), "{}"), json);
        assert_eq!(body(Some("text/plain"), "{}"), Data::Binary(Bytes::from_static(b"{}")));
        assert_eq!(body(Some("application/json"), "{"), Data::Binary(Bytes::from_static(b"{")));
        assert_eq!(body(Some("application/json"), ""), Data::None);
    }
}
