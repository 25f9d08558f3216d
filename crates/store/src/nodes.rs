//! The processes that serve this database: each writes a heartbeat, so that they can share work and be looked at.

use std::time::Duration;

use chrono::{DateTime, Utc};
use nuncio_model::ProjectId;
use sqlx::FromRow;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{Result, Store};

/// A node that was silent for longer is taken for dead. With the rest, a dead worker's projects are served again within ten
/// seconds.
pub const LIVE_WITHIN: Duration = Duration::from_secs(6);
/// How often a node says that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(2);

const HEARTBEAT: &str = "
    insert into nodes (id, role, version, host, listen, connections, projects, paused)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (id) do update set
        heartbeat_at = now(), connections = excluded.connections, projects = excluded.projects,
        paused = excluded.paused";

const LIVE: &str = "
    select id from nodes
    where role = any(array[$1, 'all']) and left_at is null and heartbeat_at > now() - make_interval(secs => $2)
    order by id";

const LIST: &str = "
    select n.id, n.role, n.version, n.host, n.listen, n.connections, n.paused, n.started_at, n.heartbeat_at,
           n.left_at is null and n.heartbeat_at > now() - make_interval(secs => $1) as live,
           array(select p.name from projects p where p.id = any(n.projects) order by p.name) as projects
    from nodes n where n.id > $2 order by n.id limit $3";

const RETIRE: &str = "update nodes set left_at = now(), connections = 0, projects = '{}' where id = $1";

const FORGET: &str = "delete from nodes where heartbeat_at < now() - interval '1 day'";

/// What a node is, from its start to its end.
#[derive(Clone, Debug)]
pub struct NodeCard {
    /// Its name, unlike that of any other process at any time.
    pub id: String,
    /// `api`, `worker` or `all`.
    pub role: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// The name of the machine or container.
    pub host: String,
    /// Where it listens for clients; none for workers.
    pub listen: Option<String>,
}

/// What a node is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// How many connections of clients stay open here.
    pub connections: usize,
    /// The projects that its worker serves.
    pub projects: Vec<ProjectId>,
    /// Whether it gives out no events, because it cannot confirm who may read them.
    pub paused: bool,
}

/// A node, as the others see it.
#[derive(Clone, Debug, FromRow)]
pub struct NodeRow {
    /// Its name.
    pub id: String,
    /// `api`, `worker` or `all`.
    pub role: String,
    /// The version of the program.
    pub version: String,
    /// The name of the machine or container.
    pub host: String,
    /// Where it listens for clients.
    pub listen: Option<String>,
    /// How many connections of clients were open at the last heartbeat.
    pub connections: i32,
    /// Whether it gave out no events then.
    pub paused: bool,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub heartbeat_at: DateTime<Utc>,
    /// Whether that was a moment ago, and it has not said that it is going.
    pub live: bool,
    /// The names of the projects that its worker served then.
    pub projects: Vec<String>,
}

impl NodeCard {
    /// Says that this node is alive, every two seconds until told to stop.
    pub async fn beat(self, store: Store, state: impl Fn() -> NodeState, stop: CancellationToken) {
        let mut beat = interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            if let Err(error) = store.heartbeat_node(&self, &state()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the heartbeat of this node was not written"
                );
            }
        }
    }
}

impl Store {
    /// Says that this node is alive, and what it is doing. Nodes that were silent for a day are forgotten.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn heartbeat_node(&self, card: &NodeCard, state: &NodeState) -> Result<()> {
        sqlx::query(HEARTBEAT)
            .bind(&card.id)
            .bind(card.role)
            .bind(card.version)
            .bind(&card.host)
            .bind(&card.listen)
            .bind(i32::try_from(state.connections).unwrap_or(i32::MAX))
            .bind(state.projects.iter().map(|project| project.0).collect::<Vec<_>>())
            .bind(state.paused)
            .execute(&self.append)
            .await?;
        sqlx::query(FORGET).execute(&self.append).await?;
        Ok(())
    }

    /// The ids of the nodes of this role whose last heartbeat is younger than `within`, by the database's clock.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn live_nodes(&self, role: &str, within: Duration) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(LIVE).bind(role).bind(within.as_secs_f64()).fetch_all(&self.append).await?)
    }

    /// At most `limit` nodes of the last day whose ids come after this one, in their order. Those count as live whose
    /// last heartbeat is younger than `within`.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_nodes(&self, after: &str, limit: usize, within: Duration) -> Result<Vec<NodeRow>> {
        Ok(sqlx::query_as(LIST)
            .bind(within.as_secs_f64())
            .bind(after)
            .bind(limit as i64)
            .fetch_all(&self.append)
            .await?)
    }

    /// Says that this node is going, so that others need not wait for its heartbeat to grow old. It stays in the list
    /// for a day, as one that is gone.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn retire_node(&self, id: &str) -> Result<()> {
        sqlx::query(RETIRE).bind(id).execute(&self.append).await?;
        Ok(())
    }
}
