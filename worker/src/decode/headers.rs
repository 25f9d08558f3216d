//! CloudEvents attributes in AMQP headers, in all the forms there are.

use std::collections::BTreeMap;

use chrono::DateTime;
use nuncio_broker::Properties;
use nuncio_model::cloudevents::{Incoming, is_writable, write_time};
use serde_json::Value;

use crate::reason::{CONFLICTING_HEADERS, Rejection};

/// `ce-` is what RabbitMQ's world and the Python SDK send, and what Nuncio sends; `cloudEvents:` is that of the AMQP
/// binding of CloudEvents, and `cloudEvents_` its form for clients that cannot write a colon.
const PREFIXES: [&str; 4] = ["ce-", "ce_", "cloudevents:", "cloudevents_"];

/// The attribute that a header names, if it is one of CloudEvents.
fn attribute(header: &str) -> Option<String> {
    let prefix = PREFIXES
        .iter()
        .find(|prefix| header.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))?;
    Some(header[prefix.len()..].to_ascii_lowercase())
}

/// Reads the attributes of a CloudEvent in binary mode; `None` where no header names one.
pub(super) fn read(properties: &Properties) -> Result<Option<Incoming>, Rejection> {
    let mut attributes: BTreeMap<String, Value> = BTreeMap::new();
    for (header, value) in properties.headers() {
        let Some(name) = attribute(header) else { continue };
        let value = as_text_time(&name, value());
        match attributes.get(&name) {
            Some(other) if *other != value => return Err(disagree(&name)),
            _ => attributes.insert(name, value),
        };
    }
    if attributes.is_empty() {
        return Ok(None);
    }
    let mut incoming = Incoming::default();
    for (name, value) in attributes {
        if !value.is_null() {
            incoming.set(&name, value)?;
        }
    }
    incoming.require_cloudevent()?;
    // The properties that Nuncio takes for the same attributes of a plain message are one more form of them.
    check_form("id", incoming.id.as_deref(), properties.message_id())?;
    check_form("datacontenttype", incoming.content_type.as_deref(), properties.content_type())?;
    Ok(Some(incoming))
}

/// The AMQP binding of CloudEvents, and with it the Python SDK, writes the time as AMQP 1.0 does: in milliseconds since
/// 1970, which arrive here as an ordinary integer.
fn as_text_time(attribute: &str, value: Value) -> Value {
    let milliseconds = value.as_i64().filter(|_| attribute == "time");
    let time = milliseconds.and_then(DateTime::from_timestamp_millis).filter(|time| is_writable(*time));
    time.map_or(value, |time| Value::String(write_time(time)))
}

fn check_form(name: &str, header: Option<&str>, property: Option<&str>) -> Result<(), Rejection> {
    match (header, property) {
        (Some(header), Some(property)) if header != property => Err(disagree(name)),
        _ => Ok(()),
    }
}

fn disagree(name: &str) -> Rejection {
    let name: String = name.chars().take(64).collect();
    Rejection::new(CONFLICTING_HEADERS, format!("{name} is given in several forms, and they disagree"))
}
