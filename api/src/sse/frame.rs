//! What goes over an event stream, byte by byte (HTML standard, section 9.2).
//!
//! Written by hand: a line break in a field would end the field, and with it the frame; nothing here can hold one.

use std::time::Duration;

use bytes::Bytes;
use nuncio_model::{Cursor, Event, cloudevents};
use serde::Serialize;

use crate::feed::Gap;

/// The first bytes of a stream: a comment, so that proxies pass the headers on, and when to come back.
pub(super) fn hello(reconnect: Duration) -> Bytes {
    format!(":\nretry: {}\n\n", reconnect.as_millis()).into()
}

#[derive(Serialize)]
struct Ready {
    cursor: String,
    recovered: bool,
    reason: Option<&'static str>,
}

/// The stream has begun here; `recovered` says that nothing is missing since the cursor that the client named.
pub(super) fn ready(out: &mut Vec<u8>, cursor: Cursor, recovered: bool, gap: Option<&Gap>) {
    let ready = Ready { cursor: cursor.to_string(), recovered, reason: gap.map(|gap| gap.reason.as_str()) };
    control(out, "nuncio.ready", Some(cursor), &ready);
}

#[derive(Serialize)]
struct Hole {
    reason: &'static str,
    from: Option<String>,
    to: String,
}

/// Events are missing.
pub(super) fn gap(out: &mut Vec<u8>, gap: &Gap) {
    let from = gap.from.map(|cursor| cursor.to_string());
    let hole = Hole { reason: gap.reason.as_str(), from, to: gap.to.to_string() };
    control(out, "nuncio.gap", None, &hole);
}

#[derive(Serialize)]
struct Goaway {
    reason: &'static str,
}

/// The stream ends and should be opened again, after the time in `retry:`.
pub(super) fn goaway(out: &mut Vec<u8>, reason: &'static str, reconnect: Duration) {
    out.extend_from_slice(format!("retry: {}\n", reconnect.as_millis()).as_bytes());
    control(out, "nuncio.goaway", None, &Goaway { reason });
}

/// A sign of life. With a place: a bare id, which moves an EventSource on without an event.
pub(super) fn beat(out: &mut Vec<u8>, moved_to: Option<Cursor>) {
    match moved_to {
        Some(cursor) => out.extend_from_slice(format!(":\nid: {cursor}\n\n").as_bytes()),
        None => out.extend_from_slice(b":\n\n"),
    }
}

/// An event, with its type as its name where the client asked for that.
pub(super) fn event(out: &mut Vec<u8>, event: &Event, typed: bool) {
    out.extend_from_slice(format!("id: {}\n", event.cursor()).as_bytes());
    if typed && may_be_a_name(&event.draft.r#type) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.draft.r#type.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    cloudevents::write(event, out);
    out.extend_from_slice(b"\n\n");
}

/// A publisher must not speak with Nuncio's voice, nor with that of EventSource itself, nor break out of the line.
fn may_be_a_name(text: &str) -> bool {
    !text.starts_with("nuncio.") && !matches!(text, "open" | "error") && !text.contains(['\r', '\n', '\0'])
}

fn control(out: &mut Vec<u8>, name: &str, id: Option<Cursor>, data: &impl Serialize) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    serde_json::to_writer(&mut *out, data).expect("these have a JSON form, and a Vec takes all");
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use nuncio_model::{Channel, Code, Data, Draft, ProjectId};

    use super::*;

    const CURSOR: Cursor = Cursor { project: ProjectId(1), epoch: 1, position: 7 };

    fn event_of_type(r#type: &str) -> Event {
        let draft = Draft {
            channel: Channel::parse("a").expect("a good name"),
            id: "1".to_owned(),
            source: "/s".to_owned(),
            r#type: r#type.to_owned(),
            subject: None,
            time: None,
            content_type: None,
            data: Data::Json(Bytes::from_static(b"{}")),
            extensions: Default::default(),
        };
        let stored_at = "2026-01-31T12:00:00Z".parse().expect("a time");
        Event { project: ProjectId(1), epoch: 1, position: 7, sequence: 1, stored_at, draft }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("frames are UTF-8")
    }

    #[test]
    fn an_event_is_one_frame_whatever_its_type() {
        for (r#type, named) in [("order", true), ("a\nid: x", false), ("nuncio.gap", false), ("error", false)]
        {
            let frame = text(|out| event(out, &event_of_type(r#type), true));
            assert_eq!(frame.contains("\nevent: "), named, "{frame}");
            assert_eq!(frame.matches("\n").count(), if named { 4 } else { 3 }, "{frame}");
            assert!(frame.starts_with(&format!("id: {CURSOR}\n")) && frame.ends_with("}\n\n"), "{frame}");
        }
        assert!(!text(|out| event(out, &event_of_type("order"), false)).contains("event:"));
    }

    #[test]
    fn control_events_have_names_of_their_own() {
        let hole = Gap { reason: Code::CursorExpired, from: None, to: CURSOR };
        assert_eq!(
            text(|out| ready(out, CURSOR, false, Some(&hole))),
            format!(
                "id: {CURSOR}\nevent: nuncio.ready\ndata: {{\"cursor\":\"{CURSOR}\",\"recovered\":false,\"reason\":\"CURSOR_EXPIRED\"}}\n\n"
            )
        );
        assert_eq!(
            text(|out| gap(out, &hole)),
            format!(
                "event: nuncio.gap\ndata: {{\"reason\":\"CURSOR_EXPIRED\",\"from\":null,\"to\":\"{CURSOR}\"}}\n\n"
            )
        );
        assert_eq!(text(|out| beat(out, Some(CURSOR))), format!(":\nid: {CURSOR}\n\n"));
    }
}
