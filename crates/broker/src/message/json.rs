//! Properties and headers as JSON: for people to read, to be kept in a table, and to be published again.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value, json};

use super::{NOT_UTF8, Properties};
use crate::Error;

/// How deep header tables are followed; what lies deeper is named, not shown.
const MAX_HEADER_DEPTH: usize = 32;

/// What the broker writes on a message that it delivers again or puts aside.
const JOURNEY_HEADERS: [&str; 8] = [
    "x-death",
    "x-delivery-count",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

impl Properties {
    /// All of it as a JSON object, for people to read; [`Properties::from_json`] reads it back.
    pub fn to_json(&self) -> Value {
        let texts = [
            ("contentType", self.0.content_type()),
            ("contentEncoding", self.0.content_encoding()),
            ("messageId", self.0.message_id()),
            ("appId", self.0.app_id()),
            ("type", self.0.kind()),
            ("correlationId", self.0.correlation_id()),
            ("replyTo", self.0.reply_to()),
            ("expiration", self.0.expiration()),
            ("userId", self.0.user_id()),
        ];
        let mut all = Map::new();
        for (name, text) in texts {
            all.extend(text.as_ref().map(|text| (name.to_owned(), json!(text.as_str()))));
        }
        all.extend(self.0.priority().map(|priority| ("priority".to_owned(), json!(priority))));
        all.extend(self.0.timestamp().map(|timestamp| ("timestamp".to_owned(), json!(timestamp))));
        if let Some(headers) = self.0.headers() {
            all.insert("headers".to_owned(), table_to_json(headers, 0));
        }
        Value::Object(all)
    }

    /// Reads what [`Properties::to_json`] wrote. Its JSON is the same again; the AMQP type of a header may be a wider
    /// one (every whole number has 64 bits), and what had no JSON form is what it was shown as.
    ///
    /// # Errors
    /// Where it is no such object, or a text has more than AMQP's 255 bytes.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        let members = value.as_object().ok_or_else(|| no_property("the properties"))?;
        let mut all = BasicProperties::default();
        for (name, value) in members {
            let text = || {
                let text = value.as_str().ok_or_else(|| no_property(name))?;
                ShortString::try_new(text).map_err(|_| no_property(name))
            };
            let number = || value.as_u64().ok_or_else(|| no_property(name));
            all = match name.as_str() {
                "contentType" => all.with_content_type(text()?),
                "contentEncoding" => all.with_content_encoding(text()?),
                "messageId" => all.with_message_id(text()?),
                "appId" => all.with_app_id(text()?),
                "type" => all.with_type(text()?),
                "correlationId" => all.with_correlation_id(text()?),
                "replyTo" => all.with_reply_to(text()?),
                "expiration" => all.with_expiration(text()?),
                "userId" => all.with_user_id(text()?),
                "priority" => all.with_priority(u8::try_from(number()?).map_err(|_| no_property(name))?),
                "timestamp" => all.with_timestamp(number()?),
                "headers" => {
                    all.with_headers(table_from_json(value.as_object().ok_or_else(|| no_property(name))?)?)
                }
                _ => return Err(no_property(name)),
            };
        }
        Ok(Self(all))
    }

    /// Reads what [`Properties::to_json`] wrote, for the message to be published again: without what the broker wrote
    /// on it, which would be taken for this journey's, and without `user_id`, which the broker takes from that user
    /// alone.
    ///
    /// # Errors
    /// As [`Properties::from_json`].
    pub fn for_another_journey(written: &Value) -> Result<Self, Error> {
        let mut written = written.clone();
        if let Some(all) = written.as_object_mut() {
            all.remove("userId");
        }
        if let Some(headers) = written.get_mut("headers").and_then(Value::as_object_mut) {
            headers.retain(|name, _| !JOURNEY_HEADERS.contains(&name.as_str()));
        }
        Self::from_json(&written)
    }
}

fn no_property(name: &str) -> Error {
    Error::NoProperty { name: name.to_owned() }
}

pub(super) fn short_name(name: &str) -> Result<ShortString, Error> {
    ShortString::try_new(name).map_err(|_| Error::Property { name: "header name" })
}

/// A header value as JSON. What has no JSON form of its own (bytes, NaN) becomes an object or a text that says so; a
/// time becomes RFC 3339.
pub(super) fn to_json(value: &AMQPValue, depth: usize) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Float(value) => float(f64::from(*value)),
        AMQPValue::Double(value) => float(*value),
        AMQPValue::DecimalValue(decimal) => json!(format!("{}e-{}", decimal.value, decimal.scale)),
        AMQPValue::ShortString(text) => json!(text.as_str()),
        AMQPValue::LongString(text) => bytes(text.as_bytes()),
        AMQPValue::ByteArray(array) => bytes(array.as_slice()),
        AMQPValue::Timestamp(seconds) => time(*seconds),
        AMQPValue::Void => Value::Null,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth >= MAX_HEADER_DEPTH => {
            json!(format!("(nested deeper than {MAX_HEADER_DEPTH})"))
        }
        AMQPValue::FieldArray(array) => {
            array.as_slice().iter().map(|value| to_json(value, depth + 1)).collect()
        }
        AMQPValue::FieldTable(table) => table_to_json(table, depth + 1),
    }
}

fn table_to_json(table: &FieldTable, depth: usize) -> Value {
    table.inner().iter().map(|(name, value)| (name.as_str(), to_json(value, depth))).collect()
}

fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| json!(value.to_string()), Value::Number)
}

fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ NOT_UTF8: String::from_utf8_lossy(bytes) }),
    }
}

fn time(seconds: u64) -> Value {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
        .filter(|time| nuncio_model::cloudevents::is_writable(*time))
        .map_or_else(|| json!(seconds), |time| json!(nuncio_model::cloudevents::write_time(time)))
}

pub(super) fn from_json(value: &Value) -> Result<AMQPValue, Error> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => AMQPValue::LongLongInt(integer),
            None => AMQPValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(from_json).collect();
            AMQPValue::FieldArray(values?.into())
        }
        Value::Object(members) => AMQPValue::FieldTable(table_from_json(members)?),
    })
}

fn table_from_json(members: &Map<String, Value>) -> Result<FieldTable, Error> {
    let mut table = FieldTable::default();
    for (name, value) in members {
        table.insert(short_name(name)?, from_json(value)?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use lapin::types::DecimalValue;

    use super::*;

    #[test]
    fn every_type_of_header_has_a_json_form() {
        for (value, expected) in [
            (AMQPValue::Boolean(true), json!(true)),
            (AMQPValue::ShortShortInt(-1), json!(-1)),
            (AMQPValue::LongUInt(u32::MAX), json!(u32::MAX)),
            (AMQPValue::Double(f64::NAN), json!("NaN")),
            (AMQPValue::Float(1.5), json!(1.5)),
            (AMQPValue::DecimalValue(DecimalValue { scale: 255, value: 7 }), json!("7e-255")),
            (AMQPValue::LongString("x".into()), json!("x")),
            (AMQPValue::LongString(vec![0xff_u8].into()), json!({"notUtf8": "\u{fffd}"})),
            (AMQPValue::ByteArray(b"ab".as_slice().into()), json!("ab")),
            (AMQPValue::Timestamp(0), json!("1970-01-01T00:00:00Z")),
            (AMQPValue::Timestamp(u64::MAX), json!(u64::MAX)),
            (AMQPValue::Void, Value::Null),
            (AMQPValue::FieldArray(vec![AMQPValue::Void].into()), json!([null])),
        ] {
            assert_eq!(to_json(&value, 0), expected);
        }
    }

    #[test]
    fn deep_tables_end_somewhere() {
        let mut value = AMQPValue::Void;
        for _ in 0..100 {
            let mut table = FieldTable::default();
            table.insert("t".into(), value);
            value = AMQPValue::FieldTable(table);
        }
        assert!(to_json(&value, 0).to_string().contains("nested deeper"));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let all = json!({
            "contentType": "text/plain", "contentEncoding": "gzip", "messageId": "m", "appId": "/a", "type": "t",
            "correlationId": "c", "replyTo": "r", "expiration": "60000", "userId": "u", "priority": 9,
            "timestamp": 1_700_000_000_u64,
            "headers": {"ce-id": "1", "n": -7, "x": 1.5, "yes": true, "none": null, "list": [1, {"deep": "er"}]},
        });
        for written in [all, json!({}), json!({"headers": {}})] {
            let read = Properties::from_json(&written).expect("it was written so");
            assert_eq!(read.to_json(), written);
            assert_eq!(Properties::from_json(&read.to_json()).expect("again"), read);
        }
        for wrong in [
            json!([]),
            json!({"messageid": "m"}),
            json!({"messageId": 7}),
            json!({"appId": "x".repeat(256)}),
            json!({"priority": 256}),
            json!({"timestamp": -1}),
            json!({"headers": []}),
        ] {
            assert!(Properties::from_json(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_journey_begins_without_the_marks_of_the_first() {
        let written = json!({"userId": "u", "headers": {"x-death": [], "x-delivery-count": 20, "x-mine": 1}});
        let read = Properties::for_another_journey(&written).expect("it was written so");
        assert_eq!(read.to_json(), json!({"headers": {"x-mine": 1}}));
    }
}
