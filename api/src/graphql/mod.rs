//! GraphQL, at `/graphql`: over HTTP, and over WebSocket as `graphql-transport-ws`.
//!
//! The library (async-graphql) parses, validates and executes. What stands around it is ours: the guard before its
//! parser, the writer of responses, the HTTP rules and the WebSocket protocol.

mod accept;
mod answer;
mod body;
mod error;
mod fanout;
mod graphiql;
mod guard;
mod http;
mod lexer;
mod positions;
mod request;
mod response;
mod schema;
mod variables;
mod ws;

use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;

use accept::Accept;

pub use schema::sdl;
pub use ws::{CloseReason, SocketSettings};
pub(crate) use ws::{is_upgrade as is_socket, turn_away};

/// The one address of all that is GraphQL.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/graphql", get(entrance).post(http::post).fallback(http::other_method))
        .route(graphiql::ASSETS_PATH, get(graphiql::asset))
        .layer(Extension(schema::build()))
        .layer(Extension(Arc::new(fanout::Documents::default())))
        .layer(Extension(Arc::new(ws::Connections::default())))
}

/// `GET /graphql` is three things: a WebSocket, a page for a browser, or a query.
async fn entrance(
    State(app): State<Arc<App>>,
    Extension(schema): Extension<schema::Schema>,
    Extension(documents): Extension<Arc<fanout::Documents>>,
    Extension(connections): Extension<Arc<ws::Connections>>,
    caller: Result<Caller, ApiError>,
    query: RawQuery,
    request: Request,
) -> Response {
    let endpoint = http::Endpoint { app, schema, documents };
    if ws::is_upgrade(request.headers()) {
        let by_header = caller.ok().map(|Caller(identity)| identity);
        return ws::open(endpoint, &connections, by_header, request);
    }
    if endpoint.app.settings.graphiql && Accept::of(request.headers()).prefers_page() {
        return graphiql::page();
    }
    http::get(endpoint, caller, request.headers().clone(), query).await
}
