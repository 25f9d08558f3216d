//! The scalars `JSON`, `Cursor` and `Int64`; `DateTime` is the library's.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use bytes::Bytes;
use nuncio_model::json::compact;

use super::super::response::write_value;

/// Any JSON value.
///
/// What was published comes out byte for byte: numbers of any size, repeated keys and their order are kept.
#[derive(Clone, Debug)]
pub(crate) struct Json(pub Bytes);

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

/// An opaque text: a place in the project's one total order of events. It works on every surface, over any pattern.
#[derive(Clone, Debug)]
pub(crate) struct Cursor(pub String);

#[Scalar]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            // The value itself is not repeated: it may be anything.
            _ => Err(InputValueError::custom("a cursor is a string")),
        }
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

/// A whole number below 2^53, which every JSON parser keeps exactly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int64(pub i64);

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
    fn json_that_nests_too_deep_is_refused() {
        let deep = (0..200).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        assert!(Json::parse(deep).is_err());
    }
}
