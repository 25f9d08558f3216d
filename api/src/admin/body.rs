//! Bodies of requests: JSON, with the wrong field named.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use nuncio_model::cloudevents::is_json_type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::body::Payload;
use crate::error::ApiError;

/// A JSON body read as `T`, which should refuse unknown fields: a misspelt one must not be taken as left out.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_none_or(is_json_type) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(ApiError::invalid("the body must be application/json").with_status(status));
        }
        let Payload(bytes) = Payload::from_request(request, state).await?;
        read(&bytes).map(Self)
    }
}

/// Reads a JSON body as `T`.
///
/// # Errors
/// `INVALID_REQUEST`, naming the field that does not fit.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(wrong)?;
    json.end().map_err(|error| ApiError::invalid(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// A JSON object whose fields are judged later.
pub(super) type Object = Map<String, Value>;

/// Lays the changes over what there is (JSON merge patch, RFC 7396) and reads the result.
///
/// # Errors
/// `INVALID_REQUEST`, naming the field that does not fit.
pub(super) fn merge<T: Serialize + DeserializeOwned>(current: &T, changes: Object) -> Result<T, ApiError> {
    let mut merged = serde_json::to_value(current).map_err(ApiError::internal)?;
    overlay(&mut merged, Value::Object(changes));
    serde_path_to_error::deserialize(merged).map_err(wrong)
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
        // RFC 7396 removes a member that is null; here that is the same as null, since every field is always there.
        overlay(&mut target[name], change);
    }
}

/// Names the field where the body does not fit.
fn wrong<E: std::fmt::Display>(error: serde_path_to_error::Error<E>) -> ApiError {
    let (path, message) = (error.path().to_string(), error.inner().to_string());
    let field = match message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        Some(name) if path == "." || path == "?" => name.to_owned(),
        _ => path,
    };
    let message = message.split(" at line").next().unwrap_or_default().to_owned();
    ApiError::invalid("the body is not what is asked for here").field(field, message)
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
    fn the_wrong_field_is_named() {
        for (changes, field) in [(json!({"signal": true}), "signal"), (json!({"presence": "x"}), "presence")]
        {
            let error = patched(changes).expect_err("wrong");
            assert_eq!(error.fields.first().map(|f| f.field.as_str()), Some(field), "{error:?}");
        }
    }
}
