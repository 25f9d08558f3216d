//! GraphQL over HTTP whose answers go on: server-sent events in both modes, and multipart.
//!
//! The stream takes its socket out of HTTP, and runs its operations as a WebSocket does: subscriptions that ask for the
//! same are executed once for all of them.

mod connection;
mod dialect;
mod single;

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use nuncio_model::Identity;
use tokio_util::task::TaskTracker;

use super::answer::{self, Answer};
use super::body::Posted;
use super::fanout::{Plan, Receipt, plan};
use super::http::Endpoint;
use super::request::{self, Incoming};
use crate::accept::Accept;
use crate::auth::{Caller, StreamCaller};
use crate::connections::Client;
use crate::error::ApiError;
use crate::live::{self, Exit};
use connection::{First, Session};
use dialect::Dialect;

pub(super) use single::{Single, open, owner_of, reserve, start, stop, token};

/// Whether the client names a stream among what it accepts.
pub(super) fn is_wanted(accept: &Accept) -> bool {
    Dialect::wanted(accept).is_some()
}

/// `POST /graphql` of a client that accepts a stream.
pub(super) async fn post(
    endpoint: Endpoint,
    single: &Single,
    caller: Result<Caller, ApiError>,
    (request, accept): (Request, &Accept),
) -> Response {
    let answer = async {
        let identity = endpoint.admit(caller, request.headers())?;
        endpoint.visitor.request(&endpoint.app, &identity)?;
        let exit = Exit::of(request.extensions(), request.version())?;
        let client = Client::of(request.headers(), request.extensions());
        match Posted::read(request, endpoint.app.settings.graphql_batch).await? {
            Posted::One(incoming) => {
                answer((endpoint, single), (identity, client), incoming, (Method::POST, exit), accept).await
            }
            Posted::Batch(_) => Err(ApiError::invalid("a batch is not answered by a stream; accept JSON")),
        }
    };
    answer.await.unwrap_or_else(|error| answer::write(Err(error), accept))
}

/// `GET /graphql?query=…` of a client that accepts a stream.
pub(super) async fn get(
    endpoint: Endpoint,
    single: &Single,
    caller: Result<StreamCaller, ApiError>,
    (request, accept): (Request, &Accept),
) -> Response {
    let answer = async move {
        let StreamCaller(identity) = caller?;
        endpoint.visitor.request(&endpoint.app, &identity)?;
        let exit = Exit::of(request.extensions(), request.version())?;
        let client = Client::of(request.headers(), request.extensions());
        let incoming = Incoming::from_query(request.uri().query().unwrap_or_default())?;
        answer((endpoint, single), (identity, client), incoming, (Method::GET, exit), accept).await
    };
    answer.await.unwrap_or_else(|error| answer::write(Err(error), accept))
}

/// A stream where it is needed or nothing else is accepted, and else an answer that is given at once.
///
/// What is wrong with a document is told inside the stream: an EventSource tells its page nothing of any other answer.
async fn answer(
    (endpoint, single): (Endpoint, &Single),
    (identity, client): (Arc<Identity>, Client),
    incoming: Incoming,
    (method, exit): (Method, Exit),
    accept: &Accept,
) -> Result<Response, ApiError> {
    let whole = |response| answer::write(Ok(Answer::One(response)), accept);
    let first = match plan(&endpoint, &identity, incoming, Receipt::Unknown) {
        Ok(Plan::Alone(mut operation)) => {
            let kind = request::kind(&mut operation.request, &endpoint.documents.positions)?;
            if kind == Some(OperationType::Mutation) && method == Method::GET {
                let error = ApiError::invalid("GET mutates nothing; send this by POST");
                return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
            }
            if kind != Some(OperationType::Subscription) && accept.json().is_some() {
                return Ok(whole(Box::new(endpoint.schema.execute(operation.request).await)));
            }
            if accept.json().is_some()
                && let Err(refused) = single.rehearsal.check(&operation.request).await
            {
                return Ok(whole(refused));
            }
            First::Operation(Plan::Alone(operation))
        }
        Ok(Plan::Shared(shared)) => {
            endpoint.visitor.subscribe(&endpoint.app, &identity, &shared.asked.patterns)?;
            First::Operation(Plan::Shared(shared))
        }
        Err(refused) if accept.json().is_some() => return Ok(whole(refused)),
        Err(refused) => First::Refused(refused),
    };
    let dialect = Dialect::wanted(accept).unwrap_or(Dialect::Distinct);
    endpoint.visitor.connect(&endpoint.app, &identity)?;
    let framing = exit.framing;
    let renewal = None;
    Ok(begin(exit, Session { endpoint, identity, dialect, framing, client, first, renewal }))
}

/// The answer that the stream goes on from.
fn begin(exit: Exit, session: Session) -> Response {
    let dialect = session.dialect;
    let takeover =
        Box::new(|socket, seat, tasks: &TaskTracker| drop(tasks.spawn(session.serve(socket, seat))));
    live::open(exit, dialect.media_type(), Bytes::from_static(dialect.hello()), takeover)
}
