//! `/admin/v1/projects/{project}/rate-limits`: how often what may be done.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use nuncio_model::cloudevents::write_time;
use nuncio_model::{ProjectId, RateLimitSettings};
use nuncio_store::RateLimit;
use serde::Serialize;
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

/// A rate limit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimit)]
pub(super) struct Shown {
    /// Names it in paths.
    id: String,
    /// Its settings; `burst` is the one in force.
    #[serde(flatten)]
    #[schema(value_type = super::schemas::RateLimitSettings)]
    settings: RateLimitSettings,
    /// When it was made.
    created_at: String,
}

impl From<RateLimit> for Shown {
    fn from(row: RateLimit) -> Self {
        let burst = Some(row.settings.burst());
        let settings = RateLimitSettings { burst, ..row.settings };
        Self { id: row.id.to_string(), settings, created_at: write_time(row.created_at) }
    }
}

/// List the rate limits of a project.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/rate-limits", tag = "rate limits", operation_id = "list_rate_limits",
    params(("project" = String, Path, description = "The project's name"), Paging),
    responses(
        (status = 200, description = "A page of them", body = List<Shown>),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let rows = app.store.list_rate_limits(project.id, paging.after_number()?, limit + 1).await?;
    Ok(Json(List::of(rows, limit, |row| row.id.to_string(), Shown::from)))
}

/// Make a rate limit. It is in force on every node within two seconds.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/rate-limits", tag = "rate limits", operation_id = "create_rate_limit",
    params(("project" = String, Path, description = "The project's name")),
    request_body = super::schemas::RateLimitSettings,
    responses(
        (status = 201, description = "Made", body = Shown),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(settings): Body<RateLimitSettings>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    check(&settings)?;
    let row = admin.store(&app).create_rate_limit(project.id, &settings).await?;
    app.directory.refresh().await?;
    let location = format!("/admin/v1/projects/{}/rate-limits/{}", project.name, row.id);
    Ok(etag::created(location, row.version, Shown::from(row)))
}

/// Look at a rate limit.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/rate-limits/{id}", tag = "rate limits", operation_id = "get_rate_limit",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The limit's id"),
    ),
    responses(
        (status = 200, description = "It", body = Shown),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let row = find(&app, &admin, &project, &id).await?.1;
    Ok(etag::ok(row.version, Shown::from(row)))
}

/// Change a rate limit. What was spent of it is forgotten.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}/rate-limits/{id}", tag = "rate limits", operation_id = "update_rate_limit",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The limit's id"),
        ("If-Match" = Option<String>, Header, description = "The version that was read (`ETag`)"),
    ),
    request_body(content = super::schemas::RateLimitChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "Changed", body = Shown),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?.id;
    let apply = |current: RateLimit| {
        if_match.check(current.version)?;
        let settings = merge(&current.settings, changes)?;
        check(&settings)?;
        Ok::<_, ApiError>(settings)
    };
    let id = super::number(&id, "rate limit")?;
    let row = admin.store(&app).update_rate_limit(project, id, apply).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(row.version, Shown::from(row)))
}

/// Take a rate limit away.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/rate-limits/{id}", tag = "rate limits", operation_id = "delete_rate_limit",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The limit's id"),
        ("If-Match" = Option<String>, Header, description = "The version that was read (`ETag`)"),
    ),
    responses(
        (status = 204, description = "Gone"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let (project, current) = find(&app, &admin, &project, &id).await?;
    if_match.check(current.version)?;
    admin.store(&app).delete_rate_limit(project, current.id, if_match.0).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, admin: &Admin, project: &str, id: &str) -> Result<(ProjectId, RateLimit), ApiError> {
    let project = super::project(app, admin, project).await?;
    let id = super::number(id, "rate limit")?;
    Ok((project.id, app.store.rate_limit(project.id, id).await?))
}

fn check(settings: &RateLimitSettings) -> Result<(), ApiError> {
    let bad = ApiError::invalid("the rate limit cannot be like this");
    let error =
        settings.problems().into_iter().fold(bad, |error, (field, message)| error.field(field, message));
    error.if_any_field()
}
