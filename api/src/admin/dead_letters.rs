//! `/admin/v1/projects/{project}/dead-letters`: messages that could not become events.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nuncio_model::cloudevents::write_time;
use nuncio_store::DeadLetter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::list::{List, Paging};
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, delete))
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

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The reason.
    reason: Option<String>,
}

/// List the messages, the oldest first.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/dead-letters", tag = "dead letters",
    params(("project" = String, Path), Paging, Filter),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let reason = filter.reason.as_deref().filter(|reason| !reason.contains('\0'));
    let rows = app.store.list_dead_letters(project.id, paging.after_number()?, limit + 1, reason).await?;
    Ok(Json(List::of(rows, limit, |letter| letter.id.to_string(), Shown::without_body)))
}

/// Look into a message.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/dead-letters/{id}", tag = "dead letters",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<Json<Shown>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let letter = app.store.dead_letter(project.id, super::number(&id, "dead letter")?).await?;
    Ok(Json(Shown::whole(letter)))
}

/// Remove a message.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/dead-letters/{id}", tag = "dead letters",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    admin.may_change()?;
    let project = super::project(&app, &admin, &project).await?;
    match admin.store(&app).delete_dead_letters(project.id, &[super::number(&id, "dead letter")?]).await? {
        0 => Err(ApiError::not_found("dead letter")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
