//! Which fields of a body do not fit: all of them, where serde stops at the first.
//!
//! After each fault the field is taken out, or something takes its place that fits, and the rest is read again.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::{Error as PathError, Path, Segment};

use crate::error::ApiError;

/// The most faults that are told at once.
const MAX_FAULTS: usize = 50;
/// Bodies larger than this are not read again and again: the first fault is told.
const MAX_BYTES: usize = 256 << 10;

/// One fault: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    steps: Vec<Step>,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

/// Reads the value as `T`.
///
/// # Errors
/// `INVALID_REQUEST` with an entry per field that does not fit: of a wrong type, missing, or unknown.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    match attempt::<T>(&value) {
        Ok(good) => Ok(good),
        Err(first) => Err(tell(faults::<T>(value, first))),
    }
}

fn tell(faults: Vec<Fault>) -> ApiError {
    let error = ApiError::invalid("the body is not what is asked for here");
    faults.into_iter().fold(error, |error, fault| error.field(name(&fault.steps), fault.message))
}

fn faults<T: DeserializeOwned>(mut value: Value, first: Fault) -> Vec<Fault> {
    let small = value.to_string().len() <= MAX_BYTES;
    let (mut found, mut next) = (vec![first.clone()], first);
    while small && found.len() < MAX_FAULTS {
        let Some((mended, outcome)) = mend::<T>(&value, &next) else { break };
        value = mended;
        let Some(fault) = outcome else { break };
        // A needed field that was taken out is missing afterwards; it has been told.
        if !found.iter().any(|told| told.steps == fault.steps) {
            found.push(fault.clone());
        }
        next = fault;
    }
    found
}

/// The value without this fault, and the next fault if there is one; none where nothing fits there.
fn mend<T: DeserializeOwned>(value: &Value, fault: &Fault) -> Option<(Value, Option<Fault>)> {
    let (last, parents) = fault.steps.split_last()?;
    let places =
        [None, Some(json!("")), Some(json!(0)), Some(json!(false)), Some(json!([])), Some(json!({}))];
    places.into_iter().find_map(|place| {
        let mut changed = value.clone();
        put(find(&mut changed, parents)?, last, place)?;
        match attempt::<T>(&changed) {
            Ok(_) => Some((changed, None)),
            Err(next) if next.steps == fault.steps => None,
            Err(next) => Some((changed, Some(next))),
        }
    })
}

/// Takes the member out, or puts something in its place.
fn put(parent: &mut Value, last: &Step, place: Option<Value>) -> Option<()> {
    match (parent, last, place) {
        (Value::Object(members), Step::Member(name), None) => members.shift_remove(name).map(|_| ()),
        (Value::Object(members), Step::Member(name), Some(place)) => {
            members.insert(name.clone(), place);
            Some(())
        }
        // An item that were taken out would move those after it to other places.
        (Value::Array(items), Step::Item(index), Some(place)) => {
            *items.get_mut(*index)? = place;
            Some(())
        }
        _ => None,
    }
}

fn find<'a>(value: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => value.get_mut(name),
        Step::Item(index) => value.get_mut(index),
    })
}

fn attempt<T: DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| fault(&error))
}

/// How the library for times begins to say what is wrong with one, without saying what a time looks like.
const NO_TIME: [&str; 3] = ["input ", "premature end of input", "trailing input"];

fn fault<E: std::fmt::Display>(error: &PathError<E>) -> Fault {
    let message = error.inner().to_string();
    let mut message = message.split(" at line").next().unwrap_or_default().to_owned();
    if NO_TIME.iter().any(|start| message.starts_with(start)) {
        message = "must be a time as RFC 3339 has it, such as 2026-01-31T12:00:00Z".to_owned();
    }
    let mut steps = steps(error.path());
    // A missing field is told at the object that lacks it, and so are some unknown ones.
    for told in ["missing field `", "unknown field `"] {
        let name = message.strip_prefix(told).and_then(|rest| rest.split('`').next());
        if let Some(step) = name.map(|name| Step::Member(name.to_owned()))
            && steps.last() != Some(&step)
        {
            steps.push(step);
        }
    }
    Fault { steps, message }
}

fn steps(path: &Path) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Map { key } => Some(Step::Member(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

/// The path as it is written: `rights.publish[3]`; of the body itself `.`.
fn name(steps: &[Step]) -> String {
    let mut name = String::new();
    for step in steps {
        match step {
            Step::Member(member) if name.is_empty() => name.push_str(member),
            Step::Member(member) => name.push_str(&format!(".{member}")),
            Step::Item(index) => name.push_str(&format!("[{index}]")),
        }
    }
    if name.is_empty() { ".".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
    struct Inner {
        channels: Vec<String>,
        size_bytes: u8,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read to see what fits")]
    struct Outer {
        name: String,
        kind: Kind,
        size: u8,
        #[serde(default)]
        inner: Inner,
        when: Option<chrono::DateTime<chrono::Utc>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Plain,
    }

    fn fields(body: Value) -> Vec<String> {
        let error = read::<Outer>(body).expect_err("wrong");
        error.fields.into_iter().map(|field| field.field).collect()
    }

    #[test]
    fn every_wrong_field_is_named_once() {
        let body = json!({
            "name": 7, "kind": "plain", "size": 300, "odd": 1, "when": "soon",
            "inner": {"channels": ["a", 1, "b", null], "sizeBytes": -1, "strange": {}},
        });
        let all =
            ["name", "size", "odd", "when", "inner.channels[1]", "inner.channels[3]", "inner.sizeBytes"];
        let found = fields(body);
        for field in all {
            assert_eq!(found.iter().filter(|found| *found == field).count(), 1, "{field}: {found:?}");
        }
        assert_eq!((found.len(), found.contains(&"inner.strange".to_owned())), (8, true), "{found:?}");
    }

    #[test]
    fn missing_fields_are_named_too() {
        assert_eq!(fields(json!({"kind": "plain", "x": 1})), ["x", "name", "size"]);
        assert_eq!(fields(json!({"kind": "?", "name": "", "size": 1})), ["kind"]);
        assert_eq!(fields(json!([])), ["."]);
    }

    #[test]
    fn whoever_gives_no_time_is_told_what_one_looks_like() {
        for when in ["", "soon", "2026-13-01T00:00:00Z", "2026-01-31", "2026-01-31T12:00:00Z!"] {
            let body = json!({"name": "", "kind": "plain", "size": 1, "when": when});
            let error = read::<Outer>(body).expect_err("no time");
            let [field] = error.fields.as_slice() else { panic!("{when}: {:?}", error.fields) };
            assert!(field.field == "when" && field.message.contains("RFC 3339"), "{when}: {}", field.message);
        }
    }

    #[test]
    fn a_body_with_many_faults_is_told_a_bounded_number() {
        let items: Vec<_> = (0..200).map(|n| json!(n)).collect();
        let body = json!({"name": "", "kind": "plain", "size": 1, "inner": {"channels": items}});
        assert_eq!(fields(body).len(), MAX_FAULTS);
    }
}
