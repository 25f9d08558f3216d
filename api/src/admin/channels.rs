//! `/admin/v1/projects/{project}/channels`: what channels there are and hold, and how events are taken out of them.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use chrono::{DateTime, Utc};
use nuncio_model::cloudevents::{is_writable, write_time};
use nuncio_model::cursor::CursorError;
use nuncio_model::{Channel, Cursor, Pattern, ProjectId};
use nuncio_store::{ChannelFilter, ChannelHead, Head, Project, PurgeThrough};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::body::Body;
use super::list::{List, Paging};
use crate::app::App;
use crate::auth::{Admin, Change, May};
use crate::error::ApiError;
use crate::history;
use crate::openapi::{EventsPage, Problem};

/// The longest name of a channel.
const MAX_NAME_BYTES: usize = 200;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    let path = "/admin/v1/projects/{project}/channels/{channel}";
    OpenApiRouter::new()
        .routes(routes!(list))
        .merge(actions::beside(path, routes!(get, delete), (&["purge"], post(act))))
        .merge(actions::described(routes!(purge)))
        .routes(routes!(events))
}

/// A channel as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub(super) struct Shown {
    /// Its name.
    name: String,
    /// Its first segment, whose settings it has.
    namespace: String,
    /// The sequence of its newest event, also where that was removed.
    sequence: i64,
    /// The place right after its newest event.
    cursor: String,
    /// The oldest place after which none of its events has been removed.
    oldest: String,
    /// How many events readers find in it now.
    events: i64,
    /// When its first event was stored; that may have been removed since.
    first_event_at: String,
    /// When its newest event was stored.
    last_event_at: String,
    /// How many subscriptions and streams, by whatever pattern, listen to it on the node that answers.
    subscribers: usize,
}

impl Shown {
    fn new(app: &App, project: ProjectId, head: &Head, row: ChannelHead) -> Self {
        let at = |position| Cursor { project, epoch: head.epoch, position }.to_string();
        let parsed = Channel::parse_any(&row.name).ok();
        Self {
            namespace: row.name.split('.').next().unwrap_or_default().to_owned(),
            sequence: row.sequence,
            cursor: at(row.position),
            oldest: at(row.trimmed_position),
            events: row.sequence - row.trimmed_sequence,
            first_event_at: write_time(row.first_event_at),
            last_event_at: write_time(row.last_event_at),
            subscribers: parsed.map_or(0, |channel| app.feeds.listeners(project, &channel)),
            name: row.name,
        }
    }
}

/// Which channels; all that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// What the name begins with.
    #[param(max_length = 200, pattern = "^[A-Za-z0-9_.$-]*$")]
    prefix: Option<String>,
    /// The first segment.
    #[param(max_length = 200, pattern = "^[A-Za-z0-9_.$-]*$")]
    namespace: Option<String>,
    /// What the name matches: `*` is one segment, `#` zero or more.
    #[param(max_length = 200)]
    pattern: Option<String>,
}

impl Wanted {
    fn read(self) -> Result<ChannelFilter, ApiError> {
        let mut error = ApiError::invalid("the query is not good");
        for (name, text) in [("prefix", &self.prefix), ("namespace", &self.namespace)] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.$-".contains(&byte);
            if text.as_ref().is_some_and(|text| text.len() > MAX_NAME_BYTES || !text.bytes().all(plain)) {
                error = error.field(name, "must be 0 to 200 of letters, digits, `_`, `-`, `.` and `$`");
            }
        }
        let pattern = match self.pattern.as_deref().map(Pattern::parse).transpose() {
            Ok(pattern) => pattern,
            Err(wrong) => {
                error = error.field("pattern", wrong.to_string());
                None
            }
        };
        error.if_any_field()?;
        Ok(ChannelFilter { prefix: self.prefix, namespace: self.namespace, pattern })
    }
}

/// Up to where to purge: everything there is now, where neither is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Purge)]
pub(super) struct Purge {
    /// A cursor: its event is the last to go.
    through: Option<String>,
    /// A time: what was stored before it goes.
    before: Option<DateTime<Utc>>,
}

impl Purge {
    fn read(self, project: ProjectId, head: &Head) -> Result<PurgeThrough, ApiError> {
        match (self.through, self.before) {
            (None, None) => Ok(PurgeThrough::Now),
            (Some(text), None) => {
                let cursor = Cursor::parse(&text, project)?;
                let known = head.accepts(&cursor);
                if known { Ok(PurgeThrough::Position(cursor.position)) } else { Err(CursorError.into()) }
            }
            (None, Some(time)) if is_writable(time) => Ok(PurgeThrough::Time(time)),
            (None, Some(_)) => {
                Err(ApiError::invalid("the time is none")
                    .field("before", "must be in the years 0000 to 9999"))
            }
            (Some(_), Some(_)) => {
                let error = ApiError::invalid("at most one of through and before may be given");
                Err(error.field("before", "does not go with through"))
            }
        }
    }
}

/// What a purge did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Purged)]
pub(super) struct Purged {
    /// How many events were removed.
    removed: i64,
    /// The oldest place after which none of the channel's events has been removed.
    oldest: String,
    /// Whether some of the rows are still in the database: no reader is given them, and a worker removes them within
    /// minutes.
    pending: bool,
}

/// List the channels that were ever published to, in the order of their names.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/channels", tag = "channels",
    params(("project" = String, Path, description = "The project's name"), Paging, Wanted),
    responses((status = 200, description = "A page of the list", body = List<Shown>), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (project, limit) = (super::project(&app, &admin, &project).await?, paging.limit()?);
    let filter = wanted.read()?;
    let rows = app.store.list_channels(project.id, &paging.after_text()?, limit + 1, &filter).await?;
    let head = app.store.head(project.id).await?;
    let shown = |row| Shown::new(&app, project.id, &head, row);
    Ok(Json(List::of(rows, limit, |row| row.name.clone(), shown)))
}

/// Look at a channel.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/channels/{channel}", tag = "channels",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("channel" = String, Path, description = "The channel's name"),
    ),
    responses((status = 200, description = "The channel", body = Shown), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, channel)): Path<(String, String)>,
) -> Result<Json<Shown>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (_, row) = find(&app, &project, &channel).await?;
    let head = app.store.head(project.id).await?;
    Ok(Json(Shown::new(&app, project.id, &head, row)))
}

/// Read a channel's events, whatever rights keys and tokens have.
///
/// As `/v1/channels/{channel}/events` does, without waiting.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/channels/{channel}/events", tag = "channels",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("channel" = String, Path, description = "The channel's name"),
        ("after" = Option<String>, Query, description = "A cursor: strictly after it"),
        ("before" = Option<String>, Query, description = "A cursor: strictly before its event"),
        ("since" = Option<String>, Query, description = "A time (RFC 3339): from it on"),
        ("first" = Option<u32>, Query, description = "How many from the oldest, at most 1000", minimum = 1, maximum = 1000),
        ("last" = Option<u32>, Query, description = "How many of the newest, at most 1000", minimum = 1, maximum = 1000),
        ("filter" = Option<String>, Query, description = "A CEL expression: only events for which it is true"),
    ),
    responses((status = 200, description = "The page", body = EventsPage), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn events(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path((project, channel)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (channel, _) = find(&app, &project, &channel).await?;
    history::look_into(&app, project.id, &channel, query.as_deref()).await
}

/// What is done to a channel by an action in its path.
async fn act(
    state: State<Arc<App>>,
    admin: May<Change>,
    Path((project, segment)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Purged>, ApiError> {
    let (channel, action) = actions::split(&segment)?;
    match action {
        "purge" => purge(state, admin, Path((project, channel)), Body::or_default(request).await?).await,
        _ => Err(actions::none()),
    }
}

/// Remove a channel's events: all there are, or up to a place.
///
/// Readers who had them still to come are told of the gap. The channel's sequence goes on after them.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/channels/{channel}:purge", tag = "channels",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("channel" = String, Path, description = "The channel's name"),
    ),
    request_body = Option<Purge>,
    responses((status = 200, description = "They are removed", body = Purged), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn purge(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, channel)): Path<(String, String)>,
    Body(wanted): Body<Purge>,
) -> Result<Json<Purged>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (channel, _) = find(&app, &project, &channel).await?;
    let through = wanted.read(project.id, &app.store.head(project.id).await?)?;
    let purged = admin.store(&app).purge_channel(project.id, &channel, through).await?;
    app.feeds.purged(project.id, purged.head);
    let oldest = Cursor { project: project.id, epoch: purged.head.epoch, position: purged.through };
    Ok(Json(Purged { removed: purged.events, oldest: oldest.to_string(), pending: purged.pending }))
}

/// Purge a channel, and take it out of the list until somebody publishes to it again.
///
/// Its sequence then goes on where it ended: it is never used again.
#[utoipa::path(
    delete, path = "/admin/v1/projects/{project}/channels/{channel}", tag = "channels",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("channel" = String, Path, description = "The channel's name"),
    ),
    responses((status = 204, description = "It is gone"), (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path((project, channel)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (channel, _) = find(&app, &project, &channel).await?;
    let purged = admin.store(&app).delete_channel(project.id, &channel).await?;
    app.feeds.purged(project.id, purged.head);
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, project: &Project, name: &str) -> Result<(Channel, ChannelHead), ApiError> {
    let none = || ApiError::not_found("channel");
    let channel = Channel::parse_any(name).map_err(|_| none())?;
    let row = app.store.channel(project.id, &channel).await?.ok_or_else(none)?;
    Ok((channel, row))
}
