//! `/admin/v1/projects/{project}/tokens:inspect`: finding out why a token is not good, and what it allows.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use nuncio_model::cloudevents::write_time;
use nuncio_model::revocation::Ended;
use nuncio_model::rights::RightsText;
use nuncio_model::{Pattern, Rights};
use nuncio_store::Project;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::revocations::RightAction;
use crate::app::App;
use crate::auth::token::{self, Examined, ProblemCode, Raw, Source};
use crate::auth::{Admin, MAX_CREDENTIALS_BYTES, public_key};
use crate::error::ApiError;
use crate::openapi;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(inspect))
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
    if token::names_several(&app.directory.snapshot(), &raw) {
        let message = "has an `aud` that names more than one project";
        examined.problems.push(token::Problem::new(ProblemCode::WrongAudience, message));
    }
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
