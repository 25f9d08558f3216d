//! `/admin/v1/nodes`: the processes that serve this database.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use nuncio_model::cloudevents::write_time;
use nuncio_store::{LIVE_WITHIN, NodeRow};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::list::{List, Paging};
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
pub(super) struct Shown {
    /// Its name, unlike that of any other process at any time.
    id: String,
    /// What it does.
    role: String,
    /// Whether it is at work.
    state: Liveness,
    /// The version of the program.
    version: String,
    /// The name of its machine or container.
    host: String,
    /// Where it listens for clients; null for workers.
    listen: Option<String>,
    /// When it began.
    started_at: String,
    /// When it was last heard of.
    heartbeat_at: String,
    /// How many connections of clients stayed open there at that time.
    #[schema(minimum = 0)]
    connections: i32,
    /// The projects that its worker served at that time.
    projects: Vec<String>,
    /// Whether it gave out no events, because it could not confirm who may read them.
    paused: bool,
}

/// Whether a node is at work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NodeState)]
enum Liveness {
    /// It was heard of in the last six seconds.
    Live,
    /// It has ended, or was not heard of for longer. It is forgotten after a day.
    Gone,
}

impl From<NodeRow> for Shown {
    fn from(row: NodeRow) -> Self {
        Self {
            id: row.id,
            role: row.role,
            state: if row.live { Liveness::Live } else { Liveness::Gone },
            version: row.version,
            host: row.host,
            listen: row.listen,
            started_at: write_time(row.started_at),
            heartbeat_at: write_time(row.heartbeat_at),
            connections: row.connections,
            projects: row.projects,
            paused: row.paused,
        }
    }
}

/// List the nodes of the last day.
///
/// Only for keys that are for all projects.
#[utoipa::path(
    get, path = "/admin/v1/nodes", tag = "nodes", operation_id = "list_nodes", params(Paging),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, ApiError> {
    admin.is_global()?;
    let limit = paging.limit()?;
    let rows = app.store.list_nodes(&paging.after_text()?, limit + 1, LIVE_WITHIN).await?;
    Ok(Json(List::of(rows, limit, |row| row.id.clone(), Shown::from)))
}
