//! Messages become events: plain ones, and CloudEvents in structured, batched and binary mode.
//!
//! Nothing here waits or asks anybody, and no message makes it panic: what cannot be an event is told why.

mod headers;
#[cfg(test)]
mod tests;

use chrono::DateTime;
use nuncio_broker::{MAX_HEADER_NESTING, Message, Properties};
use nuncio_model::cloudevents::{Incoming, is_writable};
use nuncio_model::event::EventError;
use nuncio_model::limits::MAX_BATCH_EVENTS;
use nuncio_model::{Channel, Draft, ids};
use serde_json::Value;

use crate::reason::{BAD_EVENT, Rejection, TOO_LARGE, UNSUPPORTED_ENCODING};

/// The source of an event whose publisher names none.
const DEFAULT_SOURCE: &str = "/amqp";

/// How a message says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One CloudEvent as a JSON object.
    Structured,
    /// CloudEvents as a JSON array.
    Batch,
    /// The body is the data; headers and properties say the rest.
    Body,
}

/// Reads the events of a message: one, but for a CloudEvents batch. They are not yet checked against the namespace.
///
/// `made_id` keeps an id that is made here, so that reading the same message again gives the same event.
///
/// # Errors
/// Where the message cannot be an event.
pub fn decode(message: &Message, made_id: &mut Option<String>) -> Result<Vec<Draft>, Rejection> {
    let channel = Channel::parse(&message.routing_key)?;
    check_headers(&message.properties)?;
    check_encoding(&message.properties)?;
    match form_of(&message.properties)? {
        Form::Body => Ok(vec![body(message, channel, made_id)?]),
        Form::Structured => {
            let mut incoming = Incoming::from_json(&message.body)?;
            incoming.require_cloudevent()?;
            keep_trace(&mut incoming, &message.properties);
            Ok(vec![incoming.into_draft(channel, DEFAULT_SOURCE)?])
        }
        Form::Batch => batch(message, &channel),
    }
}

/// Nothing can be said of headers that nobody could read.
fn check_headers(properties: &Properties) -> Result<(), Rejection> {
    if properties.are_too_deep() {
        let detail = format!("its headers are nested more than {MAX_HEADER_NESTING} deep, and were left out");
        return Err(Rejection::new(BAD_EVENT, detail));
    }
    Ok(())
}

/// A body that is compressed would be stored as bytes that no reader can make sense of.
///
/// Some clients put the character set here, which changes nothing: kombu (Celery) writes `utf-8` and `binary`.
fn check_encoding(properties: &Properties) -> Result<(), Rejection> {
    let encoding = properties.content_encoding().unwrap_or_default().to_ascii_lowercase();
    if matches!(&*encoding, "" | "identity" | "utf-8" | "utf8" | "us-ascii" | "binary") {
        return Ok(());
    }
    let detail = format!("content_encoding is {encoding:?}; publish the body as it is");
    Err(Rejection::new(UNSUPPORTED_ENCODING, detail))
}

fn form_of(properties: &Properties) -> Result<Form, Rejection> {
    const PREFIX: &str = "application/cloudevents";
    let Some(media_type) = properties.content_type() else { return Ok(Form::Body) };
    if !media_type.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        return Ok(Form::Body);
    }
    let essence = media_type.split(';').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    match &essence[PREFIX.len()..] {
        "+json" => Ok(Form::Structured),
        "-batch+json" => Ok(Form::Batch),
        other if other.starts_with(['+', '-']) || other.is_empty() => {
            let detail = format!("{essence} is not a form of CloudEvents that Nuncio reads; JSON is");
            Err(Rejection::new(BAD_EVENT, detail))
        }
        _ => Ok(Form::Body),
    }
}

fn body(message: &Message, channel: Channel, made_id: &mut Option<String>) -> Result<Draft, Rejection> {
    let properties = &message.properties;
    let mut incoming = match headers::read(properties)? {
        Some(cloudevent) => cloudevent,
        None => plain(properties)?,
    };
    let named = incoming.content_type.take();
    incoming.set_body(named.as_deref().or(properties.content_type()), &message.body);
    keep_trace(&mut incoming, properties);
    if incoming.id.is_none() {
        incoming.id = Some(made_id.get_or_insert_with(ids::unique_id).clone());
    }
    Ok(incoming.into_draft(channel, DEFAULT_SOURCE)?)
}

/// What the properties of an ordinary message say. Clients that cannot leave a property out leave it empty.
fn plain(properties: &Properties) -> Result<Incoming, EventError> {
    let text = |property: Option<&str>| property.filter(|text| !text.is_empty()).map(str::to_owned);
    let mut incoming = Incoming {
        id: text(properties.message_id()),
        source: text(properties.app_id()),
        r#type: text(properties.kind()),
        ..Incoming::default()
    };
    if let Some(subject) = properties.header("subject").filter(|subject| !subject.is_null()) {
        incoming.set("subject", subject)?;
    }
    if let Some(seconds) = properties.timestamp() {
        let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let time = time.filter(|time| is_writable(*time));
        let error =
            || EventError::invalid(format!("the timestamp {seconds} is no time in seconds since 1970"));
        incoming.time = Some(time.ok_or_else(error)?);
    }
    Ok(incoming)
}

fn batch(message: &Message, channel: &Channel) -> Result<Vec<Draft>, Rejection> {
    let items = Incoming::batch_from_json(&message.body)?;
    if items.is_empty() {
        return Err(Rejection::new(BAD_EVENT, "the batch holds no event"));
    }
    if items.len() > MAX_BATCH_EVENTS {
        let detail =
            format!("the batch holds {} events; at most {MAX_BATCH_EVENTS} are allowed", items.len());
        return Err(Rejection::new(TOO_LARGE, detail));
    }
    let drafts = items.into_iter().enumerate().map(|(index, item)| {
        item.and_then(|incoming| {
            incoming.require_cloudevent()?;
            incoming.into_draft(channel.clone(), DEFAULT_SOURCE)
        })
        .map_err(|error| Rejection::new(BAD_EVENT, format!("event {index} of the batch: {error}")))
    });
    drafts.collect()
}

/// Keeps the W3C trace context that came as an ordinary header, where the event itself names none.
fn keep_trace(incoming: &mut Incoming, properties: &Properties) {
    if let Some(Value::String(trace)) = properties.header("traceparent") {
        incoming.extensions.entry("traceparent".to_owned()).or_insert(Value::String(trace));
    }
}
