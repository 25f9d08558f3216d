//! Reading a publish request: JSON, or CloudEvents over HTTP in its three forms (CloudEvents 1.0, HTTP binding).

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use nuncio_model::cloudevents::{Incoming, is_json_type};
use nuncio_model::event::EventError;
use nuncio_model::limits::MAX_BATCH_EVENTS;
use nuncio_model::{Channel, Code, Draft};
use percent_encoding::percent_decode;
use serde_json::Value;

use crate::error::ApiError;

/// The source of events that name none.
const SOURCE: &str = "/http";

/// The events of a request in their order, each good or bad.
pub(super) type Events = Vec<Result<Draft, EventError>>;

/// Reads the events of a request that was sent to `channel`, or to none: then each must name its own.
///
/// # Errors
/// Where the request as a whole cannot be read; what is wrong with single events is in the result.
pub(super) fn read(headers: &HeaderMap, body: &Bytes, channel: Option<&Channel>) -> Result<Events, ApiError> {
    let incoming = incoming(headers, body)?;
    if incoming.len() > MAX_BATCH_EVENTS {
        let detail =
            format!("the request holds {} events; at most {MAX_BATCH_EVENTS} are taken", incoming.len());
        return Err(ApiError::new(Code::TooLarge, detail));
    }
    Ok(incoming.into_iter().map(|event| into_draft(event?, channel)).collect())
}

fn incoming(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Result<Incoming, EventError>>, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence =
        content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents-batch+json" => Ok(must_be_cloudevents(Incoming::batch_from_json(body)?)),
        "application/cloudevents+json" => Ok(must_be_cloudevents(vec![Incoming::from_json(body)])),
        _ if essence.starts_with("application/cloudevents") => {
            Err(unsupported("CloudEvents are taken as JSON"))
        }
        _ if headers.contains_key("ce-specversion") => Ok(vec![binary(headers, content_type, body)]),
        _ if essence.is_empty() || is_json_type(&essence) => json(body),
        _ => {
            Err(unsupported("send application/json, or CloudEvents over HTTP (binary, structured or batch)"))
        }
    }
}

/// An event, or an array of them.
fn json(body: &Bytes) -> Result<Vec<Result<Incoming, EventError>>, ApiError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        Ok(Incoming::batch_from_json(body)?)
    } else {
        Ok(vec![Incoming::from_json(body)])
    }
}

/// What says it is a CloudEvent must keep the rules of CloudEvents; the shorter form is for `application/json`.
fn must_be_cloudevents(events: Vec<Result<Incoming, EventError>>) -> Vec<Result<Incoming, EventError>> {
    let check = |event: Incoming| event.require_cloudevent().map(|()| event);
    events.into_iter().map(|event| event.and_then(check)).collect()
}

/// Binary mode: the attributes are headers `ce-…`, the body is the data.
fn binary(headers: &HeaderMap, content_type: Option<&str>, body: &Bytes) -> Result<Incoming, EventError> {
    let mut event = Incoming::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        if headers.get_all(format!("ce-{name}")).iter().nth(1).is_some() {
            return Err(EventError::invalid(format!("the header ce-{name} is given twice")));
        }
        // CloudEvents 1.0, HTTP binding, section 3.1.3.2: header values are percent-encoded UTF-8.
        let text = percent_decode(value.as_bytes()).decode_utf8();
        let text = text.map_err(|_| EventError::invalid(format!("the header ce-{name} is not UTF-8")))?;
        event.set(name, Value::String(text.into_owned()))?;
    }
    event.set_body(content_type, body);
    event.require_cloudevent()?;
    Ok(event)
}

fn into_draft(event: Incoming, channel: Option<&Channel>) -> Result<Draft, EventError> {
    let channel = match (channel, &event.channel) {
        (Some(channel), _) => channel.clone(),
        (None, Some(named)) => Channel::parse(named)?,
        (None, None) => return Err(EventError::invalid("the event names no channel")),
    };
    event.into_draft(channel, SOURCE)
}

fn unsupported(detail: &str) -> ApiError {
    ApiError::invalid(detail).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn read_all(headers: &[(&'static str, &'static str)], body: &'static str) -> Events {
        let pairs = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        let channel = Channel::parse("orders").expect("a good name");
        read(&pairs.collect(), &Bytes::from_static(body.as_bytes()), Some(&channel)).expect("readable")
    }

    #[test]
    fn the_three_forms_of_cloudevents_mean_the_same() {
        let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"é","x":"y","datacontenttype":"application/json","data":{"a":1}}"#;
        let structured = read_all(&[("content-type", "application/cloudevents+json; charset=utf-8")], json);
        let batch: &str = Box::leak(format!("[{json}]").into_boxed_str());
        assert_eq!(structured, read_all(&[("content-type", "application/cloudevents-batch+json")], batch));
        let binary = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-subject", "%C3%A9"),
            ("ce-x", "y"),
        ];
        assert_eq!(structured, read_all(&binary, r#"{"a": 1}"#));
        assert!(structured[0].is_ok());
    }

    #[test]
    fn each_bad_event_is_told_by_itself() {
        let events = read_all(&[], r#"[{"data":1},{"id":""},7,{"channel":"other"},{"type":4}]"#);
        assert_eq!(events.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, false, false]);
        let lacking = read_all(&[("content-type", "application/cloudevents+json")], r#"{"data":1}"#);
        assert!(lacking[0].as_ref().is_err_and(|error| error.message.contains("specversion")));
    }
}
