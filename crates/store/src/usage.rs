//! How much each project uses per day: added up from what nodes count in memory.

use chrono::NaiveDate;
use nuncio_model::ProjectId;
use sqlx::FromRow;

use crate::{Result, Store};

/// Days are those of UTC by the database's clock. Projects that were deleted meanwhile are left out, and rows are locked in
/// the order of the projects, so that two nodes cannot wait for each other. Where the number is not higher than the last,
/// all of it was added before.
const ADD: &str = "
    with turn as (
        insert into usage_writers as w (node, number) values ($1, $2)
        on conflict (node) do update set number = excluded.number, said_at = now() where w.number < excluded.number
        returning true
    ), used as (
        select t.* from unnest($3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
            as t (project_id, events, event_bytes, deliveries, opened, open)
        join projects p on p.id = t.project_id
        where exists (select from turn)
    ), said as (
        insert into usage_open (project_id, node, open)
        select project_id, $1, open from used order by project_id
        on conflict (project_id, node) do update set open = excluded.open, said_at = now()
    )
    insert into project_usage as u
        (project_id, day, events, event_bytes, deliveries, connections_opened, peak_connections)
    select used.project_id, (now() at time zone 'utc')::date, used.events, used.event_bytes, used.deliveries, used.opened,
           used.open + coalesce((
               select sum(o.open) from usage_open o
               where o.project_id = used.project_id and o.node <> $1 and o.said_at > now() - interval '25 seconds'
           ), 0)::bigint
    from used order by used.project_id
    on conflict (project_id, day) do update set
        events = u.events + excluded.events,
        event_bytes = u.event_bytes + excluded.event_bytes,
        deliveries = u.deliveries + excluded.deliveries,
        connections_opened = u.connections_opened + excluded.connections_opened,
        peak_connections = greatest(u.peak_connections, excluded.peak_connections)";

const READ: &str = "
    select day, events, event_bytes, deliveries, connections_opened, peak_connections
    from project_usage where project_id = $1 and day between $2 and $3 order by day";

const TIDY_OPEN: &str = "delete from usage_open where node = $1 or said_at < now() - interval '1 hour'";
const TIDY_WRITERS: &str = "delete from usage_writers where node = $1 or said_at < now() - interval '1 day'";

/// What a project used since this was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The project.
    pub project: ProjectId,
    /// Events stored.
    pub events: i64,
    /// Bytes of their data.
    pub event_bytes: i64,
    /// Events sent to clients.
    pub deliveries: i64,
    /// Connections opened.
    pub opened: i64,
    /// The most connections open at a time.
    pub open: i64,
}

/// What a project used on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct DayUsage {
    /// The day, of UTC.
    pub day: NaiveDate,
    /// Events stored.
    pub events: i64,
    /// Bytes of their data.
    pub event_bytes: i64,
    /// Events sent to clients.
    pub deliveries: i64,
    /// Connections opened.
    pub connections_opened: i64,
    /// The most connections open at a time, those of all nodes together.
    pub peak_connections: i64,
}

impl Store {
    /// Adds to the usage of today what a node has counted. The same counts under the same number are added once, however
    /// often they are sent.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether they were added: send them again under the same number.
    pub async fn add_usage(&self, node: &str, number: i64, used: &[Used]) -> Result<()> {
        let column = |of: fn(&Used) -> i64| used.iter().map(of).collect::<Vec<_>>();
        let mut transaction = self.append.begin().await?;
        // What a crash takes of this are some seconds' counts, which died with their node just as well.
        sqlx::query("set local synchronous_commit = off").execute(&mut *transaction).await?;
        sqlx::query(ADD)
            .bind(node)
            .bind(number)
            .bind(used.iter().map(|used| used.project.0).collect::<Vec<_>>())
            .bind(column(|used| used.events))
            .bind(column(|used| used.event_bytes))
            .bind(column(|used| used.deliveries))
            .bind(column(|used| used.opened))
            .bind(column(|used| used.open))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What a project used on the days from the first to the last, both among them. Days on which it used nothing are
    /// left out.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn usage(
        &self,
        project: ProjectId,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Vec<DayUsage>> {
        let days = sqlx::query_as(READ).bind(project.0).bind(first).bind(last);
        Ok(days.fetch_all(&self.append).await?)
    }

    /// Forgets what is kept for a node that counts no more, and for those that are long gone.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn tidy_usage(&self, node: &str) -> Result<()> {
        sqlx::query(TIDY_OPEN).bind(node).execute(&self.append).await?;
        sqlx::query(TIDY_WRITERS).bind(node).execute(&self.append).await?;
        Ok(())
    }
}
