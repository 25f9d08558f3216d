//! Messages as the broker hands them out, and their properties and headers.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value, json};

use crate::Error;

/// How deep header tables are followed; what lies deeper is named, not shown.
const MAX_HEADER_DEPTH: usize = 32;

/// The name under which bytes stand that are no text.
const NOT_UTF8: &str = "notUtf8";

/// A message taken from a queue, unacknowledged.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its number on the connection it came by.
    pub tag: u64,
    /// The exchange it was published to.
    pub exchange: String,
    /// The key it was published with.
    pub routing_key: String,
    /// Its properties and headers.
    pub properties: Properties,
    /// What it carries.
    pub body: Bytes,
}

impl From<Delivery> for Message {
    fn from(delivery: Delivery) -> Self {
        Self {
            tag: delivery.delivery_tag,
            exchange: delivery.exchange.into(),
            routing_key: delivery.routing_key.into(),
            properties: Properties(delivery.properties),
            body: delivery.data.into(),
        }
    }
}

impl Message {
    /// How often it was handed out before and came back unacknowledged, as quorum queues count it.
    pub fn returns(&self) -> i64 {
        self.properties.header("x-delivery-count").and_then(|count| count.as_i64()).unwrap_or(0)
    }

    /// Undoes what dead-lettering did to the exchange and the routing key: the originals are in the header `x-death`.
    pub fn restore_origin(&mut self) {
        let deaths = self.properties.header("x-death").unwrap_or_default();
        let oldest = deaths.as_array().and_then(|deaths| deaths.last());
        // A name that is not UTF-8 is shown with replacement characters, which no channel name holds.
        let text = |value: Option<&Value>| {
            value
                .and_then(|value| value.as_str().or_else(|| value.get(NOT_UTF8)?.as_str()))
                .map(str::to_owned)
        };
        if let Some(exchange) = text(oldest.and_then(|death| death.get("exchange"))) {
            self.exchange = exchange;
        }
        if let Some(key) = text(oldest.and_then(|death| death.pointer("/routing-keys/0"))) {
            self.routing_key = key;
        }
    }
}

/// The properties of a message, headers included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties(BasicProperties);

macro_rules! property {
    ($name:ident, $with:ident, $of:ident, $word:literal) => {
        #[doc = concat!("The property `", $word, "`.")]
        pub fn $name(&self) -> Option<&str> {
            self.0.$of().as_ref().map(ShortString::as_str)
        }

        #[doc = concat!("Sets the property `", $word, "`.")]
        ///
        /// # Errors
        /// Where the text has more than AMQP's 255 bytes.
        pub fn $with(self, text: &str) -> Result<Self, Error> {
            let text = ShortString::try_new(text).map_err(|_| Error::Property { name: $word })?;
            Ok(Self(self.0.$with(text)))
        }
    };
}

impl Properties {
    property!(content_type, with_content_type, content_type, "content_type");
    property!(content_encoding, with_content_encoding, content_encoding, "content_encoding");
    property!(message_id, with_message_id, message_id, "message_id");
    property!(app_id, with_app_id, app_id, "app_id");
    property!(kind, with_type, kind, "type");

    /// The property `timestamp`: seconds since 1970.
    pub fn timestamp(&self) -> Option<u64> {
        *self.0.timestamp()
    }

    /// Sets the property `timestamp`: seconds since 1970.
    #[must_use]
    pub fn with_timestamp(self, seconds: u64) -> Self {
        Self(self.0.with_timestamp(seconds))
    }

    /// A header by its exact name, as JSON.
    pub fn header(&self, name: &str) -> Option<Value> {
        let headers = self.0.headers().as_ref()?;
        headers.inner().get(name).map(|value| to_json(value, 0))
    }

    /// The names of all headers, each with the means to read it as JSON.
    pub fn headers(&self) -> impl Iterator<Item = (&str, impl Fn() -> Value + '_)> {
        let table = self.0.headers().iter().flat_map(|headers| headers.inner());
        table.map(|(name, value)| (name.as_str(), move || to_json(value, 0)))
    }

    /// Sets a header to a JSON value; numbers become 64-bit integers or doubles, `null` becomes void.
    ///
    /// # Errors
    /// Where a name has more than AMQP's 255 bytes.
    pub fn with_header(self, name: &str, value: &Value) -> Result<Self, Error> {
        let mut headers = self.0.headers().clone().unwrap_or_default();
        headers.insert(short_name(name)?, from_json(value)?);
        Ok(Self(self.0.with_headers(headers)))
    }

    /// All of it as a JSON object, for people to read.
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        let texts = [
            ("contentType", self.content_type()),
            ("contentEncoding", self.content_encoding()),
            ("messageId", self.message_id()),
            ("appId", self.app_id()),
            ("type", self.kind()),
            ("correlationId", self.0.correlation_id().as_ref().map(ShortString::as_str)),
            ("replyTo", self.0.reply_to().as_ref().map(ShortString::as_str)),
            ("expiration", self.0.expiration().as_ref().map(ShortString::as_str)),
            ("userId", self.0.user_id().as_ref().map(ShortString::as_str)),
        ];
        all.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
        if let Some(timestamp) = self.timestamp() {
            all.insert("timestamp".to_owned(), json!(timestamp));
        }
        if let Some(headers) = self.0.headers() {
            all.insert("headers".to_owned(), table_to_json(headers, 0));
        }
        Value::Object(all)
    }

    /// Persistent: a durable queue keeps the message over a restart.
    pub(crate) fn persistent(self) -> BasicProperties {
        self.0.with_delivery_mode(2)
    }

    /// Transient: the message need not outlive the broker.
    pub(crate) fn transient(self) -> BasicProperties {
        self.0.with_delivery_mode(1)
    }
}

fn short_name(name: &str) -> Result<ShortString, Error> {
    ShortString::try_new(name).map_err(|_| Error::Property { name: "header name" })
}

/// A header value as JSON. What has no JSON form of its own (bytes, NaN) becomes an object or a text that says so; a
/// time becomes RFC 3339.
fn to_json(value: &AMQPValue, depth: usize) -> Value {
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

fn from_json(value: &Value) -> Result<AMQPValue, Error> {
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
        Value::Object(members) => {
            let mut table = FieldTable::default();
            for (name, value) in members {
                table.insert(short_name(name)?, from_json(value)?);
            }
            AMQPValue::FieldTable(table)
        }
    })
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
    fn what_was_dead_lettered_finds_its_origin() {
        let death =
            json!([{"exchange": "nuncio.demo", "routing-keys": ["orders.eu"], "reason": "delivery_limit"}]);
        let properties = Properties::default().with_header("x-death", &death).expect("short names");
        let mut message = Message { routing_key: "dead".to_owned(), properties, ..Message::default() };
        message.restore_origin();
        assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), ("nuncio.demo", "orders.eu"));
    }

    #[test]
    fn long_texts_are_refused_without_a_panic() {
        assert!(Properties::default().with_message_id(&"x".repeat(256)).is_err());
        assert!(Properties::default().with_header(&"x".repeat(256), &Value::Null).is_err());
    }
}
