//! `/admin/v1/projects/{project}/dead-letters`: messages that could not become events.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nuncio_broker::Properties;
use nuncio_model::Channel;
use nuncio_model::cloudevents::write_time;
use nuncio_store::{DeadLetter, DeadLetterChange, DeadLetterFilter, DeadLetterOrder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Body, merge_members};
use super::etag::{self, IfMatch};
use super::list::{List, Paging};
use crate::app::App;
use crate::auth::{Admin, Change, May};
use crate::error::ApiError;
use crate::openapi::Problem;
use crate::query;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, purge)).routes(routes!(get, patch, delete))
}

/// A kept message. In lists it comes without its body.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub(super) struct Shown {
    /// Names it in paths.
    id: String,
    /// When it was put here.
    received_at: String,
    /// Why, in one stable word.
    reason: String,
    /// Why, in a sentence.
    detail: String,
    /// The routing key it came with.
    routing_key: String,
    /// The exchange it was published to.
    exchange: String,
    /// Its AMQP properties and headers.
    properties: serde_json::Value,
    /// When it was last edited.
    edited_at: Option<String>,
    /// How many bytes its body has.
    body_bytes: i32,
    /// Its body, where that is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    body: Option<String>,
    /// Its body, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    body_base64: Option<String>,
}

impl Shown {
    fn without_body(letter: DeadLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            received_at: write_time(letter.received_at),
            reason: letter.reason,
            detail: letter.detail,
            routing_key: letter.routing_key,
            exchange: letter.exchange,
            properties: letter.properties,
            edited_at: letter.edited_at.map(write_time),
            body_bytes: letter.body_bytes,
            body: None,
            body_base64: None,
        }
    }

    fn whole(mut letter: DeadLetter) -> Self {
        let (body, body_base64) = match String::from_utf8(std::mem::take(&mut letter.body)) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(BASE64.encode(error.as_bytes()))),
        };
        Self { body, body_base64, ..Self::without_body(letter) }
    }
}

/// Which messages; all that is given must hold.
#[derive(Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct Matching {
    /// The reason.
    #[param(max_length = 200)]
    reason: Option<String>,
    /// What the routing key begins with.
    #[param(max_length = 255)]
    routing_key: Option<String>,
    /// A time (RFC 3339): they came at or after it.
    #[param(format = DateTime)]
    since: Option<String>,
    /// A time (RFC 3339): they came before it.
    #[param(format = DateTime)]
    before: Option<String>,
}

impl Matching {
    /// Reads what a query says of these, and whether it says anything else.
    fn read(query: Option<&str>, others: &[&str]) -> Result<DeadLetterFilter, ApiError> {
        let (mut filter, mut error) =
            (DeadLetterFilter::default(), ApiError::invalid("the query is not good"));
        for (name, value) in query::pairs(query.unwrap_or_default()) {
            let wrong = match &*name {
                "reason" => text(&mut filter.reason, &value, 200),
                "routingKey" => text(&mut filter.routing_key, &value, 255),
                "since" => query::time(&value).map(|time| filter.since = Some(time)),
                "before" => query::time(&value).map(|time| filter.before = Some(time)),
                other if others.contains(&other) => Ok(()),
                // One that is misspelt must not be taken as left out: everything would match.
                _ => Err("is unknown here".to_owned()),
            };
            if let Err(message) = wrong {
                error = error.field(name, message);
            }
        }
        error.if_any_field().map(|()| filter)
    }
}

fn text(place: &mut Option<String>, value: &str, most: usize) -> Result<(), String> {
    if value.len() > most || value.contains('\0') {
        return Err(format!("must have at most {most} bytes, and no U+0000"));
    }
    *place = Some(value.to_owned());
    Ok(())
}

/// In which order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Ordering {
    /// `oldest` (the default) or `newest` first.
    #[param(value_type = Option<Order>, inline)]
    order: Option<String>,
}

/// Which comes first.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum Order {
    Oldest,
    Newest,
}

impl Ordering {
    fn read(&self, after: i64) -> Result<DeadLetterOrder, ApiError> {
        match self.order.as_deref() {
            None | Some("oldest") => Ok(DeadLetterOrder::OldestFirst(after)),
            Some("newest") => Ok(DeadLetterOrder::NewestFirst(if after == 0 { i64::MAX } else { after })),
            Some(_) => {
                Err(ApiError::invalid("the query is not good").field("order", "must be oldest or newest"))
            }
        }
    }
}

/// List the messages.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/dead-letters", tag = "dead letters",
    params(("project" = String, Path, description = "The project's name"), Paging, Matching, Ordering),
    responses((status = 200, description = "A page of the list", body = List<Shown>), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
    Query(ordering): Query<Ordering>,
    RawQuery(query): RawQuery,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let filter = Matching::read(query.as_deref(), &["limit", "pageToken", "order"])?;
    let order = ordering.read(paging.after_number()?)?;
    let rows = app.store.list_dead_letters(project.id, order, limit + 1, &filter).await?;
    Ok(Json(List::of(rows, limit, |letter| letter.id.to_string(), Shown::without_body)))
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PurgedDeadLetters)]
pub(super) struct Removed {
    /// How many messages were removed.
    removed: u64,
    /// Whether there are more that match than could be removed in time: ask again.
    more: bool,
}

/// Remove the messages that match; without any parameter, all of them.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/dead-letters", tag = "dead letters",
    params(("project" = String, Path, description = "The project's name"), Matching),
    responses((status = 200, description = "They are removed", body = Removed), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn purge(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Removed>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let filter = Matching::read(query.as_deref(), &[])?;
    let (removed, more) = admin.store(&app).purge_dead_letters(project.id, &filter).await?;
    Ok(Json(Removed { removed, more }))
}

/// What is written in place of what a message came with; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeadLetterChanges)]
pub(super) struct Edit {
    /// The channel to publish to.
    #[schema(min_length = 1, max_length = 200)]
    routing_key: Option<String>,
    /// AMQP properties and headers, in the form in which they are shown: a merge patch, in which null takes one away.
    #[schema(value_type = Option<Object>)]
    properties: Option<Value>,
    /// The body, as a text.
    body: Option<String>,
    /// The body, as base64.
    #[schema(format = Byte)]
    body_base64: Option<String>,
}

impl Edit {
    /// The message, edited.
    fn apply(self, mut letter: DeadLetter) -> Result<DeadLetterChange, ApiError> {
        let mut error = ApiError::invalid("the message cannot be like this");
        if let Some(Err(wrong)) = self.routing_key.as_deref().map(Channel::parse) {
            error = error.field("routingKey", wrong.to_string());
        }
        if let Some(patch) = self.properties {
            merge_members(&mut letter.properties, patch);
            if letter.properties.to_string().contains("\\u0000") {
                error = error.field("properties", "must not hold U+0000");
            } else if let Err(wrong) = Properties::for_another_journey(&letter.properties) {
                error = error.field("properties", wrong.to_string());
            }
        }
        let body = match new_body(self.body, self.body_base64) {
            Ok(body) => body,
            Err((field, message)) => {
                error = error.field(field, message);
                None
            }
        };
        error.if_any_field()?;
        Ok(DeadLetterChange {
            routing_key: self.routing_key.unwrap_or(letter.routing_key),
            properties: letter.properties,
            body: body.unwrap_or(letter.body),
        })
    }
}

/// The body that is given, in one of two ways.
pub(super) fn new_body(
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, (&'static str, String)> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(("bodyBase64", "does not go with body".to_owned())),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => match BASE64.decode(base64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(("bodyBase64", format!("is not base64: {error}"))),
        },
        (None, None) => Ok(None),
    }
}

/// Edit a message. It stays where it is, for a later redrive.
#[utoipa::path(
    patch, path = "/admin/v1/projects/{project}/dead-letters/{id}", tag = "dead letters",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The message's id"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be changed, as `ETag` had it"),
    ),
    request_body(content = Edit, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The message as it is now", body = Shown), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn patch(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
    if_match: IfMatch,
    Body(edit): Body<Edit>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let apply = |letter: DeadLetter| {
        if_match.check(letter.version)?;
        edit.apply(letter)
    };
    let id = super::number(&id, "dead letter")?;
    let letter = admin.store(&app).edit_dead_letter(project.id, id, apply).await?;
    Ok(etag::ok(letter.version, Shown::whole(letter)))
}

/// Look into a message.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/dead-letters/{id}", tag = "dead letters",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The message's id"),
    ),
    responses((status = 200, description = "The message", body = Shown), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let letter = app.store.dead_letter(project.id, super::number(&id, "dead letter")?).await?;
    Ok(etag::ok(letter.version, Shown::whole(letter)))
}

/// Remove a message.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/dead-letters/{id}", tag = "dead letters",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("id" = String, Path, description = "The message's id"),
    ),
    responses((status = 204, description = "It is removed"), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    admin.store(&app).delete_dead_letter(project.id, super::number(&id, "dead letter")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
