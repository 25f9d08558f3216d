//! `/admin/v1/projects/{project}/keys`: API keys.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use nuncio_model::cloudevents::write_time;
use nuncio_model::rights::RightsText;
use nuncio_model::{ProjectId, Secret};
use nuncio_store::{ApiKey, NewApiKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Body, Object, merge};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use super::rotation::{Rotate, check_end};
use super::{actions, rights};
use crate::app::App;
use crate::auth::{Admin, Change, May};
use crate::error::ApiError;
use crate::openapi::Problem;

/// The longest label, in characters.
const MAX_LABEL: usize = 200;
/// The most networks of one key.
const MAX_NETWORKS: usize = 100;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    let path = "/admin/v1/projects/{project}/keys/{id}";
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .merge(actions::beside(path, routes!(get, patch, delete), (&["rotate", "revoke"], post(act))))
        .merge(actions::described(routes!(rotate)))
        .merge(actions::described(routes!(revoke)))
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
    /// The networks that it may be used from (CIDR); with none, from everywhere.
    allowed_networks: Vec<String>,
    /// The id of the key that it takes the place of.
    rotated_from: Option<String>,
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
            allowed_networks: key.allowed_networks.iter().map(IpNet::to_string).collect(),
            rotated_from: key.rotated_from.map(|id| id.to_string()),
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
    #[schema(required = false, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    label: String,
    /// What it may do.
    #[serde(default)]
    #[schema(value_type = Option<super::schemas::Rights>)]
    #[serde(deserialize_with = "super::object::read")]
    rights: RightsText,
    /// When it ends, a time to come; null for never.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    /// The networks that it may be used from: addresses, or networks in CIDR form; with none, or null, from everywhere.
    #[serde(default)]
    #[schema(max_items = 100)]
    allowed_networks: Option<Vec<String>>,
}

impl From<ApiKey> for Settings {
    fn from(key: ApiKey) -> Self {
        let allowed_networks = Some(key.allowed_networks.iter().map(IpNet::to_string).collect());
        Self { label: key.label, rights: key.rights_text, expires_at: key.expires_at, allowed_networks }
    }
}

/// List the keys, revoked ones included.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/keys", tag = "keys", params(("project" = String, Path, description = "The project's name"), Paging),
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
    post, path = "/admin/v1/projects/{project}/keys", tag = "keys", params(("project" = String, Path, description = "The project's name")),
    request_body = Settings,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(new): Body<Settings>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let new = new.check(None, app.clock.now())?;
    let (key, secret) = admin.store(&app).create_api_key(project.id, &new).await?;
    app.directory.refresh().await?;
    Ok(made(project.name.as_str(), key, &secret))
}

fn made(project: &str, key: ApiKey, secret: &Secret) -> Response {
    let (version, mut shown) = (key.version, Shown::from(key));
    shown.secret = Some(secret.expose().to_owned());
    etag::created(format!("/admin/v1/projects/{project}/keys/{}", shown.id), version, shown)
}

/// Look at a key.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path, description = "The project's name"), ("id" = String, Path, description = "The key's id")),
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

/// Change a key's label, rights, networks and end.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path, description = "The project's name"), ("id" = String, Path, description = "The key's id")),
    request_body(content = Settings, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?.id;
    let apply = |key: ApiKey| {
        if_match.check(key.version)?;
        let end = key.expires_at;
        merge(&Settings::from(key), changes)?.check(end, app.clock.now())
    };
    let id = super::number(&id, "key")?;
    let key = admin.store(&app).update_api_key(project, id, apply).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Does to a key what stands after its id.
async fn act(
    state: State<Arc<App>>,
    admin: May<Change>,
    Path((project, segment)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (id, action) = actions::split(&segment)?;
    match action {
        "rotate" => rotate(state, admin, Path((project, id)), Body::or_default(request).await?).await,
        "revoke" => revoke(state, admin, Path((project, id))).await,
        _ => Err(actions::none()),
    }
}

/// Make a key that takes this one's place.
///
/// It has the same label, rights and networks, and its text is in `secret`, this once. The old key goes on for
/// `overlapSeconds`, so that whoever uses it has the time to change over.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/keys/{id}:rotate", tag = "keys",
    params(("project" = String, Path, description = "The project's name"), ("id" = String, Path, description = "The key's id")),
    request_body = Option<Rotate>,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn rotate(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
    Body(wanted): Body<Rotate>,
) -> Result<Response, ApiError> {
    let (owner, key) = find(&app, &admin, &project, &id).await?;
    let rotation = wanted.check(app.clock.now())?;
    let (key, secret) = admin.store(&app).rotate_api_key(owner, key.id, &rotation).await?;
    app.directory.refresh().await?;
    Ok(made(&project, key, &secret))
}

/// Revoke a key, as DELETE does, and see it.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/keys/{id}:revoke", tag = "keys",
    params(("project" = String, Path, description = "The project's name"), ("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn revoke(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (project, key) = find(&app, &admin, &project, &id).await?;
    let key = admin.store(&app).revoke_api_key(project, key.id).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Revoke a key. It stays in the list, as revoked.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/keys/{id}", tag = "keys",
    params(("project" = String, Path, description = "The project's name"), ("id" = String, Path, description = "The key's id")),
    responses((status = 204), (status = "4XX", body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
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
    /// The settings, where they are good. An end that is not changed may have passed.
    fn check(self, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<NewApiKey, ApiError> {
        let Self { label, rights, expires_at, allowed_networks } = self;
        let mut error = ApiError::invalid("the key cannot be like this");
        if label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
            error = error.field("label", "must have at most 200 characters, and no control characters");
        }
        error = rights::check(error, "rights", &rights);
        if expires_at != end {
            error = check_end(error, expires_at, now);
        }
        let texts = allowed_networks.unwrap_or_default();
        if texts.len() > MAX_NETWORKS {
            error = error.field("allowedNetworks", format!("must hold at most {MAX_NETWORKS}"));
        }
        let mut allowed_networks = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match network(text) {
                Some(network) => allowed_networks.push(network),
                None => {
                    let hint = "must be an address or a network, like 192.0.2.0/24 or 2001:db8::/32";
                    error = error.field(format!("allowedNetworks[{index}]"), hint);
                }
            }
        }
        error.if_any_field()?;
        Ok(NewApiKey { label, rights, expires_at, allowed_networks })
    }
}

/// A network, or a single address; IPv4 that is written as IPv6 is IPv4, as the addresses of clients are.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    text.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc())
}
