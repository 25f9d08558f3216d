//! The requests of the single connection mode: reserve a stream, open it, start and stop operations on it.
//!
//! Whatever is wrong is told as GraphQL over HTTP does; what an operation gives comes on the stream.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use nuncio_model::rights::Proof;
use nuncio_model::{Code, Identity, ids};
use nuncio_store::{Added, Opened, ReservationKey, ReservationLimits, Ticket};

use super::super::super::answer::{self, Answer};
use super::super::super::body::Posted;
use super::super::super::fanout::{Plan, Receipt, plan};
use super::super::super::http::Endpoint;
use super::super::super::renewal::Renewal;
use super::super::super::request::{self, Incoming};
use super::super::connection::{First, Session};
use super::super::dialect::Dialect;
use super::{Holding, Single};
use crate::accept::Accept;
use crate::address::ClientAddress;
use crate::app::App;
use crate::auth::{Caller, StreamCaller};
use crate::connections::Client;
use crate::cors::{Origin, check_origin};
use crate::error::ApiError;
use crate::limits::Visitor;
use crate::live::Exit;
use crate::query;

/// The header that names a reservation.
const TOKEN: HeaderName = HeaderName::from_static("x-graphql-event-stream-token");
/// The letters and digits of a token; 40 of 62 kinds are some 238 bits.
const TOKEN_LENGTH: usize = 40;
/// The longest text that is looked for among the reservations.
const MAX_TOKEN_BYTES: usize = 200;
/// The longest id of an operation.
const MAX_ID_BYTES: usize = 256;
/// How many reservations of one key or user may wait for their stream, and how many of a project.
const WAITING: (usize, usize) = (100, 10_000);
/// The most bytes of requests that a stream has not taken yet.
const MAX_PENDING_BYTES: usize = 1 << 20;

/// The token of the reservation that the request names.
pub(in crate::graphql) fn token(request: &Request) -> Option<String> {
    let in_header = request.headers().get(&TOKEN).map(|value| value.to_str().unwrap_or("?").to_owned());
    in_header.or_else(|| parameter(request, "token"))
}

/// `PUT /graphql`: makes a reservation.
///
/// A token that comes with it is that of an earlier stream, of which a client that comes back still has it.
pub(in crate::graphql) async fn reserve(
    State(app): State<Arc<App>>,
    caller: Result<Caller, ApiError>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Response {
    let accept = Accept::of(&headers);
    let answer = async {
        let identity = admit(&app, caller, &headers)?;
        visitor.request(&app, &identity)?;
        if accept.wants("text/plain").is_none() {
            let error = ApiError::invalid("the token of a reservation is text/plain: accept that");
            return Err(error.with_status(StatusCode::NOT_ACCEPTABLE));
        }
        let token = ids::random_text(TOKEN_LENGTH);
        let owner = owner_of(&identity);
        let ticket = Ticket { key: ReservationKey::of(&token), owner: &owner };
        if !app.store.reserve_stream(identity.project, ticket, limits(&app)).await? {
            let detail = "too many reservations wait for their stream; open those, or let their time pass";
            return Err(ApiError::new(Code::TooManyOperations, detail));
        }
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        Ok((StatusCode::CREATED, [(CONTENT_TYPE, media_type)], token).into_response())
    };
    answer.await.unwrap_or_else(|error| answer::write(Err(error), &accept))
}

/// `GET /graphql` with a token, of a client that accepts an event stream: opens the stream.
pub(in crate::graphql) async fn open(
    endpoint: Endpoint,
    single: &Single,
    caller: Result<StreamCaller, ApiError>,
    (token, request): (&str, Request),
) -> Response {
    let answer = async move {
        let StreamCaller(identity) = caller?;
        endpoint.visitor.request(&endpoint.app, &identity)?;
        let exit = Exit::of(request.extensions(), request.version())?;
        let client = Client::of(request.headers(), request.extensions());
        if request.method() != Method::GET {
            let error = ApiError::invalid("a stream is opened by GET");
            return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        endpoint.visitor.connect(&endpoint.app, &identity)?;
        let owner = owner_of(&identity);
        let ticket = ticket(token, &owner)?;
        let holding = occupy(&endpoint.app, single, &identity, ticket).await?;
        single.desk.poke();
        let origin = Origin::of(request.headers());
        let renewal = Renewal::new(origin, ClientAddress::of(request.extensions()), Some(ticket.key));
        let (framing, dialect, first) = (exit.framing, Dialect::Single, First::Nothing(holding));
        let renewal = Some(Arc::new(renewal));
        let session = Session { endpoint, identity, dialect, framing, client, first, renewal };
        Ok(super::super::begin(exit, session))
    };
    let accept = Accept::of(&HeaderMap::new());
    answer.await.unwrap_or_else(|error| answer::write(Err(error), &accept))
}

/// Opens the stream for this node, if nobody has it open.
async fn occupy(
    app: &App,
    single: &Single,
    identity: &Identity,
    ticket: Ticket<'_>,
) -> Result<Holding, ApiError> {
    let open_already = || ApiError::new(Code::Conflict, "the stream of this reservation is open already");
    let Some(holding) = single.desk.hold(ticket.key) else {
        // By whom is for its owner alone to know.
        let is_theirs = app.store.has_stream(identity.project, ticket).await?;
        return Err(if is_theirs { open_already() } else { unknown() });
    };
    let refusal = match app.store.open_stream(identity.project, ticket, single.desk.name()).await? {
        Opened::Now => return Ok(holding),
        Opened::Before => open_already(),
        Opened::Unknown => unknown(),
    };
    holding.disown();
    Err(refusal)
}

/// `POST /graphql` with a token, or GET of a client that accepts no stream: starts an operation, here or at the node
/// that has the stream.
pub(in crate::graphql) async fn start(
    endpoint: Endpoint,
    single: &Single,
    caller: Result<Caller, ApiError>,
    (token, request): (&str, Request),
) -> Response {
    let accept = Accept::of(request.headers());
    let answer = async {
        let identity = endpoint.admit(caller, request.headers())?;
        endpoint.visitor.request(&endpoint.app, &identity)?;
        let owner = owner_of(&identity);
        let (ticket, method) = (ticket(token, &owner)?, request.method().clone());
        let incoming = read(request).await?;
        let id = operation_id(incoming.extensions.as_ref().and_then(|known| known.operation_id.clone()))?;
        let text = serde_json::to_vec(&incoming).map_err(ApiError::internal)?;
        if let Err(refused) = check(&endpoint, single, &identity, incoming, &method).await? {
            let mut response = answer::write(Ok(Answer::One(refused)), &accept);
            // The older media type would have 200: here that would look as if it had been taken.
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        }
        let (app, operation) = (&endpoint.app, (&*id, &*text));
        match app.store.add_operation(identity.project, ticket, operation, limits(app)).await? {
            Added::Yes => {}
            Added::Unknown => return Err(unknown()),
            Added::Exists => {
                return Err(ApiError::new(Code::Conflict, "an operation of this id runs on the stream"));
            }
            Added::TooMany => {
                let detail = "too many operations run on this stream, or wait for it to be opened";
                return Err(ApiError::new(Code::TooManyOperations, detail));
            }
        }
        single.desk.poke();
        Ok(StatusCode::ACCEPTED.into_response())
    };
    answer.await.unwrap_or_else(|error| answer::write(Err(error), &accept))
}

/// `DELETE /graphql?operationId=…` with a token: stops an operation. One that has ended is none to stop.
pub(in crate::graphql) async fn stop(
    State(app): State<Arc<App>>,
    Extension(single): Extension<Arc<Single>>,
    caller: Result<Caller, ApiError>,
    request: Request,
) -> Response {
    let accept = Accept::of(request.headers());
    let answer = async move {
        let identity = admit(&app, caller, request.headers())?;
        Visitor::of(request.extensions()).request(&app, &identity)?;
        let token = token(&request).ok_or_else(unknown)?;
        let owner = owner_of(&identity);
        let ticket = ticket(&token, &owner)?;
        let id = operation_id(parameter(&request, "operationId"))?;
        if !app.store.stop_operation(identity.project, ticket, &id).await? {
            return Err(unknown());
        }
        single.desk.poke();
        Ok(StatusCode::OK.into_response())
    };
    answer.await.unwrap_or_else(|error| answer::write(Err(error), &accept))
}

async fn read(request: Request) -> Result<Incoming, ApiError> {
    if request.method() == Method::GET {
        return Incoming::from_query(request.uri().query().unwrap_or_default());
    }
    match Posted::read(request, 0).await? {
        Posted::One(incoming) => Ok(incoming),
        Posted::Batch(_) => Err(ApiError::invalid("operations on a stream are asked for one by one")),
    }
}

/// Whether the operation would be executed; what is wrong with it is told at once, and not on the stream.
async fn check(
    endpoint: &Endpoint,
    single: &Single,
    identity: &Arc<Identity>,
    incoming: Incoming,
    method: &Method,
) -> Result<Result<(), Box<async_graphql::Response>>, ApiError> {
    let mut request = match plan(endpoint, identity, incoming, Receipt::Unknown) {
        Ok(Plan::Shared(_)) => return Ok(Ok(())),
        Ok(Plan::Alone(operation)) => operation.request,
        Err(refused) => return Ok(Err(refused)),
    };
    let kind = request::kind(&mut request, &endpoint.documents.positions)?;
    if kind == Some(OperationType::Mutation) && *method == Method::GET {
        let error = ApiError::invalid("GET mutates nothing; send this by POST");
        return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
    }
    Ok(single.rehearsal.check(&request).await)
}

/// Who is asking, if a page of its origin may.
fn admit(
    app: &App,
    caller: Result<Caller, ApiError>,
    headers: &HeaderMap,
) -> Result<Arc<Identity>, ApiError> {
    let Caller(identity) = caller?;
    check_origin(&*app.project(&identity)?, headers)?;
    Ok(identity)
}

/// All that must be the same for two requests to be of one client: a stream is executed with the rights of whoever opened
/// it, so that whoever may do less can start nothing there. An API key has the same rights wherever it is used, also
/// when they are changed; of tokens of a subject each says for itself what it may do.
pub(in crate::graphql) fn owner_of(identity: &Identity) -> String {
    let granted = identity.rights.to_text();
    match (&identity.proof, &identity.subject) {
        (Proof::ApiKey(prefix), _) => serde_json::json!(["key", prefix]),
        (Proof::Token(_), Some(subject)) => serde_json::json!(["subject", subject, granted]),
        (Proof::Token(token), None) => serde_json::json!(["token", token.kid, granted]),
    }
    .to_string()
}

fn ticket<'a>(token: &str, owner: &'a str) -> Result<Ticket<'a>, ApiError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(unknown());
    }
    Ok(Ticket { key: ReservationKey::of(token), owner })
}

/// It is not told whether it is somebody else's.
fn unknown() -> ApiError {
    ApiError::new(Code::NotFound, "there is no such reservation: reserve a stream by PUT")
}

fn operation_id(id: Option<String>) -> Result<String, ApiError> {
    let good = id.filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()));
    good.ok_or_else(|| {
        ApiError::invalid(format!(
            "the operation's id is needed: operationId, a text of 1 to {MAX_ID_BYTES} bytes"
        ))
    })
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    let mut pairs = query::pairs(request.uri().query().unwrap_or_default());
    pairs.find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

fn limits(app: &App) -> ReservationLimits {
    let (waiting_of_owner, waiting) = WAITING;
    let (operations, bytes) = (app.settings.sockets.max_operations, MAX_PENDING_BYTES);
    ReservationLimits { waiting_of_owner, waiting, operations, bytes }
}
