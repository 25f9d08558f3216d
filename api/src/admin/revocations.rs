//! `/admin/v1/projects/{project}/revocations`: what is taken from tokens before they end by themselves.
//!
//! What a revocation is of is named by its `kind`, and each kind has its own fields: one that belongs to another kind is
//! refused, so that nothing is believed to be revoked that is not. Revocations are not changed: delete one and make
//! another.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::cloudevents::{is_writable, write_time};
use nuncio_model::{Action, Code, Pattern, Revoked};
use nuncio_store::{MAX_REVOCATIONS, NewRevocation, Revocation, RevocationFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::list::{List, Paging};
use crate::app::App;
use crate::auth::{Admin, Change, May};
use crate::error::ApiError;
use crate::openapi::Problem;

/// The longest `jti` and `sub`.
const MAX_ID_BYTES: usize = 256;
/// The longest reason.
const MAX_REASON_BYTES: usize = 200;
/// How far the clock of whoever asks may be ahead of ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RevocationKind)]
pub(super) enum Kind {
    /// One token, by its id.
    Jti,
    /// All tokens of a subject that were made before a time.
    Subject,
    /// One right, from tokens that were made before a time.
    Right,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Subject => "subject",
            Self::Right => "right",
        }
    }
}

/// What can be done to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RightAction)]
pub(super) enum RightAction {
    /// Read events.
    Subscribe,
    /// Write events.
    Publish,
    /// Send and receive signals.
    Signal,
    /// See and enter presence.
    Presence,
}

/// A revocation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Revocation)]
pub(super) struct Shown {
    /// Names it in paths.
    id: String,
    /// What is revoked.
    kind: Kind,
    /// Of kind `jti`: the token's `jti`.
    jti: Option<String>,
    /// Of kind `subject`: whose tokens. Of kind `right`: whose tokens, or null for those of all.
    subject: Option<String>,
    /// Of kind `right`: what can no longer be done.
    action: Option<RightAction>,
    /// Of kind `right`: to which channels.
    pattern: Option<String>,
    /// Of kinds `subject` and `right`: tokens with an `iat` up to this second, or without `iat`, are hit.
    issued_before: Option<String>,
    /// Why.
    reason: String,
    /// When it was made.
    created_at: String,
    /// When it is over; null for never.
    expires_at: Option<String>,
}

impl From<Revocation> for Shown {
    fn from(revocation: Revocation) -> Self {
        let shown = Self {
            id: revocation.id.to_string(),
            kind: Kind::Jti,
            jti: None,
            subject: None,
            action: None,
            pattern: None,
            issued_before: None,
            reason: revocation.reason,
            created_at: write_time(revocation.created_at),
            expires_at: revocation.expires_at.map(write_time),
        };
        match revocation.revoked {
            Revoked::Token { jti } => Self { jti: Some(jti), ..shown },
            Revoked::Subject { subject, issued_before } => Self {
                kind: Kind::Subject,
                subject: Some(subject),
                issued_before: Some(write_time(issued_before)),
                ..shown
            },
            Revoked::Right { action, pattern, subject, issued_before } => Self {
                kind: Kind::Right,
                subject,
                action: Some(action.into()),
                pattern: Some(pattern.to_string()),
                issued_before: Some(write_time(issued_before)),
                ..shown
            },
        }
    }
}

/// A revocation to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewRevocation)]
pub(super) struct New {
    /// What is revoked: it decides which of the other fields there are.
    kind: Kind,
    /// Kind `jti` needs it, no other has it: the token's `jti`.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    jti: Option<String>,
    /// Kind `subject` needs it, kind `right` may have it: whose tokens.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    subject: Option<String>,
    /// Kind `right` needs it, no other has it: what can no longer be done.
    #[serde(default)]
    action: Option<RightAction>,
    /// Kind `right` needs it, no other has it: to which channels.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    pattern: Option<String>,
    /// Kinds `subject` and `right`: tokens with an `iat` up to this second, or without `iat`, are hit. Now where it is
    /// left out, and never later: tokens that are yet to be made are not revoked.
    #[serde(default)]
    issued_before: Option<DateTime<Utc>>,
    /// Why, for whoever reads the list.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: Option<String>,
    /// When it is over: best when the last token that it hits has expired. Never where it is left out.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

/// Which revocations are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Those of this kind: `jti`, `subject` or `right`.
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// Those of this subject.
    subject: Option<String>,
    /// Those of the token with this `jti`.
    jti: Option<String>,
}

/// List the revocations, oldest first; those that are over stay for a month.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/revocations", tag = "revocations", operation_id = "list_revocations",
    params(("project" = String, Path, description = "The project's name"), Paging, Filter),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem), (status = 503, body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let filter = filter.check()?;
    let rows = app.store.list_revocations(project.id, paging.after_number()?, limit + 1, &filter).await?;
    Ok(Json(List::of(rows, limit, |revocation| revocation.id.to_string(), Shown::from)))
}

/// Revoke a token, the tokens of a subject, or a right.
///
/// It is in force at once on the node that answers, and on every other within about a second; what is open by what was
/// revoked ends there. API keys are not hit: they are narrowed or revoked themselves.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/revocations", tag = "revocations",
    operation_id = "create_revocation", params(("project" = String, Path, description = "The project's name")),
    request_body = New,
    responses((status = 201, body = Shown), (status = "4XX", body = Problem), (status = 503, body = Problem))
)]
async fn create(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(new): Body<New>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let new = new.check(app.clock.now())?;
    let made = admin.store(&app).create_revocation(project.id, &new).await?.ok_or_else(full)?;
    app.directory.refresh().await?;
    let shown = Shown::from(made);
    let location = format!("/admin/v1/projects/{}/revocations/{}", project.name, shown.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown)).into_response())
}

/// Look at a revocation.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/revocations/{id}", tag = "revocations",
    operation_id = "get_revocation",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The revocation's id"),
    ),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem), (status = 503, body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<Json<Shown>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let revocation = app.store.revocation(project.id, super::number(&id, "revocation")?).await?;
    Ok(Json(revocation.into()))
}

/// Take a revocation back: what it took away, tokens that are still good have again.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/revocations/{id}", tag = "revocations",
    operation_id = "delete_revocation",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The revocation's id"),
    ),
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    admin.store(&app).delete_revocation(project.id, super::number(&id, "revocation")?).await?;
    app.directory.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn full() -> ApiError {
    let detail = format!(
        "the project has {MAX_REVOCATIONS} revocations in force: delete those whose tokens have expired, and give new \
         ones an expiresAt; a signing key that is replaced revokes all that it has signed"
    );
    ApiError::new(Code::Conflict, detail)
}

impl Filter {
    fn check(self) -> Result<RevocationFilter, ApiError> {
        let mut error = ApiError::invalid("the query is not good");
        let kinds = [Kind::Jti, Kind::Subject, Kind::Right];
        if self.kind.as_ref().is_some_and(|kind| !kinds.iter().any(|known| known.as_str() == kind)) {
            error = error.field("kind", "must be jti, subject or right");
        }
        for (field, value) in [("subject", &self.subject), ("jti", &self.jti)] {
            if value.as_ref().is_some_and(|value| value.contains('\0')) {
                error = error.field(field, "must not have a character of code 0");
            }
        }
        error.if_any_field()?;
        let Self { kind, subject, jti } = self;
        Ok(RevocationFilter { kind, subject, jti })
    }
}

impl New {
    /// Gathers all that is wrong.
    fn check(self, now: DateTime<Utc>) -> Result<NewRevocation, ApiError> {
        let mut error = ApiError::invalid("this cannot be revoked like this");
        for (field, problem) in self.misplaced().into_iter().chain(self.malformed(now)) {
            error = error.field(field, problem);
        }
        error.if_any_field()?;
        let unfit = || ApiError::invalid("the fields do not fit the kind");
        let issued_before = self.issued_before.unwrap_or(now);
        let revoked = match self.kind {
            Kind::Jti => Revoked::Token { jti: self.jti.ok_or_else(unfit)? },
            Kind::Subject => Revoked::Subject { subject: self.subject.ok_or_else(unfit)?, issued_before },
            Kind::Right => Revoked::Right {
                action: self.action.ok_or_else(unfit)?.into(),
                pattern: Pattern::parse(&self.pattern.ok_or_else(unfit)?)?,
                subject: self.subject,
                issued_before,
            },
        };
        Ok(NewRevocation { revoked, reason: self.reason.unwrap_or_default(), expires_at: self.expires_at })
    }

    /// Fields that the kind needs and that are not there, and those that it does not have.
    fn misplaced(&self) -> Vec<(&'static str, String)> {
        use Need::{May, Must, Never};
        let needs = match self.kind {
            Kind::Jti => [Must, Never, Never, Never, Never],
            Kind::Subject => [Never, Must, Never, Never, May],
            Kind::Right => [Never, May, Must, Must, May],
        };
        let fields = [
            ("jti", self.jti.is_some()),
            ("subject", self.subject.is_some()),
            ("action", self.action.is_some()),
            ("pattern", self.pattern.is_some()),
            ("issuedBefore", self.issued_before.is_some()),
        ];
        let kind = self.kind.as_str();
        let wrong =
            fields.into_iter().zip(needs).filter_map(|((field, is_there), need)| match (need, is_there) {
                (Must, false) => Some((field, format!("is needed for kind {kind}"))),
                (Never, true) => Some((field, format!("does not belong to kind {kind}: leave it out"))),
                _ => None,
            });
        wrong.collect()
    }

    fn malformed(&self, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let is_id = |id: &String| (1..=MAX_ID_BYTES).contains(&id.len()) && !id.contains('\0');
        for (field, value) in [("jti", &self.jti), ("subject", &self.subject)] {
            if !value.as_ref().is_none_or(is_id) {
                wrong.push((field, "must have 1 to 256 bytes, none of them 0".to_owned()));
            }
        }
        if let Some(Err(name)) = self.pattern.as_deref().map(Pattern::parse) {
            wrong.push(("pattern", name.to_string()));
        }
        if self.issued_before.is_some_and(|time| time > now + LEEWAY || !is_writable(time)) {
            wrong.push((
                "issuedBefore",
                "must not be later than now: later tokens are not revoked".to_owned(),
            ));
        }
        let is_reason = |text: &String| text.len() <= MAX_REASON_BYTES && !text.chars().any(char::is_control);
        if !self.reason.as_ref().is_none_or(is_reason) {
            wrong.push(("reason", "must have at most 200 bytes and no control characters".to_owned()));
        }
        if self.expires_at.is_some_and(|time| time <= now || !is_writable(time)) {
            wrong.push(("expiresAt", "must be null or a time to come, before the year 10000".to_owned()));
        }
        wrong
    }
}

/// Whether a kind has a field.
#[derive(Clone, Copy)]
enum Need {
    Must,
    May,
    Never,
}

impl From<RightAction> for Action {
    fn from(action: RightAction) -> Self {
        match action {
            RightAction::Subscribe => Self::Subscribe,
            RightAction::Publish => Self::Publish,
            RightAction::Signal => Self::Signal,
            RightAction::Presence => Self::Presence,
        }
    }
}

impl From<Action> for RightAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Subscribe => Self::Subscribe,
            Action::Publish => Self::Publish,
            Action::Signal => Self::Signal,
            Action::Presence => Self::Presence,
        }
    }
}
