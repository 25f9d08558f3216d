//! Actions on one thing, `POST …/{id}:action`: the router knows no parameter that ends before a segment does, so that a
//! thing and its actions are one address to it. They are told apart here, each with its own methods; which action it is, each
//! resource looks for itself, and describes its actions apart from that.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::Method;
use axum::routing::{MethodRouter, any};
use tower::ServiceExt;
use utoipa::openapi::{ComponentsBuilder, OpenApiBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::app::App;
use crate::error::ApiError;

/// Describes an operation that is routed by something else. One at a time: of two that are POST, `routes!` would make one
/// router that handles it twice, over which the node falls at its start.
pub(super) fn described((schemas, paths, _): UtoipaMethodRouter<Arc<App>>) -> OpenApiRouter<Arc<App>> {
    let components = ComponentsBuilder::new().schemas_from_iter(schemas).build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().paths(paths).components(Some(components)).build())
}

/// Routes a thing, and beside it its actions of these names.
pub(super) fn beside(
    path: &str,
    (schemas, paths, thing): UtoipaMethodRouter<Arc<App>>,
    (actions, act): (&'static [&'static str], MethodRouter<Arc<App>>),
) -> OpenApiRouter<Arc<App>> {
    let fork = move |State(app): State<Arc<App>>, params: Params, request: Request| {
        let action = params.ok().and_then(|params| action(&params));
        // One that is unknown is told so where it is asked for as an action is.
        let is_action =
            action.is_some_and(|name| actions.contains(&&*name) || request.method() == Method::POST);
        let chosen = if is_action { act.clone() } else { thing.clone() };
        chosen.with_state::<()>(app).oneshot(request)
    };
    described((schemas, paths, MethodRouter::new())).route(path, any(fork))
}

type Params = Result<RawPathParams, RawPathParamsRejection>;

/// What stands after the last colon of a path's last parameter.
fn action(params: &RawPathParams) -> Option<String> {
    let (_, segment) = params.iter().last()?;
    segment.rsplit_once(':').map(|(_, action)| action.to_owned())
}

/// The id and the action of a path's last segment.
///
/// # Errors
/// `NOT_FOUND` where there is no action.
pub(super) fn split(segment: &str) -> Result<(String, &str), ApiError> {
    let (id, action) = segment.rsplit_once(':').ok_or_else(none)?;
    Ok((id.to_owned(), action))
}

/// There is no such action.
pub(super) fn none() -> ApiError {
    ApiError::not_found("action")
}
