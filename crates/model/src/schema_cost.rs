//! What a JSON Schema may cost, found out before it is used.
//!
//! A validator follows every `$ref` anew: thirty definitions that name the next one twice are a billion checks of one
//! value. So the parts of a schema are counted as they unfold, and what would never end is refused.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// The most parts that a schema may unfold into.
const MAX_PARTS: u64 = 10_000;

/// How far one part may lead to the next: each needs a place on the stack.
const MAX_DEPTH: usize = 256;
const TOO_DEEP: &str = "leads on too far, by nesting or by `$ref`";

/// Keywords whose value is a schema for the same value as the schema itself, and not for a part of it.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is an array of such schemas.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value is an object of such schemas.
const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords whose value is a schema for parts of the value; `items` may also be an array of them.
const PARTS: [&str; 7] = [
    "items",
    "additionalItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is an array of schemas for parts of the value.
const PART_LISTS: [&str; 2] = ["prefixItems", "items"];
/// Keywords whose value is an object of such schemas.
const PART_MAPS: [&str; 2] = ["properties", "patternProperties"];
/// Keywords that are followed to where nobody can tell beforehand.
const DYNAMIC: [&str; 2] = ["$dynamicRef", "$recursiveRef"];

/// What a schema may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// How many parts it has when each `$ref` is replaced by what it names, once around where it names itself.
    parts: u64,
    /// How many `$ref`s lead back to something they are part of.
    loops: u64,
    /// How many regular expressions it holds.
    pub(crate) patterns: usize,
}

/// Where in the schema, as a JSON pointer, and what is wrong there.
type Wrong = (String, String);

impl Cost {
    /// Unfolds a schema.
    ///
    /// # Errors
    /// Where it refers to something outside, to itself for the same value, or unfolds into too much.
    pub(crate) fn of(schema: &Value) -> Result<Self, Wrong> {
        let mut anchors = HashMap::new();
        let mut patterns = 0;
        survey(schema, schema, "", &mut anchors, &mut patterns)?;
        let (open, known, ending) = (HashSet::new(), HashMap::new(), HashSet::new());
        let mut unfolding = Unfolding { root: schema, anchors, open, known, ending };
        let Unfolded { parts, loops } = unfolding.unfold(schema, "")?;
        Ok(Self { parts, loops, patterns })
    }

    /// How many checks of one value by one part it costs, at most, to tell whether so many values fit.
    pub(crate) fn checks(self, values: u64) -> u64 {
        self.parts.saturating_mul(values)
    }

    /// The same for finding out where they do not: that goes each way back into itself anew at each level.
    pub(crate) fn checks_to_describe(self, values: u64, depth: u32) -> u64 {
        self.checks(values).saturating_mul(self.loops.max(1).saturating_pow(depth))
    }
}

/// Looks at all that is written, schema or not: names, references, and what cannot be stored.
fn survey<'s>(
    root: &Value,
    value: &'s Value,
    at: &str,
    anchors: &mut HashMap<&'s str, &'s Value>,
    patterns: &mut usize,
) -> Result<(), Wrong> {
    let wrong = |name: &str, message: &str| Err((format!("{at}/{}", escape(name)), message.to_owned()));
    match value {
        Value::String(text) if text.contains('\0') => {
            return Err((at.to_owned(), "must not hold U+0000".to_owned()));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                survey(root, item, &format!("{at}/{index}"), anchors, patterns)?;
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let is_root = std::ptr::eq(root, value);
                match (name.as_str(), member) {
                    (name, _) if name.contains('\0') => return wrong("", "must not hold U+0000"),
                    ("$ref", Value::String(text)) if !text.starts_with('#') => {
                        return wrong(
                            name,
                            "must begin with `#`: a schema stands alone, and nothing is fetched",
                        );
                    }
                    ("$id", Value::String(text)) if !is_root && !text.starts_with('#') => {
                        return wrong(name, "may stand at the top alone");
                    }
                    ("$id" | "$anchor", Value::String(text)) if !is_root || name == "$anchor" => {
                        anchors.insert(text.trim_start_matches('#'), value);
                    }
                    (name, Value::String(_)) if DYNAMIC.contains(&name) => {
                        return wrong(name, "is not supported; use `$ref`");
                    }
                    ("pattern", Value::String(_)) => *patterns += 1,
                    ("patternProperties", Value::Object(named)) => *patterns += named.len(),
                    _ => {}
                }
                survey(root, member, &format!("{at}/{}", escape(name)), anchors, patterns)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A name as a JSON pointer writes it (RFC 6901, section 3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a schema unfolds into.
#[derive(Clone, Copy)]
struct Unfolded {
    parts: u64,
    loops: u64,
}

impl Unfolded {
    /// One that has nothing below it.
    const ONE: Self = Self { parts: 1, loops: 0 };

    fn and(self, other: Self) -> Self {
        let (parts, loops) = (self.parts.saturating_add(other.parts), self.loops.saturating_add(other.loops));
        Self { parts, loops }
    }
}

struct Unfolding<'s> {
    root: &'s Value,
    anchors: HashMap<&'s str, &'s Value>,
    /// The schemas that are being unfolded.
    open: HashSet<*const Value>,
    known: HashMap<*const Value, Unfolded>,
    /// The schemas that are known not to come back to themselves for the same value.
    ending: HashSet<*const Value>,
}

impl<'s> Unfolding<'s> {
    fn unfold(&mut self, schema: &'s Value, at: &str) -> Result<Unfolded, Wrong> {
        let Value::Object(members) = schema else { return Ok(Unfolded::ONE) };
        let key = std::ptr::from_ref(schema);
        if self.open.contains(&key) {
            return Ok(Unfolded { parts: 1, loops: 1 });
        }
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        self.must_end(schema, at, &mut Vec::new())?;
        if self.open.len() >= MAX_DEPTH {
            return Err((at.to_owned(), TOO_DEEP.to_owned()));
        }
        self.open.insert(key);
        let mut all = Unfolded::ONE;
        for (below, place) in self.same_value(members).into_iter().chain(parts_of_value(members)) {
            all = all.and(self.unfold(below, &format!("{at}/{place}"))?);
            if all.parts > MAX_PARTS {
                let message = format!(
                    "unfolds into more than {MAX_PARTS} parts: what `$ref` names is counted each time"
                );
                return Err((at.to_owned(), message));
            }
        }
        self.open.remove(&key);
        self.known.insert(key, all);
        Ok(all)
    }

    /// Refuses a schema that comes back to itself without having looked at a part of the value.
    fn must_end(&mut self, schema: &'s Value, at: &str, way: &mut Vec<*const Value>) -> Result<(), Wrong> {
        let Value::Object(members) = schema else { return Ok(()) };
        let key = std::ptr::from_ref(schema);
        if self.ending.contains(&key) {
            return Ok(());
        }
        if way.contains(&key) {
            return Err((at.to_owned(), "refers to itself for the same value, which never ends".to_owned()));
        }
        if way.len() >= MAX_DEPTH {
            return Err((at.to_owned(), TOO_DEEP.to_owned()));
        }
        way.push(key);
        for (below, place) in self.same_value(members) {
            self.must_end(below, &format!("{at}/{place}"), way)?;
        }
        way.pop();
        self.ending.insert(key);
        Ok(())
    }

    /// The schemas below this one that look at the same value.
    fn same_value(&self, members: &'s Map<String, Value>) -> Vec<(&'s Value, String)> {
        let named = match members.get("$ref") {
            Some(Value::String(reference)) => self.resolve(reference),
            _ => None,
        };
        let mut found: Vec<_> = named.map(|target| (target, "$ref".to_owned())).into_iter().collect();
        found.extend(SAME.iter().filter_map(|name| Some((members.get(*name)?, (*name).to_owned()))));
        found.extend(SAME_LISTS.iter().flat_map(|name| listed(members, name)));
        found.extend(SAME_MAPS.iter().flat_map(|name| named_ones(members, name)));
        found
    }

    /// What a reference within the schema names; what names nothing is left for the compiler to tell.
    fn resolve(&self, reference: &str) -> Option<&'s Value> {
        let fragment = percent_decoded(reference.strip_prefix('#')?);
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.root.pointer(&fragment);
        }
        self.anchors.get(fragment.as_str()).copied()
    }
}

/// The schemas below this one that look at parts of the value.
fn parts_of_value(members: &Map<String, Value>) -> Vec<(&Value, String)> {
    let mut found: Vec<_> = PARTS
        .iter()
        .filter_map(|name| Some((members.get(*name).filter(|below| !below.is_array())?, (*name).to_owned())))
        .collect();
    found.extend(PART_LISTS.iter().flat_map(|name| listed(members, name)));
    found.extend(PART_MAPS.iter().flat_map(|name| named_ones(members, name)));
    found
}

fn listed<'s>(members: &'s Map<String, Value>, name: &str) -> Vec<(&'s Value, String)> {
    let items = members.get(name).and_then(Value::as_array).into_iter().flatten();
    items.enumerate().map(|(index, below)| (below, format!("{name}/{index}"))).collect()
}

fn named_ones<'s>(members: &'s Map<String, Value>, name: &str) -> Vec<(&'s Value, String)> {
    let named = members.get(name).and_then(Value::as_object).into_iter().flatten();
    named.map(|(key, below)| (below, format!("{name}/{}", escape(key)))).collect()
}

/// A fragment of a URI is percent-encoded (RFC 6901, section 6).
fn percent_decoded(text: &str) -> String {
    let (bytes, mut out) = (text.as_bytes(), Vec::with_capacity(text.len()));
    let mut i = 0;
    while i < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
