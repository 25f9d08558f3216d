//! GraphQL over HTTP: POST with JSON for all operations but subscriptions, GET for queries alone.
//!
//! Who is asking is known before anything of a request is read, and whatever is refused is told as a GraphQL response.

use std::sync::Arc;

use async_graphql::Response as GraphqlResponse;
use async_graphql::parser::types::OperationType;
use axum::extract::{RawQuery, Request};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use nuncio_model::Identity;

use super::answer::{self, Answer};
use super::body::Posted;
use super::completion::Completion;
use super::fanout::Documents;
use super::request::{self, Incoming};
use super::schema::{Request as Asking, Schema};
use crate::accept::Accept;
use crate::app::App;
use crate::auth::Caller;
use crate::cors::check_origin;
use crate::error::ApiError;
use crate::limits::Visitor;

/// What a handler knows beside the request.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) app: Arc<App>,
    pub(super) schema: Schema,
    /// What is known of documents that were used before.
    pub(super) documents: Arc<Documents>,
    /// Whom what is asked for is counted for.
    pub(super) visitor: Visitor,
}

/// `POST /graphql`
pub(super) async fn post(endpoint: Endpoint, caller: Result<Caller, ApiError>, request: Request) -> Response {
    let accept = Accept::of(request.headers());
    let answer = async {
        let identity = endpoint.admit(caller, request.headers())?;
        check_acceptable(&accept)?;
        match Posted::read(request, endpoint.app.settings.graphql_batch).await? {
            Posted::One(incoming) => endpoint.one(incoming, &identity, Method::Post).await,
            Posted::Batch(all) => endpoint.batch(all, &identity).await,
        }
    };
    answer::write(answer.await, &accept)
}

/// `GET /graphql?query=…`
pub(super) async fn get(
    endpoint: Endpoint,
    caller: Result<Caller, ApiError>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let accept = Accept::of(&headers);
    let answer = async {
        let identity = endpoint.admit(caller, &headers)?;
        check_acceptable(&accept)?;
        let incoming = Incoming::from_query(query.as_deref().unwrap_or_default())?;
        endpoint.one(incoming, &identity, Method::Get).await
    };
    answer::write(answer.await, &accept)
}

/// Every other method.
pub(super) async fn other_method(headers: HeaderMap) -> Response {
    let error = ApiError::invalid("send operations by POST, or queries by GET");
    let error = error.with_status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = answer::write(Err(error), &Accept::of(&headers));
    // The router itself adds which there are.
    response.headers_mut().remove(ALLOW);
    response
}

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
}

impl Endpoint {
    /// Who is asking, if a page of its origin may.
    pub(super) fn admit(
        &self,
        caller: Result<Caller, ApiError>,
        headers: &HeaderMap,
    ) -> Result<Arc<Identity>, ApiError> {
        let Caller(identity) = caller?;
        check_origin(&*self.app.project(&identity)?, headers)?;
        Ok(identity)
    }

    async fn one(
        &self,
        incoming: Incoming,
        identity: &Arc<Identity>,
        method: Method,
    ) -> Result<Answer, ApiError> {
        let response = self.execute(incoming, identity, method).await?;
        Ok(Answer::One(Box::new(response)))
    }

    /// One after the other: a mutation is done before the next operation begins. One that is refused does not stop them.
    async fn batch(&self, all: Vec<Incoming>, identity: &Arc<Identity>) -> Result<Answer, ApiError> {
        let mut responses = Vec::with_capacity(all.len());
        for incoming in all {
            let response = self.execute(incoming, identity, Method::Post).await;
            responses.push(response.unwrap_or_else(super::error::response));
        }
        Ok(Answer::Batch(responses))
    }

    async fn execute(
        &self,
        incoming: Incoming,
        identity: &Arc<Identity>,
        method: Method,
    ) -> Result<GraphqlResponse, ApiError> {
        self.visitor.request(&self.app, identity)?;
        let asking = Asking::new(self.app.clone(), identity.clone(), self.visitor.clone());
        let mut request = incoming.prepare(&self.app)?.data(asking);
        let kind = match request::kind(&mut request, &self.documents.positions) {
            Ok(kind) => kind,
            // As the library itself tells what is wrong with variables.
            Err(error) => return Ok(super::error::response(error)),
        };
        match kind {
            Some(OperationType::Subscription) => return Err(needs_a_stream()),
            Some(OperationType::Mutation) if method == Method::Get => {
                let error = ApiError::invalid("GET is for queries alone; send this by POST");
                return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
            }
            _ => {}
        }
        let completion = Completion::of(&request, &self.documents);
        let mut response = self.schema.execute(request).await;
        completion.complete(&mut response);
        Ok(response)
    }
}

fn check_acceptable(accept: &Accept) -> Result<(), ApiError> {
    if accept.json().is_some() {
        return Ok(());
    }
    Err(ApiError::invalid(
        "answers are application/graphql-response+json or application/json: accept one of them",
    )
    .with_status(StatusCode::NOT_ACCEPTABLE))
}

fn needs_a_stream() -> ApiError {
    ApiError::invalid(
        "a subscription needs a stream: accept text/event-stream or multipart/mixed;subscriptionSpec=1.0, or open a \
         WebSocket here with the subprotocol graphql-transport-ws",
    )
    .with_status(StatusCode::NOT_ACCEPTABLE)
}
