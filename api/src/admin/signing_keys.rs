//! `/admin/v1/projects/{project}/signing-keys`: keys that tokens are signed with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use nuncio_model::{Code, Secret, ids};
use nuncio_store::Error as StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::list::List;
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

/// The one algorithm that keys may have so far.
const HS256: &str = "HS256";
/// RFC 7518, section 3.2: a key for HS256 has at least 256 bits.
const MIN_SECRET_BYTES: usize = 32;
const MAX_SECRET_BYTES: usize = 1_024;
const MAX_KID_BYTES: usize = 64;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create))
}

/// A key that tokens are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SigningKey)]
pub(super) struct Shown {
    /// What a token's header names it by.
    kid: String,
    /// The one algorithm it is used with.
    algorithm: String,
    /// The secret: shown this once, where Nuncio made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    secret: Option<String>,
}

/// A signing key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewSigningKey)]
pub(super) struct New {
    /// What a token's header names it by: 1 to 64 letters, digits, `.`, `_` and `-`; made where it is left out.
    kid: Option<String>,
    /// `HS256`.
    algorithm: String,
    /// 32 to 1024 bytes; made where it is left out.
    secret: Option<String>,
}

/// List the signing keys in force.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/signing-keys", tag = "signing keys",
    params(("project" = String, Path)),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
) -> Result<Json<List<Shown>>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let keys = project.signing_keys.iter();
    let shown = |kid: &String, algorithm: &String| Shown {
        kid: kid.clone(),
        algorithm: algorithm.clone(),
        secret: None,
    };
    let rows = keys.map(|key| shown(&key.kid, &key.algorithm)).collect();
    Ok(Json(List::of(rows, usize::MAX, |key| key.kid.clone(), |key| key)))
}

/// Make a signing key. A secret that Nuncio made is in `secret`, this once.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/signing-keys", tag = "signing keys",
    params(("project" = String, Path)), request_body = New,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Body(new): Body<New>,
) -> Result<Response, ApiError> {
    admin.may_change()?;
    let project = super::project(&app, &admin, &project).await?;
    new.check()?;
    let kid = new.kid.unwrap_or_else(|| ids::random_text(12));
    let made = new.secret.is_none();
    let secret = new.secret.unwrap_or_else(|| ids::random_text(64));
    let stored =
        admin.store(&app).create_signing_key(project.id, &kid, HS256, &Secret::new(secret.clone())).await;
    stored.map_err(without_secret_key)?;
    app.directory.refresh().await?;
    let location = format!("/admin/v1/projects/{}/signing-keys/{kid}", project.name);
    let shown = Shown { kid, algorithm: HS256.to_owned(), secret: made.then_some(secret) };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown)).into_response())
}

impl New {
    fn check(&self) -> Result<(), ApiError> {
        let mut error = ApiError::invalid("the signing key cannot be like this");
        let kid_ok = |kid: &str| {
            (1..=MAX_KID_BYTES).contains(&kid.len())
                && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !self.kid.as_deref().is_none_or(kid_ok) {
            error = error.field("kid", "must be 1 to 64 letters, digits, `.`, `_` and `-`");
        }
        if self.algorithm != HS256 {
            error = error.field("algorithm", "must be HS256");
        }
        let sizes = MIN_SECRET_BYTES..=MAX_SECRET_BYTES;
        if !self.secret.as_deref().is_none_or(|secret| sizes.contains(&secret.len())) {
            error = error.field("secret", "must have 32 to 1024 bytes");
        }
        error.if_any_field()
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
