//! `/admin/v1/projects/{project}/namespaces`: settings of the channels below a first segment.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use nuncio_model::cloudevents::write_time;
use nuncio_model::{NamespaceSettings, namespace};
use nuncio_store::Namespace;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Body, Object, merge};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use crate::app::App;
use crate::auth::{Admin, Change, May};
use crate::error::ApiError;
use crate::openapi::Problem;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, patch, delete))
}

/// A namespace with settings of its own.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Namespace)]
pub(super) struct Shown {
    /// The first segment of its channels.
    name: String,
    /// Its settings.
    #[serde(flatten)]
    #[schema(value_type = super::schemas::NamespaceSettings)]
    settings: NamespaceSettings,
    /// When it was made.
    created_at: String,
}

impl From<Namespace> for Shown {
    fn from(row: Namespace) -> Self {
        Self { name: row.name, settings: row.settings, created_at: write_time(row.created_at) }
    }
}

/// List the namespaces that have settings of their own.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/namespaces", tag = "namespaces",
    params(("project" = String, Path), Paging),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let rows = app.store.list_namespaces(project.id, &paging.after_text()?, limit + 1).await?;
    Ok(Json(List::of(rows, limit, |row| row.name.clone(), Shown::from)))
}

/// Give a namespace settings of its own.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/namespaces", tag = "namespaces",
    params(("project" = String, Path)), request_body = super::schemas::NewNamespace,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(mut new): Body<Object>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let name = match new.shift_remove("name") {
        Some(Value::String(name)) if namespace::is_name(&name) => Some(name),
        _ => None,
    };
    let settings = merge(&project.defaults.settings, new)?;
    let Some(name) = name else {
        return Err(
            problems(&settings).field("name", "must be one segment: 1 to 64 of letters, digits, `_` and `-`")
        );
    };
    problems(&settings).if_any_field()?;
    let row = admin.store(&app).create_namespace(project.id, &name, &settings).await?;
    app.directory.refresh().await?;
    let location = format!("/admin/v1/projects/{}/namespaces/{name}", project.name);
    Ok(etag::created(location, row.version, Shown::from(row)))
}

/// Look at a namespace.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/namespaces/{name}", tag = "namespaces",
    params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let row = find(&app, &admin, &project, &name).await?.1;
    Ok(etag::ok(row.version, Shown::from(row)))
}

/// Change a namespace's settings.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}/namespaces/{name}", tag = "namespaces",
    params(("project" = String, Path), ("name" = String, Path)),
    request_body(content = super::schemas::NamespaceChanges, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, name)): Path<(String, String)>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    let (project, current) = find(&app, &admin, &project, &name).await?;
    let apply = |current: Namespace| {
        if_match.check(current.version)?;
        let settings = merge(&current.settings, changes)?;
        problems(&settings).if_any_field()?;
        Ok::<_, ApiError>(settings)
    };
    let row = admin.store(&app).update_namespace(project, &current.name, apply).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(row.version, Shown::from(row)))
}

/// Take a namespace's own settings away; its channels and events stay, under the project's defaults.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/namespaces/{name}", tag = "namespaces",
    params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, name)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let (project, current) = find(&app, &admin, &project, &name).await?;
    if_match.check(current.version)?;
    admin.store(&app).delete_namespace(project, &current.name, if_match.0).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(
    app: &App,
    admin: &Admin,
    project: &str,
    name: &str,
) -> Result<(nuncio_model::ProjectId, Namespace), ApiError> {
    let project = super::project(app, admin, project).await?;
    if !namespace::is_name(name) {
        return Err(ApiError::not_found("namespace"));
    }
    Ok((project.id, app.store.namespace(project.id, name).await?))
}

/// All that is wrong with the settings.
fn problems(settings: &NamespaceSettings) -> ApiError {
    let error = ApiError::invalid("the namespace cannot be like this");
    settings.problems().into_iter().fold(error, |error, (field, message)| error.field(field, message))
}
