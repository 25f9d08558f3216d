//! `/admin/v1/projects/{project}/keys`: API keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use nuncio_model::cloudevents::{is_writable, write_time};
use nuncio_model::rights::RightsText;
use nuncio_model::{ProjectId, Rights};
use nuncio_store::{ApiKey, NewApiKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Body, Object, merge};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

/// The longest label.
const MAX_LABEL_BYTES: usize = 200;
/// The most patterns or names in one list of rights.
pub(super) const MAX_RIGHTS: usize = 200;
/// What stands after the number of a key that is to be revoked.
const REVOKE: &str = ":revoke";

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, revoke, patch, delete))
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
pub(super) struct Shown {
    /// Names it in paths.
    id: String,
    /// The letters it begins with: they name it in lists and logs.
    prefix: String,
    /// What it is for.
    label: String,
    /// What it may do.
    #[schema(value_type = super::schemas::Rights)]
    rights: RightsText,
    /// When it was made.
    created_at: String,
    /// When it ends.
    expires_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
    /// When it was last used, about.
    last_used_at: Option<String>,
    /// The key itself: shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    secret: Option<String>,
}

impl From<ApiKey> for Shown {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            prefix: key.prefix,
            label: key.label,
            rights: key.rights_text,
            created_at: write_time(key.created_at),
            expires_at: key.expires_at.map(write_time),
            revoked_at: key.revoked_at.map(write_time),
            last_used_at: key.last_used_at.map(write_time),
            secret: None,
        }
    }
}

/// An API key to be made, or what can be changed of one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ApiKeySettings)]
pub(super) struct Settings {
    /// What it is for.
    #[serde(default)]
    #[schema(required = false)]
    label: String,
    /// What it may do.
    #[serde(default)]
    #[schema(value_type = Option<super::schemas::Rights>)]
    rights: RightsText,
    /// When it ends; null for never.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

/// List the keys, revoked ones included.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/keys", tag = "keys", params(("project" = String, Path), Paging),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let rows = app.store.list_api_keys(project.id, paging.after_number()?, limit + 1).await?;
    Ok(Json(List::of(rows, limit, |key| key.id.to_string(), Shown::from)))
}

/// Make a key. Its text is in `secret`, this once.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/keys", tag = "keys", params(("project" = String, Path)),
    request_body = Settings,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Body(new): Body<Settings>,
) -> Result<Response, ApiError> {
    admin.may_change()?;
    let project = super::project(&app, &admin, &project).await?;
    let (key, secret) = admin.store(&app).create_api_key(project.id, &new.check()?).await?;
    app.directory.refresh().await?;
    let (version, mut shown) = (key.version, Shown::from(key));
    shown.secret = Some(secret.expose().to_owned());
    Ok(etag::created(format!("/admin/v1/projects/{}/keys/{}", project.name, shown.id), version, shown))
}

/// Look at a key.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let key = find(&app, &admin, &project, &id).await?.1;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Change a key's label, rights and end.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path), ("id" = String, Path)),
    request_body(content = Settings, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    admin.may_change()?;
    let (project, key) = find(&app, &admin, &project, &id).await?;
    if_match.check(key.version)?;
    let current = Settings { label: key.label, rights: key.rights_text, expires_at: key.expires_at };
    let change = merge(&current, changes)?.check()?;
    let key = admin.store(&app).update_api_key(project, key.id, Some(key.version), &change).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Do something with a key: `:revoke` after its id ends it for good.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path), ("id" = String, Path, description = "The key's id, then `:revoke`")),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn revoke(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    admin.may_change()?;
    let id = id.strip_suffix(REVOKE).ok_or_else(|| ApiError::not_found("action"))?;
    let (project, key) = find(&app, &admin, &project, id).await?;
    let key = admin.store(&app).revoke_api_key(project, key.id).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Revoke a key. It stays in the list, as revoked.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    admin.may_change()?;
    let (project, key) = find(&app, &admin, &project, &id).await?;
    if_match.check(key.version)?;
    admin.store(&app).revoke_api_key(project, key.id).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, admin: &Admin, project: &str, id: &str) -> Result<(ProjectId, ApiKey), ApiError> {
    let project = super::project(app, admin, project).await?.id;
    Ok((project, app.store.api_key(project, super::number(id, "key")?).await?))
}

impl Settings {
    fn check(self) -> Result<NewApiKey, ApiError> {
        let mut error = ApiError::invalid("the key cannot be like this");
        if self.label.len() > MAX_LABEL_BYTES || self.label.chars().any(char::is_control) {
            error = error.field("label", "must have at most 200 bytes and no control characters");
        }
        if let Err(name) = Rights::parse(&self.rights) {
            error = error.field("rights", name.to_string());
        }
        let rights = &self.rights;
        let lists = [&rights.subscribe, &rights.publish, &rights.signal, &rights.presence, &rights.consume];
        if lists.iter().any(|list| list.len() > MAX_RIGHTS)
            || rights.consume.iter().any(|name| name.contains('\0'))
        {
            error = error.field("rights", "holds a list of more than 200, or a name that is none");
        }
        if !self.expires_at.is_none_or(is_writable) {
            error = error.field("expiresAt", "must be null or a time before the year 10000");
        }
        let Self { label, rights, expires_at } = self;
        error.if_any_field()?;
        Ok(NewApiKey { label, rights, expires_at })
    }
}
