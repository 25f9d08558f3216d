//! The processes that serve this database: each writes a heartbeat, so that they can share work.

use std::time::Duration;

use crate::{Result, Store};

const HEARTBEAT: &str = "
    insert into nodes (id, role, version) values ($1, $2, $3)
    on conflict (id) do update set heartbeat_at = now(), role = excluded.role, version = excluded.version";

const LIVE: &str = "
    select id from nodes where role = any(array[$1, 'all']) and heartbeat_at > now() - make_interval(secs => $2)
    order by id";

const FORGET: &str = "delete from nodes where heartbeat_at < now() - interval '1 day'";

impl Store {
    /// Says that this node is alive. `role` is `api`, `worker` or `all`.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn heartbeat_node(&self, id: &str, role: &str, version: &str) -> Result<()> {
        sqlx::query(HEARTBEAT).bind(id).bind(role).bind(version).execute(&self.append).await?;
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

    /// Says that this node is going, so that others need not wait for its heartbeat to grow old.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn forget_node(&self, id: &str) -> Result<()> {
        sqlx::query("delete from nodes where id = $1").bind(id).execute(&self.append).await?;
        Ok(())
    }
}
