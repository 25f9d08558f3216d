//! Messages as the broker hands them out, and their properties and headers.

mod json;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use serde_json::Value;

use crate::guard;
use crate::{Error, Held};
use json::{from_json, short_name, to_json};

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
    /// Its part of what its connection has in hand, for as long as this is kept.
    pub held: Held,
}

impl Message {
    pub(crate) fn of(delivery: Delivery, held: Held) -> Self {
        Self {
            tag: delivery.delivery_tag,
            exchange: delivery.exchange.into(),
            routing_key: delivery.routing_key.into(),
            properties: Properties(delivery.properties),
            body: delivery.data.into(),
            held,
        }
    }

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

    /// Whether the headers were left out, as they were nested too deep.
    pub fn are_too_deep(&self) -> bool {
        self.header(guard::MARK).is_some()
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

    /// Persistent: a durable queue keeps the message over a restart.
    pub(crate) fn persistent(self) -> BasicProperties {
        self.0.with_delivery_mode(2)
    }

    /// Transient: the message need not outlive the broker.
    pub(crate) fn transient(self) -> BasicProperties {
        self.0.with_delivery_mode(1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
