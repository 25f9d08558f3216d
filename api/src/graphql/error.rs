//! Errors as GraphQL clients see them: a sentence, and `extensions.code`.

use async_graphql::{Error, ErrorExtensionValues, Response, ServerError, Value};
use nuncio_model::Code;

use crate::error::ApiError;

/// The most errors of one response: a document may have thousands of mistakes.
const MAX_ERRORS: usize = 20;
/// The most bytes of the library's own messages that go out: they repeat what the client sent.
const MAX_MESSAGE_BYTES: usize = 240;

/// An [`ApiError`] for a resolver to return. What only the log is told is logged here, once.
pub(super) fn of_api(error: ApiError) -> Error {
    error.log("");
    let extensions = Some(extensions_of(&error));
    Error { message: error.detail, source: None, extensions }
}

/// A response that says only this.
pub(super) fn response(error: ApiError) -> Response {
    error.log("");
    let extensions = Some(extensions_of(&error));
    let mut server_error = ServerError::new(error.detail, None);
    server_error.extensions = extensions;
    Response::from_errors(vec![server_error])
}

fn extensions_of(error: &ApiError) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", error.code.as_str());
    for (name, value) in error.members.iter() {
        extensions.set(name, Value::from_json(value.clone()).unwrap_or_default());
    }
    if !error.fields.is_empty() {
        let fields = serde_json::to_value(&error.fields).unwrap_or_default();
        extensions.set("errors", Value::from_json(fields).unwrap_or_default());
    }
    extensions
}

/// Gives the library's own errors a code, and cuts what they repeat of the document.
pub(super) fn finish(response: &mut Response) {
    response.errors.truncate(MAX_ERRORS);
    for error in &mut response.errors {
        let has_code = error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some());
        if !has_code {
            let code = code_of(&error.message);
            error.extensions.get_or_insert_default().set("code", code.as_str());
            error.message = shorten(&error.message);
        }
    }
}

/// The library tells its limits apart from other mistakes only by these sentences.
fn code_of(message: &str) -> Code {
    let too_complex =
        ["Query is too complex", "Query is nested too deep", "The recursion depth of the query"];
    let limit = too_complex.iter().any(|start| message.starts_with(start))
        || message.starts_with("The number of directives");
    if limit { Code::TooComplex } else { Code::InvalidRequest }
}

/// A syntax error shows the line of the document and says `= expected …` below it: that last part is enough, since
/// the position stands in `locations`.
fn shorten(message: &str) -> String {
    let tail = message.rsplit_once("\n  = ").map(|(_, tail)| format!("the document is not GraphQL: {tail}"));
    let text = tail.unwrap_or_else(|| message.lines().next().unwrap_or_default().to_owned());
    // What was found may be anything that somebody wrote, secrets too.
    let text = text.split_once(", found ").map_or(text.as_str(), |(wanted, _)| wanted);
    if text.len() <= MAX_MESSAGE_BYTES {
        return text.to_owned();
    }
    let end = (0..=MAX_MESSAGE_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(message: &str) -> (String, String) {
        let mut response = Response::from_errors(vec![ServerError::new(message, None)]);
        finish(&mut response);
        let error = response.errors.remove(0);
        let code = error.extensions.and_then(|extensions| extensions.get("code").cloned());
        (error.message, code.map(|code| code.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_syntax_error_does_not_repeat_the_document() {
        let parse =
            async_graphql::parser::parse_query("{ secret(token: \"abc\" ] }").expect_err("not GraphQL");
        let (message, code) = finished(&parse.to_string());
        assert!(message.contains("expected") && !message.contains("abc"), "{message}");
        assert_eq!(code, "\"INVALID_REQUEST\"");
    }

    #[test]
    fn limits_have_their_own_code_and_long_messages_are_cut() {
        assert_eq!(finished("Query is too complex.").1, "\"TOO_COMPLEX\"");
        let (message, _) = finished(&format!("Unknown field \"{}\"", "ä".repeat(5_000)));
        assert!(message.len() < 260 && message.ends_with('…'));
    }

    #[test]
    fn values_are_not_repeated_and_mistakes_are_few() {
        let (message, _) = finished("Expected input type \"Int\", found \"my secret\".");
        assert_eq!(message, "Expected input type \"Int\"");
        let mut response = Response::from_errors(vec![ServerError::new("no", None); 5_000]);
        finish(&mut response);
        assert_eq!(response.errors.len(), MAX_ERRORS);
    }

    #[test]
    fn the_members_of_an_api_error_stand_beside_its_code() {
        let error = of_api(ApiError::new(Code::CursorExpired, "gone").with("oldest", "abc"));
        let extensions = error.extensions.expect("there is a code");
        assert_eq!(extensions.get("code"), Some(&Value::from("CURSOR_EXPIRED")));
        assert_eq!(extensions.get("oldest"), Some(&Value::from("abc")));
    }
}
