//! Reading of an event's data what an expression looks at, and no more.

use std::collections::BTreeMap;
use std::fmt;

use cel::common::types::{CelNull, CelString};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::meter::Meter;
use super::value::{List, Map, Node};

/// The parts of a JSON value that are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// These members of an object.
    Members(BTreeMap<String, Wanted>),
}

impl Wanted {
    /// None of it.
    pub(super) fn nothing() -> Self {
        Self::Members(BTreeMap::new())
    }

    /// Adds what stands at this path.
    pub(super) fn add(&mut self, path: &[&str]) {
        match (self, path) {
            (Self::All, _) => {}
            (this, []) => *this = Self::All,
            (Self::Members(members), [name, rest @ ..]) => {
                members.entry((*name).to_owned()).or_insert_with(Self::nothing).add(rest);
            }
        }
    }
}

/// What was read, and the length of its longest text.
pub(super) struct Reading<'v> {
    pub(super) node: Node<'v>,
    pub(super) longest: usize,
}

/// Reads JSON; `None` where it is out of the range of numbers, nests too deep or costs more than is left.
pub(super) fn read<'v>(json: &'v [u8], wanted: &Wanted, meter: &'v Meter) -> Option<Reading<'v>> {
    if !meter.charge_text(json.len(), 1) {
        return None;
    }
    let mut longest = 0;
    let seed = Part { wanted, meter, longest: &mut longest };
    let node = seed.deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()?;
    Some(Reading { node, longest })
}

/// Reads one value.
struct Part<'a, 'v> {
    wanted: &'a Wanted,
    meter: &'v Meter,
    longest: &'a mut usize,
}

impl<'v> Part<'_, 'v> {
    fn text(self, text: CelString<'v>) -> Node<'v> {
        *self.longest = text.inner().len().max(*self.longest);
        Node::Text(text)
    }
}

impl<'v> DeserializeSeed<'v> for Part<'_, 'v> {
    type Value = Node<'v>;

    fn deserialize<D: Deserializer<'v>>(self, deserializer: D) -> Result<Node<'v>, D::Error> {
        if !self.meter.charge(1) {
            return Err(D::Error::custom("over the budget"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'v> Visitor<'v> for Part<'_, 'v> {
    type Value = Node<'v>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'v>, E> {
        Ok(Node::Null(CelNull))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'v>, E> {
        Ok(Node::Bool(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'v>, E> {
        Ok(Node::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'v>, E> {
        Ok(i64::try_from(value).map_or(Node::Double((value as f64).into()), |value| Node::Int(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'v>, E> {
        Ok(Node::Double(value.into()))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'v str) -> Result<Node<'v>, E> {
        Ok(self.text(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'v>, E> {
        Ok(self.text(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'v>>(self, mut seq: A) -> Result<Node<'v>, A::Error> {
        let Self { wanted, meter, longest } = self;
        let mut items = Vec::new();
        if *wanted == Wanted::All {
            while let Some(item) = seq.next_element_seed(Part { wanted, meter, longest })? {
                items.push(item);
            }
        } else {
            // Members are wanted of what is an array: it has none, whatever is in it.
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(Node::List(List { items: items.into(), meter }))
    }

    fn visit_map<A: MapAccess<'v>>(self, mut map: A) -> Result<Node<'v>, A::Error> {
        let Self { wanted, meter, longest } = self;
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            let wanted = match wanted {
                Wanted::All => Some(wanted),
                Wanted::Members(wanted) => wanted.get(name.inner()),
            };
            match wanted {
                Some(wanted) => {
                    *longest = name.inner().len().max(*longest);
                    members.push((name, map.next_value_seed(Part { wanted, meter, longest })?));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Node::Map(Map::new(members, meter)))
    }
}

/// Reads the name of a member, borrowed where it has no escapes.
struct Name;

impl<'v> DeserializeSeed<'v> for Name {
    type Value = CelString<'v>;

    fn deserialize<D: Deserializer<'v>>(self, deserializer: D) -> Result<CelString<'v>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'v> Visitor<'v> for Name {
    type Value = CelString<'v>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'v str) -> Result<CelString<'v>, E> {
        Ok(name.into())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<CelString<'v>, E> {
        Ok(name.to_owned().into())
    }
}
