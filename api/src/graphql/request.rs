//! A GraphQL request as it comes in, on every transport, up to where the library takes it.

use std::borrow::Cow;
use std::fmt;

use async_graphql::Variables;
use async_graphql::parser::types::OperationType;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::guard::{self, Limits};
use super::positions::Positions;
use super::{fanout, once, variables};
use crate::app::App;
use crate::error::ApiError;
use crate::query;

const VARIABLES: &str = "variables must be a JSON object or null, nested less than 128 deep";
const EXTENSIONS: &str = "extensions must be a JSON object or null";

/// The members of a request (GraphQL over HTTP, section 5.1; graphql-transport-ws, `subscribe`).
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Incoming {
    /// The document.
    pub(super) query: String,
    /// Which of its operations is meant.
    #[serde(default)]
    pub(super) operation_name: Option<String>,
    /// The values of its variables.
    #[serde(default)]
    pub(super) variables: Option<Variables>,
    /// What goes beyond GraphQL itself.
    #[serde(default, skip_serializing)]
    pub(super) extensions: Option<Extensions>,
}

/// The extensions of a request; those that are not known do not matter.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// What an operation of GraphQL over SSE is called on a stream that it shares with others.
    pub(super) operation_id: Option<String>,
}

/// The members of a request, each still to be read: so that the one that is wrong can be named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow, default)]
    query: Option<&'a RawValue>,
    #[serde(borrow, default)]
    operation_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    variables: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

impl Incoming {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, naming the member that is wrong and nothing of what it holds.
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(ApiError::invalid("the body must be a JSON object with query"));
        }
        let members: Members<'_> = serde_json::from_slice(body)
            .map_err(|_| ApiError::invalid("the body is not JSON, or has a member twice"))?;
        let query = members.query.ok_or_else(|| ApiError::invalid("the request has no query"))?;
        Ok(Self {
            query: member(query.get(), "query must be a string")?,
            operation_name: optional(members.operation_name, "operationName must be a string or null")?,
            variables: optional(members.variables, VARIABLES)?,
            extensions: optional(members.extensions, EXTENSIONS)?,
        })
    }

    /// Reads a query string, where `variables` and `extensions` are JSON. What it does not know it leaves alone.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, naming the parameter that is wrong.
    pub(super) fn from_query(text: &str) -> Result<Self, ApiError> {
        let [mut document, mut operation_name, mut variables, mut extensions] = [const { None }; 4];
        for (name, value) in query::pairs(text) {
            let place = match &*name {
                "query" => &mut document,
                "operationName" => &mut operation_name,
                "variables" => &mut variables,
                "extensions" => &mut extensions,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(ApiError::invalid(format!("the query string has {name} twice")));
            }
        }
        let document = document.ok_or_else(|| ApiError::invalid("the query string has no query"))?;
        Ok(Self {
            query: document.into_owned(),
            operation_name: operation_name.map(Cow::into_owned),
            variables: parameter(variables, VARIABLES)?,
            extensions: parameter(extensions, EXTENSIONS)?,
        })
    }

    /// Makes it ready to execute for somebody, if the document is safe to parse.
    ///
    /// # Errors
    /// `TOO_COMPLEX`, `TOO_LARGE` or `INVALID_REQUEST`, before any parser has seen the document.
    pub(super) fn prepare(self, app: &App) -> Result<async_graphql::Request, ApiError> {
        guard::check(&self.query, &Limits::default())
            .map_err(|refusal| ApiError::new(refusal.code, refusal.message))?;
        let mut request =
            async_graphql::Request::new(self.query).variables(self.variables.unwrap_or_default());
        // An empty name is what some clients send for none.
        request.operation_name = self.operation_name.filter(|name| !name.is_empty());
        if !app.settings.introspection {
            request = request.disable_introspection();
        }
        Ok(request)
    }
}

/// The kind of the operation that would be executed, if its variables are used as their types allow, and have the values
/// that those demand. What it asks for twice is made one.
///
/// None where the document cannot be parsed, or does not say which operation is meant: the library then tells so.
///
/// # Errors
/// `INVALID_REQUEST`, naming a variable.
pub(super) fn kind(
    request: &mut async_graphql::Request,
    positions: &Positions,
) -> Result<Option<OperationType>, ApiError> {
    let (name, mut variables) = (request.operation_name.clone(), std::mem::take(&mut request.variables));
    let Ok(document) = request.parsed_query() else { return Ok(None) };
    let Some(operation) = fanout::operation(document, name.as_deref()) else { return Ok(None) };
    positions.check(document, operation)?;
    variables::check(operation, &variables, positions)?;
    variables::complete(operation, &mut variables);
    let (kind, merged) = (operation.ty, once::merged(document, operation)?);
    if let Some(items) = merged {
        let mut document = document.clone();
        once::replace(&mut document, name.as_deref(), items);
        request.set_parsed_query(document);
    }
    request.variables = variables;
    Ok(Some(kind))
}

fn optional<T: DeserializeOwned>(text: Option<&RawValue>, otherwise: &str) -> Result<Option<T>, ApiError> {
    text.map_or(Ok(None), |text| member(text.get(), otherwise))
}

/// An empty parameter is one that was left out.
fn parameter<T: DeserializeOwned>(
    text: Option<Cow<'_, str>>,
    otherwise: &str,
) -> Result<Option<T>, ApiError> {
    text.filter(|text| !text.is_empty()).map_or(Ok(None), |text| member(&text, otherwise))
}

/// The parser's own words may repeat what was sent.
fn member<T: DeserializeOwned>(text: &str, otherwise: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(|_| ApiError::invalid(otherwise))
}

impl<'de> Deserialize<'de> for Extensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ExtensionsVisitor)
    }
}

struct ExtensionsVisitor;

impl<'de> Visitor<'de> for ExtensionsVisitor {
    type Value = Extensions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Extensions, A::Error> {
        let mut extensions = Extensions::default();
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            if name == "operationId" {
                // One that is no string is as good as none.
                extensions.operation_id = members.next_value::<Value>()?.as_str().map(str::to_owned);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(extensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::schema;

    #[test]
    fn only_the_operation_that_would_run_decides() {
        let kind = |document: &str, name: Option<&str>| {
            let mut request = async_graphql::Request::new(document);
            request.operation_name = name.map(str::to_owned);
            kind(&mut request, &Positions::of(&schema::sdl())).expect("no variables")
        };
        assert_eq!(kind("{ cursor }", None), Some(OperationType::Query));
        assert_eq!(kind("mutation { a }", None), Some(OperationType::Mutation));
        assert_eq!(kind("subscription S { a }", None), Some(OperationType::Subscription));
        let both = "query A { cursor } mutation B { b }";
        assert_eq!(kind(both, Some("A")), Some(OperationType::Query));
        assert_eq!(kind(both, Some("B")), Some(OperationType::Mutation));
        assert_eq!((kind(both, None), kind(both, Some("C")), kind("{", None)), (None, None, None));
    }

    #[test]
    fn a_request_is_an_object_with_a_query() {
        let read = |text: &str| Incoming::read(text.as_bytes()).map_err(|error| error.detail);
        let full =
            r#" {"query":"{a}","variables":{"a":1},"operationName":"A","extensions":{"x":[1]},"more":1}"#;
        let incoming = read(full).expect("good");
        assert_eq!((incoming.query.as_str(), incoming.operation_name.as_deref()), ("{a}", Some("A")));
        assert!(read(r#"{"query":"{a}","variables":null,"operationName":null,"extensions":null}"#).is_ok());
        for (text, told) in [
            ("[]", "the body must be a JSON object"),
            ("7", "the body must be a JSON object"),
            ("{", "the body is not JSON"),
            ("{\"query\":\"\u{fe}\"", "the body is not JSON"),
            (r#"{"query":"{a}","query":"{b}"}"#, "the body is not JSON, or has a member twice"),
            ("{}", "the request has no query"),
            (r#"{"query":null}"#, "the request has no query"),
            (r#"{"query":1}"#, "query must be a string"),
            (r#"{"query":"{a}","operationName":{}}"#, "operationName must be"),
            (r#"{"query":"{a}","variables":[]}"#, "variables must be"),
            (r#"{"query":"{a}","extensions":"secret"}"#, "extensions must be"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(told) && !error.contains("secret"), "{text}: {error}");
        }
        let nested = |depth: usize| {
            format!(r#"{{"query":"{{a}}","variables":{{"v":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(read(&nested(126)).is_ok());
        for depth in [127, 200, 1_000_000] {
            assert_eq!(read(&nested(depth)).expect_err("too deep"), VARIABLES);
        }
    }

    #[test]
    fn a_query_string_carries_the_same_members() {
        let read = |text: &str| Incoming::from_query(text).map_err(|error| error.detail);
        let incoming = read("query=%7Bcursor%7D&variables=%7B%22a%22%3A1%7D&x=1").expect("a good query");
        assert_eq!((incoming.query.as_str(), incoming.variables.is_some()), ("{cursor}", true));
        assert!(read("query=a&variables=&extensions=&operationName=").is_ok());
        assert!(read("query=a&variables=null&extensions=null").is_ok());
        for (text, told) in [
            ("variables=%7B%7D", "the query string has no query"),
            ("query=a&variables=secret", VARIABLES),
            ("query=a&variables=[]", VARIABLES),
            ("query=a&extensions=1", EXTENSIONS),
            ("query=a&query=b", "the query string has query twice"),
        ] {
            assert_eq!(read(text).expect_err(text), told);
        }
    }
}
