//! `/admin/v1/projects/{project}/tokens`: making tokens for users, and finding out why one is not good.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use nuncio_model::cloudevents::write_time;
use nuncio_model::revocation::Ended;
use nuncio_model::rights::RightsText;
use nuncio_model::{Code, Pattern, Rights, ids};
use nuncio_store::{Project, SigningKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::revocations::RightAction;
use super::rights;
use crate::app::App;
use crate::auth::token::{self, Examined, NewToken, ProblemCode, Raw, Source};
use crate::auth::{Admin, MAX_CREDENTIALS_BYTES, Minter, public_key};
use crate::error::ApiError;
use crate::openapi;

/// How long a token is good where nothing is said.
const DEFAULT_SECONDS: i64 = 3_600;
/// The longest time that one may be good: it cannot be narrowed.
const MAX_SECONDS: i64 = 86_400;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(mint)).routes(routes!(inspect))
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

/// A token to be looked into, and what one would like to do with it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TokenQuestion {
    /// The token.
    token: String,
    /// What is to be done; together with `channel`.
    action: Option<RightAction>,
    /// The channel or pattern that it is to be done to; together with `action`.
    channel: Option<String>,
}

/// What has been found out about a token.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenReport {
    /// Whether it opens the project now.
    valid: bool,
    /// Everything that is wrong with it.
    problems: Vec<TokenProblem>,
    /// Its header, as it stands there.
    #[schema(value_type = Option<Object>)]
    header: Option<Map<String, Value>>,
    /// Its claims, as they stand there.
    #[schema(value_type = Option<Object>)]
    claims: Option<Map<String, Value>>,
    /// Whether its signature is good. Where it is not, anyone may have written what is shown here.
    verified: bool,
    /// The key that it names.
    key: Option<TokenKey>,
    /// How the keys stand that the project publishes, where it has a `jwksUrl` that has been asked.
    jwks: Option<PublishedKeys>,
    /// Its user.
    subject: Option<String>,
    /// Its rights, where they can be read.
    #[schema(value_type = Option<super::schemas::Rights>)]
    rights: Option<RightsText>,
    /// When it ends.
    expires_at: Option<String>,
    /// Whether it allows what was asked.
    allows: Option<Allows>,
}

/// Something that is wrong with a token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenProblem {
    /// In one word, such as `EXPIRED` or `BAD_SIGNATURE`.
    code: String,
    /// In a sentence.
    message: String,
}

/// The key that a token names.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenKey {
    /// Its id.
    kid: String,
    /// The one algorithm it is used with.
    algorithm: String,
    /// `signingKey`, or `jwks`: published at the project's `jwksUrl`.
    source: String,
}

/// How the keys stand that a project publishes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublishedKeys {
    /// When they were last fetched.
    fetched_at: Option<String>,
    /// Why they could not be fetched the last time.
    problem: Option<String>,
}

/// Whether a token allows something.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allows {
    /// What is to be done.
    action: RightAction,
    /// The channel or pattern.
    channel: String,
    /// Whether it may be done.
    allowed: bool,
    /// The right that allows it.
    by: Option<String>,
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
    minter.may_mint()?;
    let project = match (&minter, minter.own_project(&app, &name)?) {
        (Minter::Admin(admin), _) => super::project(&app, admin, &name).await?,
        (Minter::Key(_), own) => own.ok_or_else(|| ApiError::not_found("project"))?,
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
    let made = Token { token, expires_at: write_time(expires_at), kid: key.kid.clone(), jti };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

impl NewTokenRequest {
    fn check(&self) -> Result<Rights, ApiError> {
        let mut error = ApiError::invalid("the token cannot be like this");
        if !token::is_id(&self.subject) {
            error = error.field("subject", "must have 1 to 256 bytes");
        }
        if !self.jti.as_deref().is_none_or(token::is_id) {
            error = error.field("jti", "must have 1 to 256 bytes");
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
        Minter::Key(identity) => identity.expires_at,
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

/// Find out whether a token is good for the project, and everything that is wrong with it.
///
/// It may also be asked whether the token allows an action on a channel or pattern.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/tokens:inspect", tag = "tokens",
    params(("project" = String, Path, description = "The project's name")), request_body = TokenQuestion,
    responses((status = 200, body = TokenReport), (status = "4XX", body = openapi::Problem))
)]
async fn inspect(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Body(question): Body<TokenQuestion>,
) -> Result<Json<TokenReport>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let asked = question.asked()?;
    if question.token.len() > MAX_CREDENTIALS_BYTES {
        return Ok(Json(hopeless(ProblemCode::TooLong, "is longer than 8192 bytes")));
    }
    let raw = match Raw::read(&question.token) {
        Ok(raw) => raw,
        Err(problem) => return Ok(Json(hopeless(problem.code, &problem.message))),
    };
    let mut examined = token::examine(&app, &project, &raw).await;
    explain_key(&app, &project, &raw, &mut examined).await?;
    take_away(&app, &project, &mut examined);
    Ok(Json(report(&app, &project, raw, examined, asked)))
}

impl TokenQuestion {
    /// What one would like to do, where that is asked.
    fn asked(&self) -> Result<Option<(RightAction, Pattern)>, ApiError> {
        let error = || ApiError::invalid("the question cannot be like this");
        match (self.action, &self.channel) {
            (None, None) => Ok(None),
            (Some(action), Some(channel)) => match Pattern::parse(channel) {
                Ok(pattern) => Ok(Some((action, pattern))),
                Err(name) => Err(error().field("channel", name.to_string())),
            },
            (Some(_), None) => Err(error().field("channel", "is needed together with `action`")),
            (None, Some(_)) => Err(error().field("action", "is needed together with `channel`")),
        }
    }
}

/// Tells what became of a key that the project does not have any more.
async fn explain_key(
    app: &App,
    project: &Project,
    raw: &Raw<'_>,
    examined: &mut Examined,
) -> Result<(), ApiError> {
    let unknown = examined.problems.iter_mut().find(|problem| problem.code == ProblemCode::UnknownKey);
    let (Some(problem), Some(kid)) = (unknown, raw.header.get("kid").and_then(Value::as_str)) else {
        return Ok(());
    };
    if kid.contains('\0') {
        // The database knows no such texts.
        return Ok(());
    }
    let row = match app.store.signing_key(project.id, kid).await {
        Ok(row) => row,
        Err(nuncio_store::Error::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let (code, message) = match (row.revoked_at, row.expires_at) {
        (Some(at), _) => {
            let message = format!("is signed with a key that was revoked at {}", write_time(at));
            (ProblemCode::KeyRevoked, message)
        }
        (None, Some(end)) if end <= app.clock.now() => {
            (ProblemCode::KeyExpired, format!("is signed with a key that ended at {}", write_time(end)))
        }
        _ => {
            let message = "names a signing key that this node cannot read: is its NUNCIO_SECRET_KEY the one of the others?";
            (ProblemCode::UnknownKey, message.to_owned())
        }
    };
    *problem = token::Problem::new(code, message);
    Ok(())
}

/// Takes away what was revoked.
fn take_away(app: &App, project: &Project, examined: &mut Examined) {
    let (snapshot, now) = (app.directory.snapshot(), app.clock.now());
    let (Some(revocations), Some(proof)) = (snapshot.revocations(project.id), examined.proof()) else {
        return;
    };
    let subject = examined.subject.clone().unwrap_or_default();
    let message = match revocations.ended(&subject, &proof, now) {
        Some(Ended::Token) => Some("was revoked, by its `jti`"),
        Some(Ended::Subject) => Some("was revoked, with all of its `sub` that were made until then"),
        None => None,
    };
    examined.problems.extend(message.map(|message| token::Problem::new(ProblemCode::Revoked, message)));
    let denied = revocations.denied(&subject, &proof, now).map(|(action, pattern)| (action, pattern.clone()));
    examined.rights = examined.rights.take().map(|rights| rights.denying(denied.collect()));
}

fn report(
    app: &App,
    project: &Project,
    raw: Raw<'_>,
    examined: Examined,
    asked: Option<(RightAction, Pattern)>,
) -> TokenReport {
    let valid = examined.problems.is_empty();
    let allows = asked.map(|(action, pattern)| {
        let rights = examined.rights.as_ref().filter(|_| valid);
        let by = rights.and_then(|rights| rights.covering(action.into(), &pattern)).map(Pattern::to_string);
        Allows { action, channel: pattern.to_string(), allowed: by.is_some(), by }
    });
    TokenReport {
        valid,
        problems: examined.problems.iter().map(|problem| shown(problem.code, &problem.message)).collect(),
        header: Some(raw.header),
        claims: Some(raw.claims),
        verified: examined.is_signed,
        key: examined.key.map(|key| TokenKey {
            kid: key.kid,
            algorithm: public_key::name_of(key.algorithm).to_owned(),
            source: if key.source == Source::Jwks { "jwks" } else { "signingKey" }.to_owned(),
        }),
        jwks: app
            .jwks
            .state(project)
            .map(|state| PublishedKeys { fetched_at: state.read_at.map(write_time), problem: state.problem }),
        subject: examined.subject,
        rights: examined.rights.as_ref().map(Rights::to_text),
        expires_at: examined.expires_at.map(write_time),
        allows,
    }
}

/// The report on what cannot even be taken apart.
fn hopeless(code: ProblemCode, message: &str) -> TokenReport {
    TokenReport { problems: vec![shown(code, message)], ..TokenReport::default() }
}

fn shown(code: ProblemCode, message: &str) -> TokenProblem {
    TokenProblem { code: code.as_str().to_owned(), message: format!("the token {message}") }
}
