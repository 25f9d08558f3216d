//! The admin REST API, `/admin/v1`: one file per resource, all with the same parts in the same order.
//!
//! Bodies are camelCase JSON. Create is POST to the collection (201, `Location`), change is PATCH (JSON merge patch)
//! with `If-Match`, lists are `{"items":[…],"nextPageToken"}`.

mod actions;
mod admin_keys;
mod audit_log;
mod body;
mod channels;
mod connections;
mod dead_letters;
mod etag;
mod fit;
mod idempotency;
mod inspect;
mod keys;
mod list;
mod namespaces;
mod nodes;
mod object;
mod projects;
mod rate_limits;
mod redrive;
mod revocations;
mod rights;
mod rotation;
mod schemas;
mod signing_keys;
mod tokens;
mod usage;

use std::sync::Arc;

pub(crate) use idempotency::layer as idempotency_layer;
use nuncio_model::ProjectName;
use nuncio_store::Project;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::auth::{Admin, Over};
use crate::error::ApiError;

/// Every address below `/admin/v1`.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    let mut router = OpenApiRouter::new()
        .merge(projects::router())
        .merge(namespaces::router())
        .merge(channels::router())
        .merge(keys::router())
        .merge(signing_keys::router())
        .merge(tokens::router())
        .merge(inspect::router())
        .merge(rate_limits::router())
        .merge(dead_letters::router())
        .merge(redrive::router())
        .merge(connections::router())
        .merge(nodes::router())
        .merge(usage::router())
        .merge(revocations::router())
        .merge(admin_keys::router())
        .merge(audit_log::router());
    idempotency::describe(router.get_openapi_mut());
    router
}

/// The project that a path names, as it is now: what was just changed through another node is seen. One that the key is
/// not for does not exist.
async fn project(app: &App, admin: &Admin, name: &str) -> Result<Arc<Project>, ApiError> {
    let none = || ApiError::not_found("project");
    let name = ProjectName::parse(name).map_err(|_| none())?;
    app.directory.refresh().await?;
    let snapshot = app.directory.snapshot();
    if let Some((_, closed)) = snapshot.closed_by_name(&name).filter(|(id, _)| admin.is_for(*id)) {
        let rows: Vec<&str> = closed.unreadable.iter().map(String::as_str).collect();
        let detail =
            format!("the project is closed, as some of its settings cannot be read: {}", rows.join("; "));
        return Err(ApiError::unavailable(detail).with("reason", Over::ProjectClosed.name()));
    }
    let project = snapshot.project(&name).cloned();
    project.filter(|project| admin.is_for(project.id)).ok_or_else(none)
}

/// The number that a path or token holds; what is none names nothing.
fn number(text: &str, what: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(what))
}
