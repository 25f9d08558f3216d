//! The scalars `JSON`, `DateTime`, `Cursor` and `Int64`.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use nuncio_model::cloudevents::{is_writable, write_time};
use nuncio_model::json::compact;

use super::super::response::write_value;

/// The scalar `JSON`, whose description stands at its `impl`, as those of the others.
#[derive(Clone, Debug)]
pub(crate) struct Json(pub Bytes);

/// Any JSON value.
///
/// What was published comes out byte for byte: numbers of any size, repeated keys and their order are kept.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        let mut text = Vec::new();
        write_value(&mut text, &value);
        let text =
            compact(&text.into()).map_err(|error| InputValueError::custom(format!("the value {error}")))?;
        Ok(Self(text))
    }

    fn to_value(&self) -> Value {
        Value::Binary(self.0.clone())
    }
}

/// The scalar `DateTime`; the library's own writes times in another form than the rest of Nuncio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub DateTime<Utc>);

/// A time as RFC 3339 writes it; Nuncio itself writes it in UTC, with a `Z`.
#[Scalar(name = "DateTime", specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339")]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = value else {
            return Err(InputValueError::custom("a DateTime is a string"));
        };
        let time = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc());
        let hint = "a DateTime is written like 2026-01-31T12:00:00Z, in the years 1 to 9999";
        time.filter(|time| is_writable(*time)).map(Self).ok_or(InputValueError::custom(hint))
    }

    /// What is of another kind is refused before anything is executed.
    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(write_time(self.0))
    }
}

/// The scalar `Cursor`.
#[derive(Clone, Debug)]
pub(crate) struct Cursor(pub String);

/// An opaque text: a place in the project's one total order of events. It works on every surface, over any pattern.
#[Scalar]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            // The value itself is not repeated: it may be anything.
            _ => Err(InputValueError::custom("a cursor is a string")),
        }
    }

    /// What is of another kind is refused before anything is executed.
    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl From<nuncio_model::Cursor> for Cursor {
    fn from(cursor: nuncio_model::Cursor) -> Self {
        Self(cursor.to_string())
    }
}

/// The scalar `Int64`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int64(pub i64);

/// A whole number below 2^53, which every JSON parser keeps exactly.
#[Scalar]
impl ScalarType for Int64 {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => {
                number.as_i64().map(Self).ok_or(InputValueError::custom("not a whole number"))
            }
            _ => Err(InputValueError::custom("an Int64 is a number")),
        }
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::Name;

    use super::*;

    #[test]
    fn json_of_any_form_becomes_one_text() {
        let object = Value::Object(
            [(Name::new("a b"), Value::List(vec![Value::Null, 1.into()]))].into_iter().collect(),
        );
        let json = Json::parse(object).expect("JSON");
        assert_eq!(json.0, "{\"a b\":[null,1]}");
        assert_eq!(json.to_value(), Value::Binary(json.0.clone()));
    }

    #[test]
    fn times_are_written_as_on_every_surface() {
        let time = |text: &str| Time::parse(Value::from(text));
        for (text, written) in [
            ("2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00Z"),
            ("2026-01-31T14:00:00.5+02:00", "2026-01-31T12:00:00.500Z"),
        ] {
            assert_eq!(time(text).expect("a time").to_value(), Value::from(written));
        }
        for bad in ["2026-01-31", "2026-01-31T12:00:00", "0000-01-01T00:00:00Z", "now"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_that_nests_too_deep_is_refused() {
        let deep = (0..200).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        assert!(Json::parse(deep).is_err());
    }
}
