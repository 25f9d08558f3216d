//! `/admin/v1/projects/{project}/dead-letters:redrive`: messages are published again, and leave the list.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use nuncio_broker::{Error as BrokerError, Link, Names, Properties};
use nuncio_model::cloudevents::is_writable;
use nuncio_model::{Channel, Code, ProjectId};
use nuncio_store::{DeadLetter, DeadLetterFilter, DeadLetterOrder, Note, Project};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::dead_letters::new_body;
use crate::app::App;
use crate::auth::{Change, May};
use crate::error::ApiError;
use crate::openapi::Problem;

/// The most messages that one request names.
const MAX_IDS: usize = 200;
/// The most messages that one request publishes by a filter, and how many where it does not say.
const MAX_MATCHES: u32 = 1_000;
const DEFAULT_MATCHES: u32 = 100;
/// How long the broker may take for all of them; while it has an alarm it takes nothing at all.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(redrive))
}

/// Which messages: by `ids` or by `filter`; and for a single one, named by its id, what is mended in it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Redrive {
    /// Their ids.
    #[serde(default)]
    #[schema(required = false, min_items = 1, max_items = 200)]
    ids: Vec<String>,
    /// What is true of them; the oldest go first.
    #[serde(default, deserialize_with = "super::object::read_optional")]
    filter: Option<Selection>,
    /// The channel to publish to instead.
    #[schema(min_length = 1, max_length = 200)]
    routing_key: Option<String>,
    /// AMQP properties and headers in place of its own, in the form in which they are shown.
    #[schema(value_type = Option<Object>)]
    properties: Option<Value>,
    /// A body in place of its own, as a text.
    body: Option<String>,
    /// A body in place of its own, as base64.
    #[schema(format = Byte)]
    body_base64: Option<String>,
}

/// What is true of messages; all that is given must hold.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Selection {
    /// The reason.
    #[schema(max_length = 200)]
    reason: Option<String>,
    /// What the routing key begins with.
    #[schema(max_length = 255)]
    routing_key: Option<String>,
    /// They came at or after it.
    since: Option<DateTime<Utc>>,
    /// They came before it.
    before: Option<DateTime<Utc>>,
    /// How many at most: 100 where it is left out.
    #[schema(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<u32>,
}

impl Selection {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_MATCHES)
    }

    /// What is wrong with it.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let is_text =
            |text: &Option<String>| text.as_ref().is_none_or(|t| t.len() <= 255 && !t.contains('\0'));
        let is_time = |time: Option<DateTime<Utc>>| time.is_none_or(is_writable);
        let checks = [
            ("filter.reason", is_text(&self.reason), "must have at most 255 bytes, and no U+0000"),
            ("filter.routingKey", is_text(&self.routing_key), "must have at most 255 bytes, and no U+0000"),
            ("filter.since", is_time(self.since), "must be in the years 0000 to 9999"),
            ("filter.before", is_time(self.before), "must be in the years 0000 to 9999"),
            ("filter.limit", (1..=MAX_MATCHES).contains(&self.limit()), "must be from 1 to 1000"),
        ];
        checks.into_iter().filter(|(_, ok, _)| !ok).map(|(name, _, what)| (name, what.to_owned())).collect()
    }

    /// The ids of the messages.
    async fn find(self, app: &App, project: ProjectId) -> Result<Vec<String>, ApiError> {
        let limit = self.limit() as usize;
        let Self { reason, routing_key, since, before, .. } = self;
        let filter = DeadLetterFilter { reason, routing_key, since, before };
        let order = DeadLetterOrder::OldestFirst(0);
        let letters = app.store.list_dead_letters(project, order, limit, &filter).await?;
        Ok(letters.into_iter().map(|letter| letter.id.to_string()).collect())
    }
}

/// What became of each message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redriven {
    /// In the order in which they were named.
    results: Vec<Redriving>,
}

/// What became of one message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redriving {
    /// Its id.
    id: String,
    /// Whether the broker has it again and it was removed from here.
    ok: bool,
    /// Why not, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    code: Option<&'static str>,
    /// Why not, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    detail: Option<String>,
}

/// What is mended in a single message.
#[derive(Debug, Default)]
struct Mending {
    routing_key: Option<String>,
    properties: Option<Value>,
    body: Option<Vec<u8>>,
}

impl Redrive {
    /// All that is wrong is told at once.
    fn check(self) -> Result<(Vec<String>, Option<Selection>, Mending), ApiError> {
        let mut error = ApiError::invalid("the messages cannot be published again like this");
        match &self.filter {
            None if !(1..=MAX_IDS).contains(&self.ids.len()) => {
                error = error.field("ids", format!("must hold 1 to {MAX_IDS} ids, or filter be given"));
            }
            Some(_) if !self.ids.is_empty() => error = error.field("filter", "does not go with ids"),
            Some(filter) => {
                error = filter
                    .problems()
                    .into_iter()
                    .fold(error, |error, (field, what)| error.field(field, what));
            }
            None => {}
        }
        let changes = [
            ("routingKey", self.routing_key.is_some()),
            ("properties", self.properties.is_some()),
            ("body", self.body.is_some()),
            ("bodyBase64", self.body_base64.is_some()),
        ];
        let one = self.filter.is_none() && self.ids.len() <= 1;
        for (name, _) in changes.into_iter().filter(|(_, given)| *given && !one) {
            error = error.field(name, "can be changed for one message at a time, named by its id");
        }
        if let Some(Err(wrong)) = self.routing_key.as_deref().map(Channel::parse) {
            error = error.field("routingKey", wrong.to_string());
        }
        let body = match new_body(self.body, self.body_base64) {
            Ok(body) => body,
            Err((field, message)) => {
                error = error.field(field, message);
                None
            }
        };
        error.if_any_field()?;
        Ok((
            self.ids,
            self.filter,
            Mending { routing_key: self.routing_key, properties: self.properties, body },
        ))
    }
}

impl Mending {
    /// The message, with what is mended in it.
    fn mend(&self, mut letter: DeadLetter) -> DeadLetter {
        letter.routing_key = self.routing_key.clone().unwrap_or(letter.routing_key);
        letter.properties = self.properties.clone().unwrap_or(letter.properties);
        letter.body = self.body.clone().unwrap_or(letter.body);
        letter
    }
}

/// Publish messages again, to the project's exchange.
///
/// Each goes out with the routing key, properties and body it came with, and is removed once the broker has confirmed
/// it. One that still cannot be an event comes back under a new id. Where the answer is lost a message may be
/// published twice, which is stored once where it has an id.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/dead-letters:redrive", tag = "dead letters",
    params(("project" = String, Path, description = "The project's name")),
    request_body = Redrive,
    responses(
        (status = 200, description = "At least one was published, or none matched the filter", body = Redriven),
        (status = 409, description = "None was published: why, in `results`", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There is no broker, or it cannot be reached", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn redrive(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(wanted): Body<Redrive>,
) -> Result<Json<Redriven>, ApiError> {
    let (ids, filter, mending) = wanted.check()?;
    let project = super::project(&app, &admin, &project).await?;
    let broker = app.broker.as_ref().ok_or_else(|| {
        ApiError::unavailable("this node has no broker (AMQP_URL is not set): nothing can be published again")
    })?;
    let ids = match filter {
        Some(filter) => filter.find(&app, project.id).await?,
        None => ids,
    };
    if ids.is_empty() {
        return Ok(Json(Redriven { results: Vec::new() }));
    }
    let link = broker.connect("redrive").await.map_err(refused)?;
    // It is written first: what is published cannot be taken back where the entry cannot be written.
    note(&app, &admin, project.id, ("redriving", &ids)).await?;
    let until = Instant::now() + PATIENCE;
    let mut results = Vec::with_capacity(ids.len());
    for id in &ids {
        results.push(Redriving::of(id, one(&app, &project, &link, &mending, id, until).await));
    }
    link.close().await;
    let published: Vec<String> =
        results.iter().filter(|result| result.ok).map(|result| result.id.clone()).collect();
    if !published.is_empty() {
        note(&app, &admin, project.id, ("redriven", &published)).await?;
    }
    answer(results)
}

/// Writes to the audit log which messages are to be published again, or were.
async fn note(
    app: &App,
    admin: &May<Change>,
    project: ProjectId,
    (action, ids): (&str, &[String]),
) -> Result<(), ApiError> {
    // What is no number names no message, and may be of any length.
    let ids: Vec<&String> = ids.iter().filter(|id| id.parse::<i64>().is_ok()).collect();
    let (project, resource, resource_id) = (Some(project), "dead-letters", "");
    let details = Some(json!({ "ids": ids }));
    Ok(admin.store(app).note(&Note { project, action, resource, resource_id, details }).await?)
}

/// One at a time is in memory, since its body may be large; on a channel of its own, which a message that the broker
/// refuses takes with it.
async fn one(
    app: &App,
    project: &Project,
    link: &Link,
    mending: &Mending,
    id: &str,
    until: Instant,
) -> Result<(), ApiError> {
    let letter = app.store.dead_letter(project.id, super::number(id, "dead letter")?).await?;
    let letter = mending.mend(letter);
    let properties = Properties::for_another_journey(&letter.properties).map_err(refused)?;
    let publish = async {
        let publisher = link.publisher().await?;
        let exchange = Names::of(&project.name).exchange;
        publisher.publish(&exchange, &letter.routing_key, properties, &letter.body).await
    };
    let published = timeout_at(until, publish).await;
    published
        .map_err(|_| ApiError::unavailable("the broker did not confirm it in time"))?
        .map_err(refused)?;
    Ok(app.store.forget_dead_letter(project.id, letter.id).await?)
}

/// What the message itself is to blame for is said; the rest is the broker's, and for the log.
fn refused(error: BrokerError) -> ApiError {
    match error {
        BrokerError::RoutingKey | BrokerError::Property { .. } | BrokerError::NoProperty { .. } => {
            ApiError::invalid(error.to_string())
        }
        other => ApiError::unavailable("the broker cannot be reached, or refuses").caused_by(other),
    }
}

impl Redriving {
    fn of(id: &str, outcome: Result<(), ApiError>) -> Self {
        let id = id.to_owned();
        match outcome {
            Ok(()) => Self { id, ok: true, code: None, detail: None },
            Err(error) => {
                error.log("");
                Self { id, ok: false, code: Some(error.code.as_str()), detail: Some(error.detail) }
            }
        }
    }
}

fn answer(results: Vec<Redriving>) -> Result<Json<Redriven>, ApiError> {
    if results.iter().any(|result| result.ok) {
        return Ok(Json(Redriven { results }));
    }
    let away = results.iter().all(|result| result.code == Some(Code::Unavailable.as_str()));
    let code = if away { Code::Unavailable } else { Code::Conflict };
    Err(ApiError::new(code, "none of the messages was published again").with("results", json!(results)))
}
