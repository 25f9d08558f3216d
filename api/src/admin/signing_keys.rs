//! `/admin/v1/projects/{project}/signing-keys`: keys that tokens are signed with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::cloudevents::{is_writable, write_time};
use nuncio_model::{Code, ProjectId, Secret, ids};
use nuncio_store::{Error as StoreError, KeyMaterial, NewSigningKey, SigningKeyRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::body::{Body, Object, merge};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use super::rotation::{DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS};
use crate::app::App;
use crate::auth::public_key::{PublicKey, algorithm, to_pem};
use crate::auth::{Admin, Change, May};
use crate::error::ApiError;
use crate::openapi::Problem;

/// The one algorithm whose key is a secret.
const HS256: &str = "HS256";
/// RFC 7518, section 3.2: a key for HS256 has at least 256 bits.
const MIN_SECRET_BYTES: usize = 32;
const MAX_SECRET_BYTES: usize = 1_024;
const MAX_KID_BYTES: usize = 64;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    let path = "/admin/v1/projects/{project}/signing-keys/{kid}";
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .merge(actions::beside(path, routes!(get, patch, delete), (&["rotate", "revoke"], post(act))))
        .merge(actions::described(routes!(rotate)))
        .merge(actions::described(routes!(revoke)))
}

/// A key that tokens are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SigningKey)]
pub(super) struct Shown {
    /// What a token's header names it by.
    kid: String,
    /// The one algorithm it is used with: `HS256`, `RS256`, `ES256` or `EdDSA`.
    algorithm: String,
    /// The public key in PEM (SPKI); null for HS256.
    public_key: Option<String>,
    /// When it was made.
    created_at: String,
    /// When it ends, and with it all that is open with its tokens.
    expires_at: Option<String>,
    /// When it was revoked.
    revoked_at: Option<String>,
    /// When a token was last checked with it, about.
    last_used_at: Option<String>,
    /// The secret: shown this once, where Nuncio made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    secret: Option<String>,
}

impl From<SigningKeyRow> for Shown {
    fn from(key: SigningKeyRow) -> Self {
        Self {
            kid: key.kid,
            algorithm: key.algorithm,
            public_key: key.public_key.as_deref().map(to_pem),
            created_at: write_time(key.created_at),
            expires_at: key.expires_at.map(write_time),
            revoked_at: key.revoked_at.map(write_time),
            last_used_at: key.last_used_at.map(write_time),
            secret: None,
        }
    }
}

/// A signing key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewSigningKey)]
pub(super) struct New {
    /// What a token's header names it by: letters, digits, `.`, `_` and `-`; made where it is left out.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    kid: Option<String>,
    /// `HS256`, `RS256`, `ES256` or `EdDSA`.
    algorithm: String,
    /// For HS256: 32 to 1024 bytes; made where it is left out.
    secret: Option<String>,
    /// For the others: RSA of 2048 to 8192 bits, EC on P-256, or Ed25519; in PEM (SPKI), or a JWK.
    #[schema(value_type = Option<super::schemas::PublicKey>)]
    public_key: Option<Value>,
    /// When it ends; null for never.
    expires_at: Option<DateTime<Utc>>,
}

/// What can be changed of a signing key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SigningKeySettings)]
pub(super) struct Settings {
    /// When it ends; null for never.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

/// The key that takes the place of another of the same algorithm.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SigningKeyRotation)]
pub(super) struct Rotation {
    /// How long the old key stays good beside the new one: 0 to 2592000, 86400 where it is left out.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    overlap_seconds: Option<u32>,
    /// What a token's header names the new key by; made where it is left out.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    kid: Option<String>,
    /// For HS256: 32 to 1024 bytes; made where it is left out.
    secret: Option<String>,
    /// For the others, and needed there: the new public key, in PEM (SPKI), or a JWK.
    #[schema(value_type = Option<super::schemas::PublicKey>)]
    public_key: Option<Value>,
}

/// List the signing keys, revoked ones and those that have ended included.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/signing-keys", tag = "signing keys",
    params(("project" = String, Path, description = "The project's name"), Paging),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let rows = app.store.list_signing_keys(project.id, paging.after_number()?, limit + 1).await?;
    Ok(Json(List::of(rows, limit, |key| key.id.to_string(), Shown::from)))
}

/// Make a signing key. A secret that Nuncio made is in `secret`, this once.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/signing-keys", tag = "signing keys",
    params(("project" = String, Path, description = "The project's name")), request_body = New,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(new): Body<New>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (new, secret) = new.check()?;
    let made = admin.store(&app).add_signing_key(project.id, &new).await.map_err(without_secret_key)?;
    app.directory.refresh().await?;
    Ok(created(&project.name, made, secret))
}

/// Look at a signing key.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/signing-keys/{kid}", tag = "signing keys",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("kid" = String, Path, description = "The key's id")
    ),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, kid)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let key = find(&app, &admin, &project, &kid).await?.1;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Change when a signing key ends.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}/signing-keys/{kid}", tag = "signing keys",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("kid" = String, Path, description = "The key's id")
    ),
    request_body(content = Settings, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, kid)): Path<(String, String)>,
    if_match: IfMatch,
    Body(changes): Body<Object>,
) -> Result<Response, ApiError> {
    let (project, _) = find(&app, &admin, &project, &kid).await?;
    let apply = |key: SigningKeyRow| {
        if_match.check(key.version)?;
        let settings = merge(&Settings { expires_at: key.expires_at }, changes)?;
        settings.check()?;
        not_revoked(&key)?;
        Ok::<_, ApiError>(settings.expires_at)
    };
    let key = admin.store(&app).update_signing_key(project, &kid, apply).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Does to a signing key what stands after its id.
async fn act(
    state: State<Arc<App>>,
    admin: May<Change>,
    Path((project, segment)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (kid, action) = actions::split(&segment)?;
    match action {
        "rotate" => rotate(state, admin, Path((project, kid)), Body::or_default(request).await?).await,
        "revoke" => revoke(state, admin, Path((project, kid))).await,
        _ => Err(actions::none()),
    }
}

/// Make a signing key that takes this one's place.
///
/// It has the same algorithm. A secret that Nuncio made is in `secret`, this once; for the other algorithms `publicKey`
/// is needed. The old key goes on for `overlapSeconds`, so that whoever signs has the time to change over; tokens that it
/// signed end with it.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/signing-keys/{kid}:rotate", tag = "signing keys",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("kid" = String, Path, description = "The key's id")
    ),
    request_body = Option<Rotation>,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn rotate(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, kid)): Path<(String, String)>,
    Body(rotation): Body<Rotation>,
) -> Result<Response, ApiError> {
    let (id, old) = find(&app, &admin, &project, &kid).await?;
    let (new, overlap) = rotation.check(&old)?;
    let (new, secret) = new.check()?;
    let now = app.clock.now();
    let rotation = nuncio_store::Rotation { now, old_ends_at: now + overlap, new_ends_at: None };
    let made = admin.store(&app).rotate_signing_key(id, &kid, &rotation, &new).await;
    let made = made.map_err(without_secret_key)?;
    app.directory.refresh().await?;
    Ok(created(project, made, secret))
}

/// Revoke a signing key, as DELETE does, and see it.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/signing-keys/{kid}:revoke", tag = "signing keys",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("kid" = String, Path, description = "The key's id")
    ),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn revoke(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, kid)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (project, _) = find(&app, &admin, &project, &kid).await?;
    let key = admin.store(&app).revoke_signing_key(project, &kid).await?;
    app.directory.refresh().await?;
    Ok(etag::ok(key.version, Shown::from(key)))
}

/// Revoke a signing key, and end all that is open with its tokens. It stays in the list, as revoked.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/signing-keys/{kid}", tag = "signing keys",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("kid" = String, Path, description = "The key's id")
    ),
    responses((status = 204), (status = "4XX", body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, kid)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let (project, key) = find(&app, &admin, &project, &kid).await?;
    if_match.check(key.version)?;
    admin.store(&app).revoke_signing_key(project, &kid).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(
    app: &App,
    admin: &Admin,
    project: &str,
    kid: &str,
) -> Result<(ProjectId, SigningKeyRow), ApiError> {
    let project = super::project(app, admin, project).await?.id;
    // What can be no id is not asked for; a NUL would be refused by the database.
    let key = if is_kid(kid) { app.store.signing_key(project, kid).await } else { Err(no_such_key()) };
    Ok((project, key?))
}

fn no_such_key() -> StoreError {
    StoreError::NotFound("the signing key")
}

fn not_revoked(key: &SigningKeyRow) -> Result<(), ApiError> {
    match key.revoked_at {
        None => Ok(()),
        Some(_) => Err(ApiError::new(Code::Conflict, "the signing key was revoked: make a new one")),
    }
}

fn created(project: impl std::fmt::Display, made: SigningKeyRow, secret: Option<String>) -> Response {
    let location = format!("/admin/v1/projects/{project}/signing-keys/{}", made.kid);
    let (version, mut shown) = (made.version, Shown::from(made));
    shown.secret = secret;
    etag::created(location, version, shown).into_response()
}

fn is_kid(kid: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&kid.len())
        && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl New {
    /// An error with all that is wrong here.
    fn problems(&self) -> ApiError {
        let mut error = ApiError::invalid("the signing key cannot be like this");
        if !self.kid.as_deref().is_none_or(is_kid) {
            error = error.field("kid", "must be 1 to 64 letters, digits, `.`, `_` and `-`");
        }
        if !self.expires_at.is_none_or(is_writable) {
            error = error.field("expiresAt", "must be null or a time before the year 10000");
        }
        if algorithm(&self.algorithm).is_none() {
            return error.field("algorithm", "must be HS256, RS256, ES256 or EdDSA");
        }
        if self.algorithm == HS256 {
            let sizes = MIN_SECRET_BYTES..=MAX_SECRET_BYTES;
            if !self.secret.as_deref().is_none_or(|secret| sizes.contains(&secret.len())) {
                error = error.field("secret", "must have 32 to 1024 bytes");
            }
            if self.public_key.is_some() {
                error = error.field("publicKey", "is not for HS256, whose keys are secrets");
            }
            return error;
        }
        if self.secret.is_some() {
            error = error.field("secret", "is for HS256 alone: give the public key in `publicKey`");
        }
        match self.public_key() {
            Some(Ok(_)) => error,
            Some(Err(wrong)) => error.field("publicKey", wrong),
            None => error.field("publicKey", "is needed: in PEM (SPKI), or a JWK"),
        }
    }

    fn public_key(&self) -> Option<Result<PublicKey, &'static str>> {
        let wanted = algorithm(&self.algorithm)?;
        Some(match self.public_key.as_ref()? {
            Value::String(text) => PublicKey::from_pem(text, wanted),
            Value::Object(jwk) => {
                PublicKey::from_jwk(jwk).and_then(|key| PublicKey::from_der(key.der, wanted))
            }
            _ => Err("must be a text in PEM, or a JWK as an object"),
        })
    }

    /// The key to be stored, and its secret where it was made here.
    fn check(self) -> Result<(NewSigningKey, Option<String>), ApiError> {
        self.problems().if_any_field()?;
        let (material, made) = match (self.public_key(), &self.secret) {
            (Some(Ok(key)), _) => (KeyMaterial::Public(key.der.into()), None),
            (_, Some(secret)) => (KeyMaterial::Secret(Secret::new(secret.clone())), None),
            (_, None) => {
                let secret = ids::random_text(64);
                (KeyMaterial::Secret(Secret::new(secret.clone())), Some(secret))
            }
        };
        let Self { kid, algorithm, expires_at, .. } = self;
        let kid = kid.unwrap_or_else(|| ids::random_text(12));
        Ok((NewSigningKey { kid, algorithm, material, expires_at }, made))
    }
}

impl Rotation {
    /// The key that takes the old one's place, and how long the old one goes on.
    fn check(self, old: &SigningKeyRow) -> Result<(New, TimeDelta), ApiError> {
        let Self { overlap_seconds, kid, secret, public_key } = self;
        let new = New { kid, algorithm: old.algorithm.clone(), secret, public_key, expires_at: None };
        let overlap = overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS);
        let mut error = new.problems();
        if overlap > MAX_OVERLAP_SECONDS {
            error = error.field("overlapSeconds", format!("must be 0 to {MAX_OVERLAP_SECONDS}"));
        }
        error.if_any_field()?;
        Ok((new, TimeDelta::seconds(overlap.into())))
    }
}

impl Settings {
    fn check(&self) -> Result<(), ApiError> {
        let error = ApiError::invalid("the signing key cannot be like this");
        if self.expires_at.is_none_or(is_writable) {
            return Ok(());
        }
        Err(error.field("expiresAt", "must be null or a time before the year 10000"))
    }
}

/// Without the key that encrypts them no secrets are stored: that is for whoever runs the node to mend.
fn without_secret_key(error: StoreError) -> ApiError {
    match error {
        StoreError::Unreadable(_) => {
            ApiError::new(Code::Conflict, "secrets can be stored once NUNCIO_SECRET_KEY is set")
                .caused_by(error)
        }
        other => other.into(),
    }
}
