//! `POST /v1/channels/{channel}/events` and `POST /v1/events`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use nuncio_model::event::{EventError, Published};
use nuncio_model::{Action, Channel, Draft, Identity};
use serde::Serialize;
use utoipa::ToSchema;

use super::{parse, rejected};
use crate::app::App;
use crate::auth::{self, Caller};
use crate::body::Payload;
use crate::error::ApiError;
use crate::limits::Visitor;
use crate::openapi::Problem;

/// The events are committed.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedEvents {
    /// Where each is, in the order of the request.
    #[schema(value_type = Vec<PublishedEvent>)]
    events: Vec<Published>,
}

/// Where an event is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes nuncio_model's Published, which knows nothing of OpenAPI")]
pub(crate) struct PublishedEvent {
    /// The event's id, made where the publisher gave none.
    id: String,
    /// The channel.
    channel: String,
    /// Its number within the channel.
    sequence: i64,
    /// The place right after it.
    cursor: String,
    /// Whether it had been stored before; then this is the original's place.
    duplicate: bool,
}

/// Publish to a channel.
///
/// The body is one JSON event, an array of up to 1,000, or CloudEvents over HTTP (binary, structured or batch). All of
/// it is stored or nothing is.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/events", tag = "events",
    params(("channel" = String, Path, description = "The channel")),
    request_body(content = serde_json::Value, description = "An event or an array of events"),
    responses(
        (status = 201, description = "Committed", body = PublishedEvents),
        (status = "4XX", description = "Nothing was stored", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn to_channel(
    State(app): State<Arc<App>>,
    Caller(identity): Caller,
    visitor: Visitor,
    Path(channel): Path<String>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<(StatusCode, Json<PublishedEvents>), ApiError> {
    visitor.request(&app, &identity)?;
    let channel = Channel::parse(&channel)?;
    auth::require(&identity, Action::Publish, &channel)?;
    let events = parse::read(&headers, &body, Some(&channel))?;
    publish(&app, &identity, &visitor, events).await
}

/// Publish to the channels that the events name.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    request_body(content = serde_json::Value, description = "An event or an array of events, each with its channel"),
    responses(
        (status = 201, description = "Committed", body = PublishedEvents),
        (status = "4XX", description = "Nothing was stored", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn to_channels(
    State(app): State<Arc<App>>,
    Caller(identity): Caller,
    visitor: Visitor,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<(StatusCode, Json<PublishedEvents>), ApiError> {
    visitor.request(&app, &identity)?;
    let events = parse::read(&headers, &body, None)?;
    for draft in events.iter().flatten() {
        auth::require(&identity, Action::Publish, &draft.channel)?;
    }
    publish(&app, &identity, &visitor, events).await
}

async fn publish(
    app: &App,
    identity: &Identity,
    visitor: &Visitor,
    events: parse::Events,
) -> Result<(StatusCode, Json<PublishedEvents>), ApiError> {
    let (project, by) = (app.project(identity)?, identity.publisher());
    let verdict = |event: &Result<Draft, EventError>| match event {
        Ok(draft) => draft.check(project.rules(&draft.channel), by).err(),
        Err(error) => Some(error.clone()),
    };
    let bad: Vec<_> = events.iter().enumerate().filter_map(|(i, event)| Some((i, verdict(event)?))).collect();
    if !bad.is_empty() {
        return Err(rejected(&bad));
    }
    let drafts: Vec<Draft> = events.into_iter().flatten().collect();
    visitor.publish(app, identity, drafts.iter().map(|draft| &draft.channel))?;
    let events = app.publisher.publish(&project, by, drafts).await?;
    Ok((StatusCode::CREATED, Json(PublishedEvents { events })))
}
