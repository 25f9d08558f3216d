//! `/admin/v1/projects`: tenants.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use nuncio_model::cloudevents::write_time;
use nuncio_model::project::ProjectNameError;
use nuncio_model::{NamespaceSettings, ProjectName};
use nuncio_store::{NewProject, Project, ProjectChange, ProjectRow};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Body, Object, merge};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use crate::app::App;
use crate::auth::{Admin, Change, ChangeAll, DeleteProjects, May};
use crate::error::ApiError;
use crate::openapi::Problem;

/// The most entries of `allowedOrigins`.
const MAX_ORIGINS: usize = 100;
/// The longest origin or audience.
const MAX_TEXT_BYTES: usize = 256;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, patch, delete))
}

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Project)]
pub(super) struct Shown {
    /// Its name: `[a-z0-9][a-z0-9-]{0,40}`.
    name: String,
    /// What its tokens may carry in `aud` besides `nuncio:` and the name.
    audience: Option<String>,
    /// The `iss` that its tokens must carry; null where it does not matter.
    issuer: Option<String>,
    /// Where the public keys of its tokens are published (RFC 7517), besides its signing keys.
    jwks_url: Option<String>,
    /// The origins of the web pages that may use it; `*` is all.
    allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    #[schema(value_type = super::schemas::NamespaceSettings)]
    defaults: NamespaceSettings,
    /// When it was made.
    created_at: String,
}

impl From<ProjectRow> for Shown {
    fn from(row: ProjectRow) -> Self {
        Self {
            name: row.name.to_string(),
            audience: row.audience,
            issuer: row.issuer,
            jwks_url: row.jwks_url,
            allowed_origins: row.allowed_origins,
            defaults: row.defaults,
            created_at: write_time(row.created_at),
        }
    }
}

impl From<&Project> for Shown {
    fn from(project: &Project) -> Self {
        Self {
            name: project.name.to_string(),
            audience: project.audience.clone(),
            issuer: project.issuer.clone(),
            jwks_url: project.jwks_url.clone(),
            allowed_origins: project.allowed_origins.clone(),
            defaults: project.defaults.settings.clone(),
            created_at: write_time(project.created_at),
        }
    }
}

/// What can be changed of a project.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = ProjectSettings)]
pub(super) struct Settings {
    /// What its tokens may carry in `aud` besides `nuncio:` and the name.
    #[schema(min_length = 1, max_length = 256)]
    audience: Option<String>,
    /// The `iss` that its tokens must carry; null where it does not matter.
    #[schema(min_length = 1, max_length = 256)]
    issuer: Option<String>,
    /// Where the public keys of its tokens are published (RFC 7517), besides its signing keys: `https://…`.
    #[schema(max_length = 2048)]
    jwks_url: Option<String>,
    /// The origins of the web pages that may use it; `*` is all.
    allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    #[schema(value_type = super::schemas::NamespaceChanges)]
    #[serde(deserialize_with = "super::object::read")]
    defaults: NamespaceSettings,
}

impl From<ProjectRow> for Settings {
    fn from(row: ProjectRow) -> Self {
        let ProjectRow { audience, issuer, jwks_url, allowed_origins, defaults, .. } = row;
        Self { audience, issuer, jwks_url, allowed_origins, defaults }
    }
}

/// A project to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewProject)]
pub(super) struct New {
    /// Its name: `[a-z0-9][a-z0-9-]{0,40}`.
    name: String,
    /// What its tokens may carry in `aud` besides `nuncio:` and the name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    audience: Option<String>,
    /// The `iss` that its tokens must carry; null where it does not matter.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    issuer: Option<String>,
    /// Where the public keys of its tokens are published (RFC 7517), besides its signing keys: `https://…`.
    #[serde(default)]
    #[schema(max_length = 2048)]
    jwks_url: Option<String>,
    /// The origins of the web pages that may use it; `*` is all.
    #[serde(default)]
    #[schema(required = false)]
    allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    #[serde(default)]
    #[schema(value_type = Option<super::schemas::NamespaceChanges>)]
    #[serde(deserialize_with = "super::object::read")]
    defaults: NamespaceSettings,
}

/// Which projects.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// A part of the name.
    name: Option<String>,
}

/// List the projects.
#[utoipa::path(
    get, path = "/admin/v1/projects", tag = "projects", params(Paging, Filter),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, ApiError> {
    let limit = paging.limit()?;
    let after = i32::try_from(paging.after_number()?).ok().map(nuncio_model::ProjectId);
    let name = filter.name.as_deref().filter(|name| !name.contains('\0'));
    let only = admin.key.projects.as_deref();
    let rows = app.store.list_projects(after, limit + 1, name, only).await?;
    Ok(Json(List::of(rows, limit, |row| row.id.0.to_string(), Shown::from)))
}

/// Make a project.
#[utoipa::path(
    post, path = "/admin/v1/projects", tag = "projects", request_body = New,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<ChangeAll>,
    Body(new): Body<New>,
) -> Result<Response, ApiError> {
    let New { name, audience, issuer, jwks_url, allowed_origins, defaults } = new;
    let settings = Settings { audience, issuer, jwks_url, allowed_origins, defaults };
    let error = settings.problems(&app);
    let Ok(name) = ProjectName::parse(&name) else {
        return Err(error.field("name", ProjectNameError.to_string()));
    };
    error.if_any_field()?;
    let Settings { audience, issuer, jwks_url, allowed_origins, defaults } = settings;
    let new = NewProject { name, audience, issuer, jwks_url, allowed_origins, defaults };
    let row = admin.store(&app).create_project(&new).await?;
    app.directory.refresh().await?;
    Ok(etag::created(format!("/admin/v1/projects/{}", row.name), row.version, Shown::from(row)))
}

/// Look at a project.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}", tag = "projects", params(("project" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &name).await?;
    Ok(etag::ok(project.version, Shown::from(&*project)))
}

/// Change a project.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}", tag = "projects", params(("project" = String, Path)),
    request_body(content = Settings, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(name): Path<String>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &name).await?;
    let apply = |current: ProjectRow| {
        if_match.check(current.version)?;
        let settings = merge(&Settings::from(current), changes)?;
        settings.problems(&app).if_any_field()?;
        let Settings { audience, issuer, jwks_url, allowed_origins, defaults } = settings;
        Ok::<_, ApiError>(ProjectChange { audience, issuer, jwks_url, allowed_origins, defaults })
    };
    let row = admin.store(&app).update_project(project.id, apply).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(row.version, Shown::from(row)))
}

/// Delete a project with everything in it. Only owners may.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}", tag = "projects", params(("project" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<DeleteProjects>,
    Path(name): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let project = super::project(&app, &admin, &name).await?;
    if_match.check(project.version)?;
    admin.store(&app).delete_project(project.id, if_match.0).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Settings {
    /// An error with all that is wrong here.
    fn problems(&self, app: &App) -> ApiError {
        let mut error = ApiError::invalid("the project cannot be like this");
        // `nuncio:` names projects: with such an audience, one project would take the tokens of another.
        let audience_ok =
            |text: &str| (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.starts_with("nuncio:");
        if !self.audience.as_deref().is_none_or(|text| audience_ok(text) && is_plain(text)) {
            error =
                error.field("audience", "must be null, or 1 to 256 bytes that do not begin with `nuncio:`");
        }
        let issuer_ok = |text: &str| (1..=MAX_TEXT_BYTES).contains(&text.len()) && is_plain(text);
        if !self.issuer.as_deref().is_none_or(issuer_ok) {
            error = error.field("issuer", "must be null, or 1 to 256 bytes of visible ASCII");
        }
        if let Some(Err(wrong)) = self.jwks_url.as_deref().map(|url| app.jwks.check_address(url)) {
            error = error.field("jwksUrl", wrong);
        }
        if self.allowed_origins.len() > MAX_ORIGINS
            || !self.allowed_origins.iter().all(|text| is_origin(text))
        {
            error = error.field("allowedOrigins", "must be at most 100 of `*` or `https://host[:port]`");
        }
        for (field, message) in self.defaults.problems() {
            error = error.field(format!("defaults.{field}"), message);
        }
        error
    }
}

/// `*`, or scheme, host and port as a browser writes them (RFC 6454): a path or a slash would never match.
fn is_origin(text: &str) -> bool {
    let host = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
        .map(|(_, host)| host);
    let host_ok = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']));
    text == "*" || (text.len() <= MAX_TEXT_BYTES && host_ok && is_plain(text))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
