//! Actions on one thing, `POST …/{id}:action`: the router knows no parameter that ends before a segment does, so that each
//! resource takes the segment apart itself, and describes its actions apart from that.

use std::sync::Arc;

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
