//! GraphQL, at `/graphql`: over HTTP, over streams of events or parts, and over WebSocket.
//!
//! The library (async-graphql) parses, validates and executes. What stands around it is ours: the guard before its
//! parser, the writer of responses, the HTTP rules and the WebSocket protocol.

mod accept;
mod answer;
mod asker;
mod body;
mod completion;
mod error;
mod fanout;
mod graphiql;
mod guard;
mod http;
mod lexer;
mod once;
mod operations;
mod positions;
mod renewal;
mod request;
mod response;
mod schema;
mod streams;
mod variables;
mod ws;

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use crate::accept::Accept;
use crate::app::App;
use crate::auth::{Caller, StreamCaller};
use crate::error::ApiError;
use crate::limits::Visitor;

pub use schema::sdl;
pub use ws::{CloseReason, SocketSettings};
pub(crate) use ws::{is_upgrade as is_socket, turn_away};

/// The one address of all that is GraphQL.
pub fn router(app: &App) -> Router<Arc<App>> {
    let methods = get(by_get).post(by_post).put(streams::reserve).delete(streams::stop);
    let methods = methods.fallback(http::other_method);
    Router::new()
        .route("/graphql", methods)
        .route(graphiql::ASSETS_PATH, get(graphiql::asset))
        .layer(Extension(schema::build()))
        .layer(Extension(Arc::new(fanout::Documents::default())))
        .layer(Extension(Arc::new(ws::Connections::default())))
        .layer(Extension(Arc::new(streams::Single::start(app))))
}

/// `GET /graphql` is five things: a WebSocket, a page for a browser, a stream, an operation for a stream, or a query.
async fn by_get(
    State(app): State<Arc<App>>,
    Extension(schema): Extension<schema::Schema>,
    Extension(documents): Extension<Arc<fanout::Documents>>,
    Extension(connections): Extension<Arc<ws::Connections>>,
    Extension(single): Extension<Arc<streams::Single>>,
    request: Request,
) -> Response {
    let visitor = Visitor::of(request.extensions());
    let endpoint = http::Endpoint { app: app.clone(), schema, documents, visitor };
    let accept = Accept::of(request.headers());
    let (streamed, token) = (streams::is_wanted(&accept), streams::token(&request));
    let (mut parts, body) = request.into_parts();
    if streamed && !ws::is_upgrade(&parts.headers) {
        let caller = StreamCaller::from_request_parts(&mut parts, &app).await;
        let request = Request::from_parts(parts, body);
        return match token {
            Some(token) => streams::open(endpoint, &single, caller, (&token, request)).await,
            None => streams::get(endpoint, &single, caller, (request, &accept)).await,
        };
    }
    let caller = Caller::from_request_parts(&mut parts, &app).await;
    let request = Request::from_parts(parts, body);
    if ws::is_upgrade(request.headers()) {
        let by_header = caller.ok().map(|Caller(identity)| identity);
        return ws::open(endpoint, &connections, by_header, request);
    }
    if let Some(token) = token {
        return streams::start(endpoint, &single, caller, (&token, request)).await;
    }
    if endpoint.app.settings.graphiql && accept.prefers_page() {
        return graphiql::page();
    }
    let query = RawQuery(request.uri().query().map(str::to_owned));
    http::get(endpoint, caller, request.headers().clone(), query).await
}

/// `POST /graphql` is an operation that is answered at once, by a stream, or on a stream that there is.
async fn by_post(
    State(app): State<Arc<App>>,
    Extension(schema): Extension<schema::Schema>,
    Extension(documents): Extension<Arc<fanout::Documents>>,
    Extension(single): Extension<Arc<streams::Single>>,
    caller: Result<Caller, ApiError>,
    request: Request,
) -> Response {
    let visitor = Visitor::of(request.extensions());
    let endpoint = http::Endpoint { app, schema, documents, visitor };
    if let Some(token) = streams::token(&request) {
        return streams::start(endpoint, &single, caller, (&token, request)).await;
    }
    let accept = Accept::of(request.headers());
    if streams::is_wanted(&accept) {
        return streams::post(endpoint, &single, caller, (request, &accept)).await;
    }
    http::post(endpoint, caller, request).await
}
