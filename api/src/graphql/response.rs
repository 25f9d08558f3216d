//! Writes GraphQL responses as JSON.
//!
//! The library's own serialisation would re-print an event's data. Here a [`Value::Binary`] is a JSON text that stands
//! for itself and goes out byte for byte; the scalar `JSON` is the only one that makes such values.

use async_graphql::{PathSegment, Response, ServerError, Value};
use bytes::Bytes;
use nuncio_model::json::push_string;

use crate::feed::Gap;

/// Whether nothing was executed: the document, the variables or the operation's name were bad.
///
/// The answer then has no `data` member at all (GraphQL, October 2021, section 7.1.1).
pub(super) fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|e| e.path.is_empty())
}

/// Whether the errors left no data, and the operation ends with them.
pub(super) fn is_end(response: &Response) -> bool {
    response.data == Value::Null && !response.errors.is_empty()
}

/// The response as a JSON object; a gap goes to `extensions.gap`.
pub(super) fn write(response: &Response, gap: Option<&Gap>) -> Bytes {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    if !is_request_error(response) {
        out.extend_from_slice(b"\"data\":");
        write_value(&mut out, &response.data);
        out.push(b',');
    }
    if !response.errors.is_empty() {
        out.extend_from_slice(b"\"errors\":");
        write_errors(&mut out, &response.errors);
        out.push(b',');
    }
    if let Some(gap) = gap {
        out.extend_from_slice(b"\"extensions\":{\"gap\":");
        write_gap(&mut out, gap);
        out.extend_from_slice(b"},");
    }
    // Every member above ends with a comma, and there is always one.
    out.pop();
    out.push(b'}');
    out.into()
}

/// The responses of a batch as a JSON array.
pub(super) fn write_batch(responses: &[Response]) -> Bytes {
    let mut out = Vec::with_capacity(256 * responses.len());
    write_list(&mut out, responses, |out, response| out.extend_from_slice(&write(response, None)));
    out.into()
}

/// A response that was written without a gap, with one.
pub(super) fn with_gap(response: &[u8], gap: &Gap) -> Vec<u8> {
    let mut out = Vec::with_capacity(response.len() + 128);
    out.extend_from_slice(response.strip_suffix(b"}").unwrap_or(response));
    out.extend_from_slice(b",\"extensions\":{\"gap\":");
    write_gap(&mut out, gap);
    out.extend_from_slice(b"}}");
    out
}

/// The errors as a JSON array, as the WebSocket message `error` carries them too.
pub(super) fn write_errors(out: &mut Vec<u8>, errors: &[ServerError]) {
    write_list(out, errors, write_error);
}

/// A value as JSON.
pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(yes) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => push_string(out, text),
        Value::Enum(name) => push_string(out, name),
        Value::Binary(json) => out.extend_from_slice(json),
        Value::List(items) => write_list(out, items, write_value),
        Value::Object(members) => {
            write_object(out, members.iter().map(|(name, value)| (name.as_str(), value)), write_value);
        }
    }
}

/// One error as a JSON object.
pub(super) fn write_error(out: &mut Vec<u8>, error: &ServerError) {
    out.extend_from_slice(b"{\"message\":");
    push_string(out, &error.message);
    if !error.locations.is_empty() {
        out.extend_from_slice(b",\"locations\":");
        write_list(out, &error.locations, |out, at| {
            out.extend_from_slice(format!("{{\"line\":{},\"column\":{}}}", at.line, at.column).as_bytes());
        });
    }
    if !error.path.is_empty() {
        out.extend_from_slice(b",\"path\":");
        write_list(out, &error.path, |out, segment| match segment {
            PathSegment::Field(name) => push_string(out, name),
            PathSegment::Index(index) => out.extend_from_slice(index.to_string().as_bytes()),
        });
    }
    if let Some(extensions) = &error.extensions {
        // Its members are private; through serde they come out as what they went in as.
        let members = serde_json::to_value(extensions).unwrap_or_default();
        out.extend_from_slice(b",\"extensions\":");
        serde_json::to_writer(&mut *out, &members).expect("a JSON value always prints, and a Vec takes all");
    }
    out.push(b'}');
}

fn write_gap(out: &mut Vec<u8>, gap: &Gap) {
    out.extend_from_slice(b"{\"reason\":");
    push_string(out, gap.reason.as_str());
    out.extend_from_slice(b",\"from\":");
    match gap.from {
        Some(from) => push_string(out, &from.to_string()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"to\":");
    push_string(out, &gap.to.to_string());
    out.push(b'}');
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn write_object<'a, V: 'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'a str, &'a V)>,
    write: impl Fn(&mut Vec<u8>, &V),
) {
    out.push(b'{');
    for (i, (name, value)) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        write(out, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use async_graphql::{Name, Pos};
    use nuncio_model::{Code, Cursor, ProjectId};

    use super::*;

    fn text(response: &Response, gap: Option<&Gap>) -> String {
        String::from_utf8(write(response, gap).to_vec()).expect("JSON is UTF-8")
    }

    fn object(members: Vec<(&str, Value)>) -> Value {
        Value::Object(members.into_iter().map(|(name, value)| (Name::new(name), value)).collect())
    }

    #[test]
    fn data_goes_out_byte_for_byte() {
        let data = Value::Binary(Bytes::from_static(b"{\"n\":1e400,\"n\":1.0}"));
        let response = Response::new(object(vec![
            ("data", data),
            ("list", Value::List(vec![Value::Null, 1.into(), true.into()])),
            ("\"", Value::Enum(Name::new("SKIP"))),
        ]));
        assert_eq!(
            text(&response, None),
            r#"{"data":{"data":{"n":1e400,"n":1.0},"list":[null,1,true],"\"":"SKIP"}}"#
        );
    }

    #[test]
    fn an_error_before_execution_has_no_data() {
        let mut error = ServerError::new("no \"such\" field", Some(Pos { line: 1, column: 2 }));
        let response = Response::from_errors(vec![error.clone()]);
        assert_eq!(
            text(&response, None),
            r#"{"errors":[{"message":"no \"such\" field","locations":[{"line":1,"column":2}]}]}"#
        );
        error.path = vec![PathSegment::Field("a".to_owned()), PathSegment::Index(1)];
        error.extensions.get_or_insert_default().set("code", "FORBIDDEN");
        let response = Response::from_errors(vec![error]);
        let sent = text(&response, None);
        assert!(sent.starts_with(r#"{"data":null,"errors":"#), "{sent}");
        assert!(sent.ends_with(r#""path":["a",1],"extensions":{"code":"FORBIDDEN"}}]}"#), "{sent}");
    }

    #[test]
    fn a_gap_is_told_in_the_extensions() {
        let to = Cursor { project: ProjectId(1), epoch: 1, position: 9 };
        let gap = Gap { reason: Code::CursorExpired, from: None, to };
        let sent = text(&Response::new(Value::Null), Some(&gap));
        let expected = format!(
            r#"{{"data":null,"extensions":{{"gap":{{"reason":"CURSOR_EXPIRED","from":null,"to":"{to}"}}}}}}"#
        );
        assert_eq!(sent, expected);
        let later = with_gap(&write(&Response::new(Value::Null), None), &gap);
        assert_eq!(String::from_utf8(later).expect("JSON is UTF-8"), expected);
    }
}
