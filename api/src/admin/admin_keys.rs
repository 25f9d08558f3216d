//! `/admin/v1/admin-keys`: keys for this API. Owners for all projects manage them; everyone else sees their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use chrono::{DateTime, Utc};
use nuncio_model::cloudevents::write_time;
use nuncio_model::{Code, ProjectId, ProjectName, Secret};
use nuncio_store::{AdminKey, NewAdminKey, Role, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::body::{Body, Object, merge};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use super::rotation::{Rotate, check_end};
use crate::app::App;
use crate::auth::{Admin, ManageAdminKeys, May, Permission};
use crate::error::ApiError;
use crate::openapi::Problem;

/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// The most projects of a key that is not for all.
const MAX_PROJECTS: usize = 100;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    let path = "/admin/v1/admin-keys/{id}";
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .merge(actions::beside(path, routes!(get, patch, delete), (&["rotate", "revoke"], post(act))))
        .merge(actions::described(routes!(rotate)))
        .merge(actions::described(routes!(revoke)))
}

/// An admin key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminKey)]
pub(super) struct Shown {
    /// Names it in paths.
    id: String,
    /// The letters it begins with: they name it in lists and logs.
    prefix: String,
    /// Whose it is.
    name: String,
    /// `viewer`, `admin` or `owner`.
    #[schema(value_type = super::schemas::AdminRole)]
    role: Role,
    /// The names of the projects that it is for; null for all.
    projects: Option<Vec<String>>,
    /// Whether it is the one in `NUNCIO_ADMIN_KEY`.
    configured: bool,
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

impl Shown {
    fn of(snapshot: &Snapshot, key: AdminKey) -> Self {
        Self {
            id: key.id.to_string(),
            prefix: key.prefix,
            name: key.name,
            role: key.role,
            projects: key.projects.map(|projects| names(snapshot, &projects)),
            configured: key.configured,
            rotated_from: key.rotated_from.map(|id| id.to_string()),
            created_at: write_time(key.created_at),
            expires_at: key.expires_at.map(write_time),
            revoked_at: key.revoked_at.map(write_time),
            last_used_at: key.last_used_at.map(write_time),
            secret: None,
        }
    }
}

/// The names of the projects that are still there, in their order.
fn names(snapshot: &Snapshot, projects: &[ProjectId]) -> Vec<String> {
    let there = projects.iter().filter_map(|project| snapshot.project_by_id(*project));
    let mut names: Vec<_> = there.map(|project| project.name.to_string()).collect();
    names.sort_unstable();
    names
}

/// An admin key to be made, or what can be changed of one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AdminKeySettings)]
pub(super) struct Settings {
    /// Whose it is.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: String,
    /// `viewer` looks, `admin` also changes, `owner` also deletes projects and, where it is for all, manages admin keys.
    #[schema(value_type = super::schemas::AdminRole)]
    role: Role,
    /// The names of the projects that it is for; null for all.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 100)]
    projects: Option<Vec<String>>,
    /// When it ends, a time to come; null for never.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

/// List the admin keys, revoked ones included. Who is no owner for all projects is shown their own key.
#[utoipa::path(
    get, path = "/admin/v1/admin-keys", tag = "admin keys", params(Paging),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, ApiError> {
    let only = if manages(&admin) { None } else { Some(admin.key.id) };
    let limit = paging.limit()?;
    let rows = app.store.list_admin_keys(paging.after_number()?, limit + 1, only).await?;
    let snapshot = app.directory.snapshot();
    Ok(Json(List::of(rows, limit, |key| key.id.to_string(), |key| Shown::of(&snapshot, key))))
}

/// Make an admin key. Its text is in `secret`, this once. Owners for all projects alone may.
#[utoipa::path(
    post, path = "/admin/v1/admin-keys", tag = "admin keys",
    request_body = Settings,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<ManageAdminKeys>,
    Body(new): Body<Settings>,
) -> Result<Response, ApiError> {
    app.directory.refresh().await?;
    let new = new.check(&app.directory.snapshot(), None, app.clock.now())?;
    let made = admin.store(&app).make_admin_key(&new).await?;
    answer_new(&app, made).await
}

async fn answer_new(app: &App, (key, secret): (AdminKey, Secret)) -> Result<Response, ApiError> {
    app.directory.refresh().await?;
    let version = key.version;
    let mut shown = Shown::of(&app.directory.snapshot(), key);
    shown.secret = Some(secret.expose().to_owned());
    Ok(etag::created(format!("/admin/v1/admin-keys/{}", shown.id), version, shown))
}

/// Look at an admin key: any for owners for all projects, else one's own.
#[utoipa::path(
    get, path = "/admin/v1/admin-keys/{id}", tag = "admin keys",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let key = find(&app, &admin, &id).await?;
    Ok(answer(&app, key))
}

/// Change an admin key's name, role, projects and end. Owners for all projects alone may.
#[utoipa::path(
    patch, path = "/admin/v1/admin-keys/{id}", tag = "admin keys",
    params(("id" = String, Path, description = "The key's id")),
    request_body(content = Settings, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Shown),
        (status = 409, description = "It is the last usable owner for all projects", body = Problem),
        (status = "4XX", body = Problem),
    )
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<ManageAdminKeys>,
    Path(id): Path<String>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    let id = find(&app, &admin, &id).await?.id;
    let (snapshot, now) = (app.directory.snapshot(), app.clock.now());
    let apply = |key: &AdminKey| {
        if_match.check(key.version)?;
        merge(&Settings::of(&snapshot, key), changes)?.check(&snapshot, Some(key), now)
    };
    let key = admin.store(&app).update_admin_key(id, now, apply).await?;
    app.directory.refresh().await?;
    Ok(answer(&app, key))
}

/// Does to an admin key what stands after its id.
async fn act(
    state: State<Arc<App>>,
    admin: May<ManageAdminKeys>,
    Path(segment): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (id, action) = actions::split(&segment)?;
    match action {
        "rotate" => rotate(state, admin, Path(id), Body::or_default(request).await?).await,
        "revoke" => revoke(state, admin, Path(id)).await,
        _ => Err(actions::none()),
    }
}

/// Make an admin key that takes this one's place. Owners for all projects alone may.
///
/// It has the same name, role and projects, and its text is in `secret`, this once. The old key goes on for
/// `overlapSeconds`.
#[utoipa::path(
    post, path = "/admin/v1/admin-keys/{id}:rotate", tag = "admin keys",
    params(("id" = String, Path, description = "The key's id")), request_body = Option<Rotate>,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn rotate(
    State(app): State<Arc<App>>,
    admin: May<ManageAdminKeys>,
    Path(id): Path<String>,
    Body(wanted): Body<Rotate>,
) -> Result<Response, ApiError> {
    let key = find(&app, &admin, &id).await?;
    let rotation = wanted.check(app.clock.now())?;
    let made = admin.store(&app).rotate_admin_key(key.id, &rotation).await?;
    answer_new(&app, made).await
}

/// Revoke an admin key, as DELETE does, and see it.
#[utoipa::path(
    post, path = "/admin/v1/admin-keys/{id}:revoke", tag = "admin keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 200, body = Shown),
        (status = 409, description = "It is the last usable owner for all projects", body = Problem),
        (status = "4XX", body = Problem),
    )
)]
async fn revoke(
    State(app): State<Arc<App>>,
    admin: May<ManageAdminKeys>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let key = find(&app, &admin, &id).await?;
    let key = admin.store(&app).revoke_admin_key(key.id, app.clock.now()).await?;
    app.directory.refresh().await?;
    Ok(answer(&app, key))
}

/// Revoke an admin key. It stays in the list, as revoked. Owners for all projects alone may.
#[utoipa::path(
    delete, path = "/admin/v1/admin-keys/{id}", tag = "admin keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204),
        (status = 409, description = "It is the last usable owner for all projects", body = Problem),
        (status = "4XX", body = Problem),
    )
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<ManageAdminKeys>,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let key = find(&app, &admin, &id).await?;
    if_match.check(key.version)?;
    admin.store(&app).revoke_admin_key(key.id, app.clock.now()).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn manages(admin: &Admin) -> bool {
    ManageAdminKeys::check(admin).is_ok()
}

/// The key, where whoever asks may see it.
async fn find(app: &App, admin: &Admin, id: &str) -> Result<AdminKey, ApiError> {
    let none = || ApiError::not_found("admin key");
    let id = super::number(id, "admin key")?;
    if !manages(admin) && id != admin.key.id {
        return Err(none());
    }
    app.directory.refresh().await?;
    Ok(app.store.admin_key(id).await?)
}

fn answer(app: &App, key: AdminKey) -> Response {
    etag::ok(key.version, Shown::of(&app.directory.snapshot(), key))
}

impl Settings {
    fn of(snapshot: &Snapshot, key: &AdminKey) -> Self {
        let projects = key.projects.as_ref().map(|projects| names(snapshot, projects));
        Self { name: key.name.clone(), role: key.role, projects, expires_at: key.expires_at }
    }

    /// The settings, where they are good. Of a key that is changed, what stays need not be good any more: its end may
    /// have passed, and its projects may be gone.
    fn check(
        self,
        snapshot: &Snapshot,
        before: Option<&AdminKey>,
        now: DateTime<Utc>,
    ) -> Result<NewAdminKey, ApiError> {
        let mut error = ApiError::invalid("the admin key cannot be like this");
        let name_ok =
            (1..=MAX_NAME).contains(&self.name.chars().count()) && !self.name.chars().any(char::is_control);
        if !name_ok {
            error = error.field("name", "must have 1 to 200 characters, and no control characters");
        }
        if self.expires_at != before.and_then(|key| key.expires_at) {
            error = check_end(error, self.expires_at, now);
        }
        let known = before.map(|key| Self::of(snapshot, key).projects);
        let projects = match (&self.projects, known) {
            (None, _) => None,
            (now, Some(was)) if *now == was => before.and_then(|key| key.projects.clone()),
            (Some(names), _) => {
                let (found, judged) = numbers(snapshot, names, error);
                error = judged;
                Some(found)
            }
        };
        // What the body names and is not there is not there, where nothing else is wrong.
        if error.fields.iter().all(|field| field.field.starts_with("projects[")) {
            error.code = Code::NotFound;
        }
        error.if_any_field()?;
        Ok(NewAdminKey { name: self.name, role: self.role, projects, expires_at: self.expires_at })
    }
}

/// The numbers of the projects, each once, and the error with an entry for each that is none.
fn numbers(snapshot: &Snapshot, names: &[String], mut error: ApiError) -> (Vec<ProjectId>, ApiError) {
    if !(1..=MAX_PROJECTS).contains(&names.len()) {
        error = error.field("projects", "must be null for all, or hold 1 to 100 names of projects");
    }
    let mut found = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        match ProjectName::parse(name).ok().and_then(|name| snapshot.project(&name)) {
            Some(project) => {
                found.insert(project.id.0);
            }
            None => error = error.field(format!("projects[{index}]"), "there is no such project"),
        }
    }
    (found.into_iter().map(ProjectId).collect(), error)
}
