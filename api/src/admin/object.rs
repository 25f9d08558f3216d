//! Objects that are objects: what is derived would also take a list of the fields' values in their order.

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

/// Reads a field that is an object, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Where it is a list, or as `T` refuses.
pub(super) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    T::deserialize(AsMap(value))
}

/// [`read`] for a field that may be left out or null; with `#[serde(default)]`.
///
/// # Errors
/// The same.
pub(super) fn read_optional<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(value)?.map(|object| object.0))
}

struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        read(value).map(Self)
    }
}

/// Hands out a structure as a map.
struct AsMap<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AsMap<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use nuncio_model::rights::RightsText;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[serde(deserialize_with = "super::read")]
        rights: RightsText,
    }

    /// Rights once were read from a list of lists, which gave `subscribe` to whoever meant something else.
    #[test]
    fn a_list_is_no_object() {
        let read = |rights| serde_json::from_value::<Body>(json!({ "rights": rights }));
        let good = read(json!({ "publish": ["a"] })).expect("an object");
        assert_eq!(good.rights.publish, ["a"]);
        for list in [json!([["#"]]), json!([])] {
            let error = read(list).expect_err("a list").to_string();
            assert!(error.contains("invalid type: sequence"), "{error}");
        }
    }

    #[derive(Debug, Deserialize)]
    struct Optional {
        #[serde(default, deserialize_with = "super::read_optional")]
        rights: Option<RightsText>,
    }

    #[test]
    fn a_field_that_may_be_left_out_is_no_list_either() {
        let read = |body| serde_json::from_value::<Optional>(body).map(|body| body.rights.is_some());
        assert!(read(json!({ "rights": {} })).expect("an object"));
        assert!(!read(json!({ "rights": null })).expect("null") && !read(json!({})).expect("left out"));
        assert!(read(json!({ "rights": [["#"]] })).is_err() && read(json!({ "rights": [] })).is_err());
    }
}
