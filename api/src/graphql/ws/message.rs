//! The messages of the server about operations, as JSON texts.

use async_graphql::Response;
use nuncio_model::json::push_string;

use super::super::{error, response};
use super::close::CloseReason;
use super::dialect::Dialect;

/// What ends a message with a payload.
pub(super) const TAIL: &[u8] = b"}";

/// `{"id":…,"type":…,"payload":`, to be followed by a result, which is JSON already, and [`TAIL`].
pub(super) fn result_head(dialect: Dialect, id: &str) -> Vec<u8> {
    let mut out = head(id, dialect.result());
    out.extend_from_slice(b",\"payload\":");
    out
}

/// An operation has ended with errors. The modern dialect tells all of them, the legacy one has room for the first.
pub(super) fn error(dialect: Dialect, id: &str, mut response: Response) -> Vec<u8> {
    error::finish(&mut response);
    let mut out = head(id, "error");
    out.extend_from_slice(b",\"payload\":");
    match (dialect, response.errors.first()) {
        (Dialect::Legacy, Some(first)) => response::write_error(&mut out, first),
        _ => response::write_errors(&mut out, &response.errors),
    }
    out.extend_from_slice(TAIL);
    out
}

/// `{"id":…,"type":"complete"}`
pub(super) fn complete(id: &str) -> Vec<u8> {
    let mut out = head(id, "complete");
    out.extend_from_slice(TAIL);
    out
}

/// Why the connection is about to be closed.
pub(super) fn connection_error(reason: CloseReason) -> Vec<u8> {
    let mut out = br#"{"type":"connection_error","payload":{"message":"#.to_vec();
    push_string(&mut out, reason.text());
    out.extend_from_slice(b"}}");
    out
}

/// Whether a response is sent as an `error`, which ends its operation.
///
/// The modern one has it for whatever left no data. In the legacy one it stands for what failed before the execution,
/// and the errors of resolvers are a result like another.
pub(super) fn is_end(dialect: Dialect, response: &Response) -> bool {
    match dialect {
        Dialect::Modern => response::is_end(response),
        Dialect::Legacy => response::is_request_error(response),
    }
}

fn head(id: &str, kind: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(id.len() + 48);
    out.extend_from_slice(b"{\"id\":");
    push_string(&mut out, id);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, ServerError};

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn messages_are_json_in_the_words_of_each() {
        for (dialect, kind) in [(Dialect::Modern, "next"), (Dialect::Legacy, "data")] {
            let whole = [&result_head(dialect, "a\"\u{1}b")[..], b"{}", TAIL].concat();
            assert_eq!(text(whole), format!(r#"{{"id":"a\"\u0001b","type":"{kind}","payload":{{}}}}"#));
        }
        assert_eq!(text(complete("1")), r#"{"id":"1","type":"complete"}"#);
        let refused = text(connection_error(CloseReason::Forbidden));
        assert_eq!(refused, r#"{"type":"connection_error","payload":{"message":"Forbidden"}}"#);
    }

    #[test]
    fn the_legacy_dialect_tells_one_error() {
        let errors = || Response::from_errors(vec![ServerError::new("a", None), ServerError::new("b", None)]);
        let code = r#""extensions":{"code":"INVALID_REQUEST"}"#;
        assert_eq!(
            text(error(Dialect::Modern, "1", errors())),
            format!(
                r#"{{"id":"1","type":"error","payload":[{{"message":"a",{code}}},{{"message":"b",{code}}}]}}"#
            )
        );
        assert_eq!(
            text(error(Dialect::Legacy, "1", errors())),
            format!(r#"{{"id":"1","type":"error","payload":{{"message":"a",{code}}}}}"#)
        );
    }

    #[test]
    fn errors_of_resolvers_end_an_operation_in_the_modern_dialect_alone() {
        let mut failed = ServerError::new("a", None);
        let before = Response::from_errors(vec![failed.clone()]);
        failed.path = vec![PathSegment::Field("history".to_owned())];
        let during = Response::from_errors(vec![failed]);
        assert!(is_end(Dialect::Modern, &before) && is_end(Dialect::Modern, &during));
        assert!(is_end(Dialect::Legacy, &before) && !is_end(Dialect::Legacy, &during));
        assert!(!is_end(Dialect::Modern, &Response::new(async_graphql::Value::Null)));
    }
}
