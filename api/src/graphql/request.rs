//! A GraphQL request as it comes in, on every transport, up to where the library takes it.

use std::collections::BTreeMap;

use async_graphql::Variables;
use async_graphql::parser::types::OperationType;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::guard::{self, Limits};
use crate::app::App;
use crate::error::ApiError;

/// The members of a request (GraphQL over HTTP, section 5.1; graphql-transport-ws, `subscribe`).
#[derive(Debug, Deserialize)]
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
    /// Not used; an object where it is there.
    #[serde(default, rename = "extensions")]
    _extensions: Option<BTreeMap<String, IgnoredAny>>,
}

impl Incoming {
    /// A request put together from the parts of a query string.
    pub(super) fn new(query: String, operation_name: Option<String>, variables: Option<Variables>) -> Self {
        Self { query, operation_name, variables, _extensions: None }
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

/// Whether the operation that would be executed is a query; a document that cannot be parsed has none.
pub(super) fn is_query(request: &mut async_graphql::Request) -> bool {
    let name = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else { return true };
    let named = |other: Option<&async_graphql::Name>| {
        name.as_deref().is_none_or(|name| other.is_some_and(|o| o == name))
    };
    document
        .operations
        .iter()
        .filter(|(name, _)| named(*name))
        .all(|(_, operation)| operation.node.ty == OperationType::Query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_operation_that_would_run_decides() {
        let check = |document: &str, name: Option<&str>| {
            let mut request = async_graphql::Request::new(document);
            request.operation_name = name.map(str::to_owned);
            is_query(&mut request)
        };
        assert!(check("{ cursor }", None));
        assert!(!check("mutation { a }", None));
        assert!(!check("subscription { a }", None));
        let both = "query A { cursor } mutation B { b }";
        assert!(check(both, Some("A")) && !check(both, Some("B")) && !check(both, None));
    }

    #[test]
    fn a_request_is_an_object_with_a_query() {
        let read = |text: &str| serde_json::from_str::<Incoming>(text);
        assert!(
            read(r#"{"query":"{a}","variables":null,"operationName":null,"extensions":{"x":[1]}}"#).is_ok()
        );
        assert!(
            read(r#"[{"query":"{a}"}]"#).is_err() && read("{}").is_err() && read(r#"{"query":1}"#).is_err()
        );
        let deep =
            format!(r#"{{"query":"{{a}}","variables":{{"v":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(read(&deep).is_err());
    }
}
