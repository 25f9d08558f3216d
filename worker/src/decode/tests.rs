//! Every form a message may have, and what becomes of it.

use bytes::Bytes;
use nuncio_broker::{Message, Properties};
use nuncio_model::{Data, Draft};
use serde_json::{Value, json};

use super::decode;
use crate::reason::Rejection;

fn message(properties: Properties, body: &str) -> Message {
    let (routing_key, body) = ("orders.eu".to_owned(), Bytes::from(body.to_owned()));
    Message { routing_key, properties, body, ..Message::default() }
}

fn with_headers(headers: Value) -> Properties {
    let headers = headers.as_object().expect("a table of headers").clone();
    headers.iter().fold(Properties::default(), |properties, (name, value)| {
        properties.with_header(name, value).expect("a short name")
    })
}

fn with_type(media_type: &str) -> Properties {
    Properties::default().with_content_type(media_type).expect("a short text")
}

fn one(message: &Message) -> Result<Draft, Rejection> {
    let mut drafts = decode(message, &mut None)?;
    assert_eq!(drafts.len(), 1);
    Ok(drafts.remove(0))
}

fn reason(message: &Message) -> &'static str {
    decode(message, &mut None).expect_err("no event").reason
}

#[test]
fn a_plain_message_is_an_event() {
    let properties = with_headers(json!({"subject": "o-1", "traceparent": "00-1-2-01", "other": [1]}));
    let properties = properties
        .with_message_id("m-1")
        .and_then(|p| p.with_type("order.made"))
        .and_then(|p| p.with_app_id("/shop"))
        .and_then(|p| p.with_content_type("application/json"))
        .expect("short texts")
        .with_timestamp(1_700_000_000);
    let draft = one(&message(properties, "{ \"n\": 1 }")).expect("an event");
    assert_eq!((draft.channel.as_str(), draft.id.as_str()), ("orders.eu", "m-1"));
    assert_eq!((draft.r#type.as_str(), draft.source.as_str()), ("order.made", "/shop"));
    assert_eq!(draft.subject.as_deref(), Some("o-1"));
    assert_eq!(draft.time.map(|time| time.timestamp()), Some(1_700_000_000));
    assert_eq!(draft.data, Data::Json(Bytes::from_static(b"{\"n\":1}")));
    assert_eq!(draft.extensions, [("traceparent".to_owned(), json!("00-1-2-01"))].into());
}

#[test]
fn what_a_plain_message_leaves_out_is_filled_in_and_stays_so() {
    let bare = message(Properties::default(), "not JSON");
    let mut made_id = None;
    let first = decode(&bare, &mut made_id).expect("an event");
    let again = decode(&bare, &mut made_id).expect("an event");
    assert_eq!(first, again);
    assert_eq!((first[0].r#type.as_str(), first[0].source.as_str()), ("message", "/amqp"));
    assert_eq!(first[0].data, Data::Binary(Bytes::from_static(b"not JSON")));
    let empty = Properties::default().with_message_id("").and_then(|p| p.with_type("")).expect("short texts");
    assert_eq!(
        one(&message(empty, "")).map(|draft| (draft.r#type, draft.data)),
        Ok(("message".into(), Data::None))
    );
}

/// Every event of the Python SDK's AMQP binding became a dead letter, because its time is a number.
#[test]
fn a_time_in_milliseconds_is_a_time() {
    let event = |time: i64| {
        let headers = json!({"cloudEvents_specversion": "1.0", "cloudEvents_id": "1", "cloudEvents_source": "/s",
            "cloudEvents_type": "t", "cloudEvents_time": time});
        message(with_headers(headers), "1")
    };
    let draft = one(&event(1_700_000_000_123)).expect("an event");
    assert_eq!(draft.time.map(|time| time.timestamp_millis()), Some(1_700_000_000_123));
    assert_eq!(reason(&event(i64::MAX)), "bad_event");
}

#[test]
fn binary_cloudevents_are_read_in_every_form() {
    for prefix in ["ce-", "ce_", "cloudEvents:", "cloudEvents_", "CE-", "CLOUDEVENTS:"] {
        let header = |name: &str| format!("{prefix}{name}");
        let headers = json!({
            header("specversion"): "1.0", header("id"): "c-1", header("source"): "/s", header("type"): "t",
            header("Subject"): "x", header("time"): "2026-01-31T12:00:00Z", header("n"): 7, "unrelated": {"a": 1},
        });
        let properties = with_headers(headers).with_content_type("text/plain").expect("a short text");
        let draft = one(&message(properties, "hello")).expect(prefix);
        assert_eq!(
            (draft.id.as_str(), draft.source.as_str(), draft.r#type.as_str()),
            ("c-1", "/s", "t"),
            "{prefix}"
        );
        assert_eq!(
            (draft.subject.as_deref(), draft.extensions["n"].clone()),
            (Some("x"), json!(7)),
            "{prefix}"
        );
        assert_eq!(draft.content_type.as_deref(), Some("text/plain"));
        assert_eq!(draft.data, Data::Binary(Bytes::from_static(b"hello")));
    }
}

#[test]
fn forms_that_disagree_are_no_event() {
    let event = |more: Value| {
        let mut headers = json!({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"});
        headers.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        with_headers(headers)
    };
    assert!(one(&message(event(json!({"ce_id": "1", "cloudEvents:id": "1"})), "1")).is_ok());
    assert_eq!(reason(&message(event(json!({"ce_id": "2"})), "1")), "conflicting_headers");
    assert_eq!(reason(&message(event(json!({"CE-TYPE": "u"})), "1")), "conflicting_headers");
    let property = event(json!({})).with_message_id("2").expect("a short text");
    assert_eq!(reason(&message(property, "1")), "conflicting_headers");
    let media_type = event(json!({"ce-datacontenttype": "text/plain"}));
    let media_type = media_type.with_content_type("application/json").expect("a short text");
    assert_eq!(reason(&message(media_type, "1")), "conflicting_headers");
}

#[test]
fn structured_cloudevents_are_read() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1, 2]}"#;
    let draft =
        one(&message(with_type("Application/CloudEvents+JSON; charset=utf-8"), text)).expect("an event");
    assert_eq!(draft.data, Data::Json(Bytes::from_static(b"[1,2]")));
    let batch = format!("[{text},{}]", text.replace(r#""1""#, r#""2""#));
    let drafts = decode(&message(with_type("application/cloudevents-batch+json"), &batch), &mut None);
    let ids: Vec<String> = drafts.expect("two events").into_iter().map(|draft| draft.id).collect();
    assert_eq!(ids, ["1", "2"]);
}

#[test]
fn what_cannot_be_an_event_is_told_why() {
    let plain = Properties::default;
    let keyed = |key: &str| Message { routing_key: key.to_owned(), ..message(plain(), "1") };
    for key in ["", "#", "*", "../", "a..b", "$system.x", "\u{202e}", &"x".repeat(255), "a\0"] {
        assert_eq!(reason(&keyed(key)), "bad_channel", "{key}");
    }
    let gzip = plain().with_content_encoding("gzip").expect("a short text");
    let huge = format!("[{}]", vec!["1"; 1_001].join(","));
    let deep = "[".repeat(10_000);
    for (properties, body, expected) in [
        (gzip, "1", "unsupported_encoding"),
        (with_type("application/cloudevents+avro"), "1", "bad_event"),
        (with_type("application/cloudevents+json"), "{}", "bad_event"),
        (with_type("application/cloudevents+json"), "{", "bad_event"),
        (with_type("application/cloudevents+json"), &*deep, "bad_event"),
        (with_type("application/cloudevents-batch+json"), "[]", "bad_event"),
        (with_type("application/cloudevents-batch+json"), &*huge, "too_large"),
        (with_type("application/cloudevents-batch+json"), "[{}]", "bad_event"),
        (with_headers(json!({"ce-id": "1"})), "1", "bad_event"),
        (with_headers(json!({"ce-specversion": "1.0", "ce-source": "/s", "ce-type": "t"})), "1", "bad_event"),
        (
            with_headers(json!({"ce-specversion": "1.0", "ce-id": 7, "ce-source": "/s", "ce-type": "t"})),
            "1",
            "bad_event",
        ),
        (with_headers(json!({"subject": {"a": []}})), "1", "bad_event"),
        (plain().with_timestamp(u64::MAX), "1", "bad_event"),
        (plain().with_timestamp(1_700_000_000_000), "1", "bad_event"),
    ] {
        assert_eq!(reason(&message(properties.clone(), body)), expected, "{properties:?} {body:.80}");
    }
}

#[test]
fn hostile_bodies_are_kept_as_they_came() {
    for body in ["{\"a\":\"\\u0000\"}", "1e400", &"9".repeat(100), "{\"a\":1,\"a\":2}"] {
        let draft = one(&message(with_type("application/json"), body)).expect("an event");
        assert_eq!(draft.data, Data::Json(Bytes::from(body.to_owned())));
    }
    for body in ["\"\\ud800\"", &"[".repeat(10_000), "nul"] {
        let draft = one(&message(with_type("application/json"), body)).expect("an event");
        assert_eq!(draft.data, Data::Binary(Bytes::from(body.to_owned())));
    }
}
