//! `/admin/v1/projects/{project}/tokens`: making tokens for users.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use nuncio_model::cloudevents::write_time;
use nuncio_model::rights::RightsText;
use nuncio_model::{Code, Rights, ids};
use nuncio_store::{Note, Project, SigningKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::rights;
use crate::app::App;
use crate::auth::token::{self, NewToken};
use crate::auth::{MAX_CREDENTIALS_BYTES, Minter};
use crate::error::ApiError;
use crate::openapi;

/// How long a token is good where nothing is said.
const DEFAULT_SECONDS: i64 = 3_600;
/// The longest time that one may be good: it cannot be narrowed.
const MAX_SECONDS: i64 = 86_400;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(mint))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewTokenRequest {
    /// The user: the token's `sub`, 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    subject: String,
    /// What the user may do.
    #[schema(value_type = super::schemas::Rights)]
    #[serde(deserialize_with = "super::object::read")]
    rights: RightsText,
    /// How long it is good: 1 to 86400 seconds, 3600 where it is left out.
    #[schema(minimum = 1, maximum = 86_400, default = 3_600)]
    expires_in_seconds: Option<i64>,
    /// The HS256 signing key to use; the newest where it is left out.
    kid: Option<String>,
    /// The token's own id, by which it can be revoked: 1 to 256 bytes; made where it is left out.
    #[schema(min_length = 1, max_length = 256)]
    jti: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    /// The token.
    token: String,
    /// When it ends.
    expires_at: String,
    /// The key that it is signed with.
    kid: String,
    /// Its own id, by which it can be revoked.
    jti: String,
}

/// Make a token for a user, with an HS256 signing key of the project.
///
/// It takes an admin key, or an API key of the project: then the rights must be among the key's own, and the token ends
/// with the key at the latest.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/tokens", tag = "tokens",
    params(("project" = String, Path, description = "The project's name")), request_body = NewTokenRequest,
    responses((status = 201, body = Token), (status = "4XX", body = openapi::Problem))
)]
async fn mint(
    State(app): State<Arc<App>>,
    minter: Minter,
    Path(name): Path<String>,
    Body(new): Body<NewTokenRequest>,
) -> Result<Response, ApiError> {
    let project = match (&minter, minter.own_project(&app, &name)?) {
        (Minter::Admin(admin), _) => super::project(&app, admin, &name).await?,
        (Minter::Key(..), own) => own.ok_or_else(|| ApiError::not_found("project"))?,
    };
    minter.may_give(&new.check()?)?;
    let now = app.clock.now();
    let key = key_of(&project, new.kid.as_deref(), now)?;
    let expires_at = end(&new, &minter, key, now)?;
    let jti = new.jti.clone().unwrap_or_else(ids::unique_id);
    let (subject, rights, issued_at) = (new.subject.as_str(), &new.rights, now);
    let issuer = project.issuer.as_deref();
    let wanted = NewToken { issuer, subject, rights, jti: Some(&jti), issued_at, expires_at };
    let token = token::make(&project.name, key, wanted).map_err(ApiError::internal)?;
    if token.len() > MAX_CREDENTIALS_BYTES {
        let error = ApiError::invalid("the token would be longer than the 8192 bytes that are looked at");
        return Err(error.field("rights", "must be shorter: use patterns that cover more"));
    }
    let details = json!({
        "subject": new.subject, "rights": new.rights, "kid": key.kid, "expiresAt": write_time(expires_at),
    });
    // Nobody has the token before its entry is written.
    let (action, resource, of) = ("minted", "tokens", Some(project.id));
    let note = Note { project: of, action, resource, resource_id: &jti, details: Some(details) };
    minter.store(&app).note(&note).await?;
    let made = Token { token, expires_at: write_time(expires_at), kid: key.kid.clone(), jti };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

impl NewTokenRequest {
    fn check(&self) -> Result<Rights, ApiError> {
        let mut error = ApiError::invalid("the token cannot be like this");
        if !token::is_id(&self.subject) {
            error = error.field("subject", "must have 1 to 256 bytes and no control characters");
        }
        if !self.jti.as_deref().is_none_or(token::is_id) {
            error = error.field("jti", "must have 1 to 256 bytes and no control characters");
        }
        if !self.expires_in_seconds.is_none_or(|seconds| (1..=MAX_SECONDS).contains(&seconds)) {
            error = error.field("expiresInSeconds", "must be 1 to 86400");
        }
        rights::check(error, "rights", &self.rights).if_any_field()?;
        Ok(Rights::parse(&self.rights)?)
    }
}

/// The HS256 key to sign with: the one that is named, or the newest, where possible one that does not end.
fn key_of<'a>(
    project: &'a Project,
    kid: Option<&str>,
    now: DateTime<Utc>,
) -> Result<&'a SigningKey, ApiError> {
    let conflict = |detail: &str| ApiError::new(Code::Conflict, detail);
    let signs = |key: &&SigningKey| key.algorithm == "HS256" && key.expires_at.is_none_or(|end| end > now);
    let Some(kid) = kid else {
        let newest =
            project.signing_keys.iter().filter(signs).max_by_key(|key| (key.expires_at.is_none(), key.id));
        return newest.ok_or_else(|| {
            conflict("the project has no HS256 signing key to make tokens with: make one at `signing-keys`")
        });
    };
    let named = project.signing_keys.iter().find(|key| key.kid == kid);
    named.filter(signs).ok_or_else(|| {
        conflict(
            "`kid` names no HS256 signing key of the project that is in force: leave it out, or name another",
        )
    })
}

/// When the token ends. Neither the API key that asks for it nor the key that signs it is outlived.
fn end(
    new: &NewTokenRequest,
    minter: &Minter,
    key: &SigningKey,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, ApiError> {
    // Tokens tell times in whole seconds.
    let now = now.trunc_subsecs(0);
    let wanted = now + TimeDelta::seconds(new.expires_in_seconds.unwrap_or(DEFAULT_SECONDS));
    let of_asker = match minter {
        Minter::Admin(_) => None,
        Minter::Key(identity, _) => identity.expires_at,
    };
    let latest = [of_asker, key.expires_at].into_iter().flatten().min();
    match latest {
        Some(latest) if latest < wanted && new.expires_in_seconds.is_some() => {
            let (whose, code) = match of_asker {
                Some(end) if end == latest => ("the API key that asks for it", Code::Forbidden),
                _ => ("the signing key", Code::Conflict),
            };
            let detail = format!("the token would outlive {whose}, which ends at {}", write_time(latest));
            Err(ApiError::new(code, detail))
        }
        Some(latest) => Ok(latest.min(wanted).trunc_subsecs(0)),
        None => Ok(wanted),
    }
}
