//! GraphQL over HTTP: POST with JSON for all operations but subscriptions, GET for queries alone.
//!
//! No page elsewhere can make a browser mutate: a form cannot send `application/json`, and a GET never mutates.

use std::sync::Arc;

use async_graphql::http::GraphiQLSource;
use async_graphql::{Response as GraphqlResponse, Variables};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use nuncio_model::Identity;

use super::fanout::Documents;
use super::request::{Incoming, is_query};
use super::schema::{Request as Asking, Schema};
use super::{error, response};
use crate::app::App;
use crate::auth::Caller;
use crate::cors::check_origin;
use crate::error::ApiError;
use crate::query;

/// The media type of GraphQL over HTTP; its answers to bad requests have the status 400.
const GRAPHQL_JSON: &str = "application/graphql-response+json";
/// The older one, whose answers have the status 200 wherever the request could be read.
const JSON: &str = "application/json";

/// What a handler knows beside the request.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) app: Arc<App>,
    pub(super) schema: Schema,
    /// What is known of documents that were used before.
    pub(super) documents: Arc<Documents>,
}

/// `POST /graphql`
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(schema): Extension<Schema>,
    Extension(documents): Extension<Arc<Documents>>,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let endpoint = Endpoint { app, schema, documents };
    let answer = async {
        let identity = endpoint.admit(caller, &headers)?;
        if !is_json(&headers) {
            let error = ApiError::invalid("send the request as application/json");
            return Err(error.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        // The parser's own words may repeat the body.
        let incoming = serde_json::from_slice(&body).map_err(|_| {
            ApiError::invalid(
                "the body must be one JSON object with query, and operationName and variables if needed",
            )
        })?;
        endpoint.execute(incoming, &identity, true).await
    };
    write(answer.await, &headers)
}

/// `GET /graphql?query=…`
pub(super) async fn get(
    endpoint: Endpoint,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = async {
        let identity = endpoint.admit(caller, &headers)?;
        let incoming = from_query(query.as_deref().unwrap_or_default())?;
        endpoint.execute(incoming, &identity, false).await
    };
    write(answer.await, &headers)
}

/// Whether a browser asks for a page.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    accepts(headers, "text/html")
}

/// GraphiQL, which loads its own parts from a CDN.
pub(super) fn graphiql() -> Response {
    let page = GraphiQLSource::build()
        .endpoint("/graphql")
        .subscription_endpoint("/graphql")
        .title("Nuncio GraphiQL");
    Html(page.finish()).into_response()
}

impl Endpoint {
    /// Who is asking, if a page of its origin may.
    fn admit(
        &self,
        caller: Result<Caller, ApiError>,
        headers: &HeaderMap,
    ) -> Result<Arc<Identity>, ApiError> {
        let Caller(identity) = caller?;
        check_origin(&*self.app.project(&identity)?, headers)?;
        Ok(identity)
    }

    async fn execute(
        &self,
        incoming: Incoming,
        identity: &Arc<Identity>,
        may_mutate: bool,
    ) -> Result<GraphqlResponse, ApiError> {
        let mut request = incoming.prepare(&self.app)?.data(Asking::new(self.app.clone(), identity.clone()));
        if !may_mutate && !is_query(&mut request) {
            let error = ApiError::invalid("GET is for queries alone; send this by POST");
            return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        Ok(self.schema.execute(request).await)
    }
}

fn from_query(text: &str) -> Result<Incoming, ApiError> {
    let (mut document, mut operation_name, mut variables) = (None, None, None);
    for (name, value) in query::pairs(text) {
        match &*name {
            "query" => document = Some(value.into_owned()),
            "operationName" => operation_name = Some(value.into_owned()),
            "variables" => {
                let parsed = serde_json::from_str::<Variables>(&value);
                variables = Some(parsed.map_err(|_| ApiError::invalid("variables must be a JSON object"))?);
            }
            _ => {}
        }
    }
    let document = document.ok_or_else(|| ApiError::invalid("the query string needs query"))?;
    Ok(Incoming::new(document, operation_name, variables))
}

/// Writes the answer in the media type that the client asks for.
fn write(answer: Result<GraphqlResponse, ApiError>, headers: &HeaderMap) -> Response {
    let legacy = accepts(headers, JSON) && !accepts(headers, GRAPHQL_JSON);
    let (mut answer, status) = match answer {
        Ok(answer) if response::is_request_error(&answer) && !legacy => (answer, StatusCode::BAD_REQUEST),
        Ok(answer) => (answer, StatusCode::OK),
        Err(error) => {
            let status = error.status();
            (error::response(error), status)
        }
    };
    error::finish(&mut answer);
    let media_type = HeaderValue::from_static(if legacy { JSON } else { GRAPHQL_JSON });
    (status, [(CONTENT_TYPE, media_type)], response::write(&answer, None)).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON)
}

/// Whether the `Accept` headers name this media type; the wildcard is not counted.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges.any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn media_types_are_compared_without_parameters() {
        assert!(is_json(&headers(CONTENT_TYPE, "Application/JSON; charset=utf-8")));
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(!is_json(&headers(CONTENT_TYPE, other)), "{other}");
        }
        assert!(wants_page(&headers(ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")));
        assert!(!wants_page(&headers(ACCEPT, "*/*")));
    }

    #[test]
    fn a_query_string_carries_the_same_members() {
        let incoming =
            from_query("query=%7Bcursor%7D&variables=%7B%22a%22%3A1%7D&x=1").expect("a good query");
        assert_eq!((incoming.query.as_str(), incoming.variables.is_some()), ("{cursor}", true));
        assert!(from_query("variables=%7B%7D").is_err() && from_query("query=a&variables=nope").is_err());
    }
}
