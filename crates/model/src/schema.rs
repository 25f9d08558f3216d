//! JSON Schemas of events' data, by event type: read and compiled once, and then part of the one check of every way in.
//!
//! Drafts 2020-12 (where `$schema` says nothing), 2019-09 and 7. A schema stands alone: nothing is fetched, and `$ref`
//! stays within it. `format` is checked. Regular expressions run in linear time, and what a schema may cost is bounded
//! before it is used (`schema_cost.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::{Draft as Dialect, PatternOptions, Validator};
use serde_json::Value;

use crate::event::EventError;
use crate::limits::MAX_TYPE_BYTES;
use crate::schema_cost::Cost;
use crate::{Code, Data};

/// The schemas of a namespace as they are written: by event type.
pub type SchemaTexts = BTreeMap<String, Value>;

/// Stands for all types that have no schema of their own.
pub const ANY_TYPE: &str = "*";

/// The most types of a namespace.
const MAX_TYPES: usize = 64;
/// The most bytes of one schema.
const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// The most bytes of all schemas of a namespace: every node holds those of all.
const MAX_BYTES: usize = 256 << 10;
/// The most regular expressions in all schemas of a namespace, and the most memory of each when compiled.
const MAX_PATTERNS: usize = 200;
const MAX_PATTERN_BYTES: usize = 256 << 10;
/// The most bytes of data that may be checked.
pub(crate) const MAX_CHECKED_BYTES: i64 = 1 << 20;
/// How many checks of one value by one part of a schema an event may cost.
const MAX_CHECKS: u64 = 50_000_000;
/// Up to how many it is found out where the data does not fit: that costs much more.
const MAX_DESCRIBED_CHECKS: u64 = 1_000_000;
/// The longest text of the library that goes into a message: it may name many properties.
const MAX_MESSAGE_BYTES: usize = 300;

/// The schemas of a namespace, ready for use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Schemas(Arc<BTreeMap<String, Schema>>);

#[derive(Debug)]
enum Schema {
    /// `true` or `{}`: whatever the data is, also bytes.
    Anything,
    /// `false`: this type is not taken.
    Nothing,
    Compiled {
        validator: Box<Validator>,
        cost: Cost,
    },
    /// It was stored, and cannot be used by this version.
    Unusable,
}

impl Schemas {
    /// Compiles the schemas. One that cannot be used lets nothing through.
    pub fn compile(texts: &SchemaTexts) -> Self {
        let compiled = texts.iter().map(|(kind, text)| {
            let schema = Cost::of(text).ok().and_then(|cost| Schema::compile(text, cost).ok());
            (kind.clone(), schema.unwrap_or(Schema::Unusable))
        });
        Self(Arc::new(compiled.collect()))
    }

    /// Whether the data fits the schema of its type.
    ///
    /// Data that is left out is checked as `null`; bytes fit no schema but one that takes anything.
    ///
    /// # Errors
    /// `SCHEMA_MISMATCH`, saying where in the data (JSON pointer, RFC 6901) and what.
    pub fn check(&self, kind: &str, data: &Data) -> Result<(), EventError> {
        let Some(schema) = self.0.get(kind).or_else(|| self.0.get(ANY_TYPE)) else { return Ok(()) };
        let mismatch = |message: String| EventError { code: Code::SchemaMismatch, message };
        let (validator, cost) = match schema {
            Schema::Anything => return Ok(()),
            Schema::Compiled { validator, cost } => (validator, cost),
            Schema::Nothing => {
                return Err(mismatch(format!("events of type {kind:?} are not taken in this namespace")));
            }
            Schema::Unusable => {
                return Err(mismatch(format!(
                    "the schema for type {kind:?} cannot be used: an administrator must write it anew"
                )));
            }
        };
        let wrong = |at: &str, what: &str| {
            mismatch(format!("the data does not fit the schema for type {kind:?}: {at}{what}"))
        };
        let value = match data {
            Data::None => Value::Null,
            Data::Json(text) => serde_json::from_slice(text).map_err(|_| {
                wrong("", "it holds a number beyond 1.8e308, or nests 128 deep, which cannot be checked")
            })?,
            Data::Binary(_) => return Err(wrong("", "it is not JSON")),
        };
        let size = Size::of(&value);
        if cost.checks(size.values) > MAX_CHECKS {
            let message = format!("data has {} values, which are too many for the schema", size.values);
            return Err(EventError { code: Code::TooLarge, message });
        }
        if validator.is_valid(&value) {
            return Ok(());
        }
        if cost.checks_to_describe(size.values, size.depth) > MAX_DESCRIBED_CHECKS {
            return Err(wrong("", "it is too large, or nests too deep, to say where"));
        }
        match validator.validate(&value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let at = error.instance_path().as_str();
                let at = if at.is_empty() { String::new() } else { format!("at {}, ", shorten(at)) };
                Err(wrong(&at, &shorten(&error.masked().to_string())))
            }
        }
    }
}

impl Schema {
    fn compile(text: &Value, cost: Cost) -> Result<Self, (String, String)> {
        match text {
            Value::Bool(true) => return Ok(Self::Anything),
            Value::Bool(false) => return Ok(Self::Nothing),
            Value::Object(members) if members.is_empty() => return Ok(Self::Anything),
            _ => {}
        }
        let dialect = dialect(text).map_err(|message| ("/$schema".to_owned(), message))?;
        let patterns =
            PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
        let options = jsonschema::options()
            .with_draft(dialect)
            .offline()
            .should_validate_formats(true)
            // It would compile what a publisher sends.
            .with_format("regex", |_: &str| true)
            .with_pattern_options(patterns);
        match options.build(text) {
            Ok(validator) => Ok(Self::Compiled { validator: Box::new(validator), cost }),
            Err(error) => {
                let at = error.instance_path().as_str().to_owned();
                let message = error.to_string();
                let pattern = at.ends_with("/pattern") || at.contains("/patternProperties");
                if pattern && message.ends_with("is not a \"regex\"") {
                    let message = "must be a regular expression without look-around and back-references, and not too large";
                    return Err((at, message.to_owned()));
                }
                Err((at, shorten(&message)))
            }
        }
    }
}

/// The draft that a schema is written in.
fn dialect(text: &Value) -> Result<Dialect, String> {
    let Some(named) = text.get("$schema") else { return Ok(Dialect::Draft202012) };
    match named.as_str().unwrap_or_default().trim_end_matches('#') {
        "https://json-schema.org/draft/2020-12/schema" => Ok(Dialect::Draft202012),
        "https://json-schema.org/draft/2019-09/schema" => Ok(Dialect::Draft201909),
        "http://json-schema.org/draft-07/schema" => Ok(Dialect::Draft7),
        _ => Err("must be that of draft 2020-12, 2019-09 or 7, or left out".to_owned()),
    }
}

/// What is wrong with the schemas: a path and a sentence for each that cannot be used.
pub(crate) fn problems(texts: &SchemaTexts) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if texts.len() > MAX_TYPES {
        problems.push(("schemas".to_owned(), format!("must hold at most {MAX_TYPES} types")));
        return problems;
    }
    let (mut bytes, mut patterns) = (0, 0);
    for (kind, text) in texts {
        let mut wrong = |at: &str, message: String| problems.push((format!("schemas/{kind}{at}"), message));
        if !(1..=MAX_TYPE_BYTES).contains(&kind.len()) || kind.chars().any(char::is_control) {
            wrong("", format!("a type has 1 to {MAX_TYPE_BYTES} bytes and no control characters"));
            continue;
        }
        let size = text.to_string().len();
        bytes += size;
        if size > MAX_SCHEMA_BYTES {
            wrong("", format!("must have at most {MAX_SCHEMA_BYTES} bytes"));
            continue;
        }
        let cost = match Cost::of(text) {
            Ok(cost) => cost,
            Err((at, message)) => {
                wrong(&at, message);
                continue;
            }
        };
        patterns += cost.patterns;
        if patterns > MAX_PATTERNS {
            wrong("", format!("all schemas together may hold {MAX_PATTERNS} regular expressions"));
            return problems;
        }
        if let Err((at, message)) = Schema::compile(text, cost) {
            wrong(&at, message);
        }
    }
    if bytes > MAX_BYTES {
        problems.push(("schemas".to_owned(), format!("must have at most {MAX_BYTES} bytes together")));
    }
    problems
}

/// How much there is to check.
#[derive(Clone, Copy)]
struct Size {
    values: u64,
    depth: u32,
}

impl Size {
    fn of(value: &Value) -> Self {
        let parts: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(items) => Box::new(items.iter()),
            Value::Object(members) => Box::new(members.values()),
            _ => return Self { values: 1, depth: 0 },
        };
        parts.map(Self::of).fold(Self { values: 1, depth: 1 }, |all, part| Self {
            values: all.values + part.values,
            depth: all.depth.max(part.depth + 1),
        })
    }
}

fn shorten(text: &str) -> String {
    if text.len() <= MAX_MESSAGE_BYTES {
        return text.to_owned();
    }
    let end = (0..=MAX_MESSAGE_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests;
