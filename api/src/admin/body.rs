//! Bodies of requests: JSON, with each wrong field named.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use nuncio_model::cloudevents::is_json_type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fit;
use crate::body::Payload;
use crate::error::ApiError;

/// A JSON body read as `T`, which should refuse unknown fields: a misspelt one must not be taken as left out.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Default> Body<T> {
    /// The body, which may be left out: there is nothing in it that must be said.
    ///
    /// # Errors
    /// As for any body.
    pub(super) async fn or_default(request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let Payload(bytes) = Payload::from_request(Request::from_parts(parts.clone(), body), &()).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        Self::from_request(Request::from_parts(parts, bytes.into()), &()).await
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_none_or(is_json_type) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(ApiError::invalid("the body must be application/json").with_status(status));
        }
        let Payload(bytes) = Payload::from_request(request, state).await?;
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(ApiError::invalid("the body must be a JSON object"));
        }
        let value: T = match serde_json::from_slice(&bytes) {
            Ok(value) => value,
            Err(error) if error.is_data() => return Err(misfit::<T>(&bytes)),
            Err(error) => return Err(ApiError::invalid(format!("the body is not JSON: {error}"))),
        };
        Ok(Self(value))
    }
}

/// What is wrong with a body that is JSON and not what is asked for. It is read as a value only now, since that takes a
/// field that is there twice for one.
fn misfit<T: DeserializeOwned>(bytes: &[u8]) -> ApiError {
    let read = serde_json::from_slice(bytes).map(fit::read::<T>);
    match read {
        Err(error) => ApiError::invalid(format!("the body is not JSON: {error}")),
        Ok(Err(misfit)) => misfit,
        Ok(Ok(_)) => ApiError::invalid("the body names a field twice"),
    }
}

/// A JSON object whose fields are judged later.
pub(super) type Object = Map<String, Value>;

/// Lays the changes over what there is (JSON merge patch, RFC 7396) and reads the result.
///
/// # Errors
/// `INVALID_REQUEST`, naming each field that does not fit.
pub(super) fn merge<T: Serialize + DeserializeOwned>(current: &T, changes: Object) -> Result<T, ApiError> {
    let mut merged = serde_json::to_value(current).map_err(ApiError::internal)?;
    overlay(&mut merged, Value::Object(changes));
    fit::read(merged)
}

fn overlay(target: &mut Value, patch: Value) {
    let Value::Object(changes) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, change) in changes {
        if name == SCHEMAS {
            replace_each(&mut target[&name], change);
            continue;
        }
        // RFC 7396 removes a member that is null; here that is the same as null, since every field is always there.
        overlay(&mut target[name], change);
    }
}

/// A JSON merge patch to the letter of RFC 7396, for objects whose members may be missing: null takes one away.
pub(super) fn merge_members(target: &mut Value, patch: Value) {
    let Value::Object(changes) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.shift_remove(&name);
        } else {
            merge_members(members.entry(name).or_insert(Value::Null), change);
        }
    }
}

/// The setting whose members are values of their own. A part of an old JSON Schema must not stay in a new one, nor
/// can a schema be told from a patch of one, and `null` may stand in it.
const SCHEMAS: &str = "schemas";

fn replace_each(target: &mut Value, patch: Value) {
    let (Value::Object(members), Value::Object(changes)) = (&mut *target, patch.clone()) else {
        *target = patch;
        return;
    };
    for (name, change) in changes {
        match change {
            Value::Null => drop(members.shift_remove(&name)),
            whole => drop(members.insert(name, whole)),
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_model::NamespaceSettings;
    use serde_json::json;

    use super::*;

    fn patched(changes: Value) -> Result<NamespaceSettings, ApiError> {
        let Value::Object(changes) = changes else { panic!("an object") };
        merge(&NamespaceSettings::default(), changes)
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let settings = patched(json!({"retentionSeconds": null, "signals": false})).expect("good");
        assert_eq!(
            (settings.retention_seconds, settings.signals, settings.dedupe_seconds),
            (None, false, 86_400)
        );
    }

    #[test]
    fn a_schema_is_replaced_whole_and_taken_away_by_null() {
        let before =
            json!({"schemas": {"a": {"required": ["x"]}, "b": true, "c": false}, "publishers": ["keys"]});
        let before: NamespaceSettings = serde_json::from_value(before).expect("good");
        let Value::Object(changes) = json!({"schemas": {"a": {"const": null}, "b": null}}) else {
            panic!("an object")
        };
        let after = merge(&before, changes).expect("good");
        let schemas = serde_json::to_value(&after.schemas).expect("JSON");
        assert_eq!((schemas, after.publishers.len()), (json!({"a": {"const": null}, "c": false}), 1));
    }

    #[test]
    fn every_wrong_field_is_named() {
        // A merge patch once named the first wrong field alone, so that a form had to be sent once per mistake.
        let changes = json!({"signal": true, "presence": "x", "dedupeSeconds": "1", "signals": null});
        let error = patched(changes).expect_err("wrong");
        let mut fields: Vec<_> = error.fields.iter().map(|field| field.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["dedupeSeconds", "presence", "signal", "signals"], "{error:?}");
    }
}
