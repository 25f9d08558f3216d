//! A wake on the wire: `length of the header (u32, big-endian) · header (JSON) · the data of all events, end to end`.
//!
//! Payloads are neither parsed nor copied on receipt: each event's data is a slice of the frame. The header has short
//! keys because there is one of each per event.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use nuncio_model::{Channel, Data, Draft, Epoch, Event, Position, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Wake;

/// The largest frame; beyond it, the events are left to be read from the log.
pub(super) const MAX_FRAME_BYTES: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    project: ProjectId,
    epoch: Epoch,
    first: Position,
    last: Position,
    #[serde(borrow)]
    events: Vec<Item<'a>>,
}

/// One event. Its position follows from `first` and its place in the list.
#[derive(Serialize, Deserialize)]
struct Item<'a> {
    #[serde(rename = "c", borrow)]
    channel: Text<'a>,
    #[serde(rename = "q")]
    sequence: i64,
    #[serde(rename = "i", borrow)]
    id: Text<'a>,
    #[serde(rename = "s", borrow)]
    source: Text<'a>,
    #[serde(rename = "t", borrow)]
    r#type: Text<'a>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none", borrow)]
    subject: Option<Text<'a>>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none", with = "nanoseconds")]
    time: Option<DateTime<Utc>>,
    #[serde(rename = "a", with = "chrono::serde::ts_microseconds")]
    stored_at: DateTime<Utc>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none", borrow)]
    content_type: Option<Text<'a>>,
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    extensions: BTreeMap<String, Value>,
    #[serde(rename = "k")]
    kind: Kind,
    #[serde(rename = "n")]
    length: usize,
}

/// A text that is borrowed wherever it holds no escapes.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    None,
    Json,
    Binary,
}

/// Times at both ends of RFC 3339 do not fit into 64 bits of nanoseconds, so seconds and nanoseconds go apart.
mod nanoseconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        time: &Option<DateTime<Utc>>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| (time.timestamp(), time.timestamp_subsec_nanos())).serialize(out)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        input: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        let parts: Option<(i64, u32)> = Deserialize::deserialize(input)?;
        parts
            .map(|(s, n)| {
                DateTime::from_timestamp(s, n).ok_or_else(|| serde::de::Error::custom("no such time"))
            })
            .transpose()
    }
}

/// Writes a wake; without its events where they would make the frame larger than [`MAX_FRAME_BYTES`].
pub(super) fn encode(wake: &Wake) -> Bytes {
    let data: usize = wake.events.iter().map(|event| event.draft.data.bytes().len()).sum();
    if data <= MAX_FRAME_BYTES {
        let frame = write(wake, &wake.events, data);
        if frame.len() <= MAX_FRAME_BYTES {
            return frame;
        }
    }
    write(wake, &[], 0)
}

fn write(wake: &Wake, events: &[Arc<Event>], data: usize) -> Bytes {
    let events = events.iter().map(|event| Item::of(event)).collect();
    let Wake { project, epoch, first, last, .. } = *wake;
    let header = Header { project, epoch, first, last, events };
    let header = serde_json::to_vec(&header).expect("the header has text keys only, and a Vec takes all");
    let mut frame = BytesMut::with_capacity(4 + header.len() + data);
    frame.put_u32(
        u32::try_from(header.len()).expect("a batch of events has far less than 4 GiB of attributes"),
    );
    frame.put_slice(&header);
    if data > 0 {
        wake.events.iter().for_each(|event| frame.put_slice(event.draft.data.bytes()));
    }
    frame.freeze()
}

/// Reads a frame; `None` where it is none, such as one of a later version of Nuncio.
pub(super) fn decode(frame: &Bytes) -> Option<Wake> {
    let (length, rest) = frame.split_first_chunk::<4>()?;
    let (header, mut data) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let header: Header<'_> = serde_json::from_slice(header).ok()?;
    let Header { project, epoch, first, last, events: items } = header;
    let mut events = Vec::with_capacity(items.len());
    for (position, item) in (first..).zip(items) {
        let (own, others) = data.split_at_checked(item.length)?;
        data = others;
        let draft = item.draft(frame.slice_ref(own));
        let Item { sequence, stored_at, .. } = item;
        events.push(Arc::new(Event { project, epoch, position, sequence, stored_at, draft: draft? }));
    }
    let complete = events.is_empty() || events.last().is_some_and(|event| event.position == last);
    (complete && data.is_empty()).then_some(Wake { project, epoch, first, last, events })
}

impl<'a> Item<'a> {
    fn of(event: &'a Event) -> Self {
        let draft = &event.draft;
        let text = |text: &'a str| Text(text.into());
        Self {
            channel: text(draft.channel.as_str()),
            sequence: event.sequence,
            id: text(&draft.id),
            source: text(&draft.source),
            r#type: text(&draft.r#type),
            subject: draft.subject.as_deref().map(text),
            time: draft.time,
            stored_at: event.stored_at,
            content_type: draft.content_type.as_deref().map(text),
            extensions: draft.extensions.clone(),
            kind: match draft.data {
                Data::None => Kind::None,
                Data::Json(_) => Kind::Json,
                Data::Binary(_) => Kind::Binary,
            },
            length: draft.data.bytes().len(),
        }
    }

    fn draft(&self, data: Bytes) -> Option<Draft> {
        let text = |text: &Text<'_>| text.0.clone().into_owned();
        Some(Draft {
            channel: Channel::parse_any(&self.channel.0).ok()?,
            id: text(&self.id),
            source: text(&self.source),
            r#type: text(&self.r#type),
            subject: self.subject.as_ref().map(text),
            time: self.time,
            content_type: self.content_type.as_ref().map(text),
            data: match self.kind {
                Kind::None => Data::None,
                Kind::Json => Data::Json(data),
                Kind::Binary => Data::Binary(data),
            },
            extensions: self.extensions.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(position: Position, data: Data) -> Arc<Event> {
        let time = DateTime::parse_from_rfc3339("0001-01-01T00:00:00.123456789Z").expect("a time").to_utc();
        let draft = Draft {
            channel: Channel::parse("orders.eu").expect("a good name"),
            id: format!("id-{position}"),
            source: "/sou\"rce".to_owned(),
            r#type: "order.made".to_owned(),
            subject: Some("ä".to_owned()),
            time: Some(time),
            content_type: None,
            data,
            extensions: BTreeMap::from([("n".to_owned(), Value::from(7))]),
        };
        let stored_at = DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time");
        Arc::new(Event { project: ProjectId(3), epoch: 2, position, sequence: position, stored_at, draft })
    }

    #[test]
    fn what_is_written_is_read_back_to_the_byte() {
        let data = [
            Data::Json(Bytes::from_static(b"{\"n\":1e400}")),
            Data::None,
            Data::Binary(Bytes::from_static(b"\xff\x00")),
        ];
        let events = data.into_iter().zip(7..).map(|(data, position)| event(position, data)).collect();
        let wake = Wake::of(events).expect("there are events");
        assert_eq!(decode(&encode(&wake)), Some(wake));
    }

    #[test]
    fn too_large_a_wake_leaves_its_events_to_the_log() {
        let half = Data::Binary(vec![0; MAX_FRAME_BYTES / 2].into());
        let wake = Wake::of(vec![event(1, half.clone()), event(2, half)]).expect("there are events");
        let read = decode(&encode(&wake)).expect("a good frame");
        assert_eq!((read.first, read.last, read.events.len()), (1, 2, 0));
    }

    #[test]
    fn what_is_no_frame_is_refused_without_harm() {
        let good = encode(&Wake::of(vec![event(1, Data::None)]).expect("there are events"));
        for length in 0..good.len() {
            assert_eq!(decode(&good.slice(..length)), None);
        }
        assert_eq!(decode(&Bytes::from_static(b"\xff\xff\xff\xff{}")), None);
        assert_eq!(decode(&Bytes::from_static(b"\0\0\0\x02{}")), None);
    }
}
