//! What is where.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Router, middleware};
use nuncio_model::{Code, ids};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use tracing::{Span, info_span};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::error::ApiError;
use crate::server::Full;
use crate::{address, admin, cors, graphql, history, limits, openapi, problem, publish, sse, well_formed};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Every address of an api node.
pub fn router(app: Arc<App>) -> Router {
    let (documented, description) = documented().split_for_parts();
    let router = documented
        .merge(graphql::router(&app))
        .merge(SwaggerUi::new("/admin/docs").url("/admin/openapi.json", openapi::finish(description)))
        .route("/admin", get(|| async { Redirect::temporary("/admin/docs") }))
        .layer(middleware::from_fn_with_state(app.clone(), admin::idempotency_layer))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(app.settings.max_body_bytes))
        .layer(cors::layer(&app));
    limits::guard::around(router, &app)
        .layer(middleware::from_fn_with_state(app.clone(), address::layer))
        .layer(middleware::from_fn(well_formed::layer))
        .layer(middleware::from_fn(problem::layer))
        .layer(middleware::from_fn(limits::layer))
        .layer(header_unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_unless_set(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header_unless_set(header::REFERRER_POLICY, "no-referrer"))
        .layer(header_unless_set(header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"))
        .layer(header_unless_set(header::CACHE_CONTROL, "no-store"))
        // What fails is logged by the layer of problems, once.
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(NewRequestId))
        .layer(middleware::map_request(without_odd_id))
        .with_state(app)
}

/// What answers at every address where there is no room for a connection.
pub(crate) fn turning_away(full: Full) -> Router {
    Router::new()
        .fallback(move |request: Request| async move { turn_away(full, request) })
        .layer(middleware::from_fn(problem::layer))
        .layer(header_unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_unless_set(header::CACHE_CONTROL, "no-store"))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(NewRequestId))
        .layer(middleware::map_request(without_odd_id))
}

/// Each is told in the way that lets it come back by itself, later.
fn turn_away(full: Full, request: Request) -> Response {
    if graphql::is_socket(request.headers()) {
        return graphql::turn_away(request);
    }
    if sse::is_wanted(request.headers()) {
        return sse::turn_away();
    }
    let error = match full {
        Full::Address => ApiError::new(Code::RateLimited, "there are too many connections from this address"),
        Full::Node => ApiError::unavailable("this node has as many connections as it may have"),
    };
    ([(header::CONNECTION, "close")], error).into_response()
}

/// The addresses that `/admin/openapi.json` describes.
pub(crate) fn documented() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(history::of_channel, publish::to_channel))
        .routes(routes!(publish::to_channels))
        .routes(routes!(sse::of_channels))
        .merge(admin::router())
}

fn header_unless_set(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// A span holds the path alone: the rest of a URL may carry a token.
fn span(request: &Request) -> Span {
    info_span!("request", method = %request.method(), path = request.uri().path(), id = problem::id_of(request))
}

/// An id that a client or proxy gives goes into the log and back: only short and plain ones do.
async fn without_odd_id(mut request: Request) -> Request {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let odd = |id: &HeaderValue| id.len() > MAX_REQUEST_ID_BYTES || !id.as_bytes().iter().all(plain);
    if request.headers().get(&X_REQUEST_ID).is_some_and(odd) {
        request.headers_mut().remove(&X_REQUEST_ID);
    }
    request
}

/// Names each request that came without an id.
#[derive(Clone)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        HeaderValue::from_str(&ids::unique_id()).ok().map(RequestId::new)
    }
}
