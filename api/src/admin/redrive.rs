//! `/admin/v1/projects/{project}/dead-letters:redrive`: messages are published again, and leave the list.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use nuncio_broker::{Error as BrokerError, Link, Names, Properties};
use nuncio_model::{Channel, Code};
use nuncio_store::{DeadLetter, Project};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

/// The most messages of one request.
const MAX_IDS: usize = 200;
/// How long the broker may take for all of them; while it has an alarm it takes nothing at all.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(redrive))
}

/// Which messages, and for a single one what is mended in it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Redrive {
    /// Their ids: 1 to 200.
    ids: Vec<String>,
    /// The channel to publish to instead.
    routing_key: Option<String>,
    /// AMQP properties and headers in place of its own, in the form in which they are shown.
    #[schema(value_type = Option<Object>)]
    properties: Option<Value>,
    /// A body in place of its own.
    body: Option<String>,
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

impl Redrive {
    fn check(&self) -> Result<(), ApiError> {
        let mut error = ApiError::invalid("the messages cannot be published again like this");
        if !(1..=MAX_IDS).contains(&self.ids.len()) {
            error = error.field("ids", format!("must hold 1 to {MAX_IDS} ids"));
        }
        let changes = [
            ("routingKey", self.routing_key.is_some()),
            ("properties", self.properties.is_some()),
            ("body", self.body.is_some()),
        ];
        for (name, _) in changes.into_iter().filter(|(_, given)| *given && self.ids.len() > 1) {
            error = error.field(name, "can be changed for one message at a time");
        }
        if let Some(Err(wrong)) = self.routing_key.as_deref().map(Channel::parse) {
            error = error.field("routingKey", wrong.to_string());
        }
        error.if_any_field()
    }

    /// The message, with what is mended in it.
    fn mend(&self, mut letter: DeadLetter) -> DeadLetter {
        letter.routing_key = self.routing_key.clone().unwrap_or(letter.routing_key);
        letter.properties = self.properties.clone().unwrap_or(letter.properties);
        letter.body = self.body.clone().map_or(letter.body, String::into_bytes);
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
    params(("project" = String, Path)),
    request_body = Redrive,
    responses(
        (status = 200, description = "At least one was published", body = Redriven),
        (status = 409, description = "None was published: why, in `results`", body = Problem),
        (status = "4XX", body = Problem),
        (status = 503, description = "There is no broker, or it cannot be reached", body = Problem),
    )
)]
async fn redrive(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Body(wanted): Body<Redrive>,
) -> Result<Json<Redriven>, ApiError> {
    admin.may_change()?;
    wanted.check()?;
    let project = super::project(&app, &admin, &project).await?;
    let broker = app.broker.as_ref().ok_or_else(|| {
        ApiError::unavailable("this node has no broker (AMQP_URL is not set): nothing can be published again")
    })?;
    let link = broker.connect("redrive").await.map_err(refused)?;
    let until = Instant::now() + PATIENCE;
    let mut results = Vec::with_capacity(wanted.ids.len());
    for id in &wanted.ids {
        results.push(Redriving::of(id, one(&app, &project, &link, &wanted, id, until).await));
    }
    link.close().await;
    answer(results)
}

/// One at a time is in memory, since its body may be large; on a channel of its own, which a message that the broker
/// refuses takes with it.
async fn one(
    app: &App,
    project: &Project,
    link: &Link,
    wanted: &Redrive,
    id: &str,
    until: Instant,
) -> Result<(), ApiError> {
    let letter = app.store.dead_letter(project.id, super::number(id, "dead letter")?).await?;
    let letter = wanted.mend(letter);
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
    app.store.delete_dead_letters(project.id, &[letter.id]).await?;
    Ok(())
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
