//! Retention: trim marks first, which readers respect at once, and removal of rows later.

use sqlx::Row;

use crate::{Result, Store};

/// How many channels one statement trims.
const CHANNELS_AT_ONCE: i64 = 1_000;

/// How many rows one statement removes.
const ROWS_AT_ONCE: i64 = 10_000;

/// The retention in force in each namespace that has channels: its own, else the project's.
const POLICIES: &str = "
    select n.project_id, n.namespace, (s.settings->>'retentionSeconds')::bigint as seconds,
           (s.settings->>'retentionEvents')::bigint as count
    from (select distinct project_id, namespace from channels) n
    join projects p on p.id = n.project_id
    left join namespaces own on own.project_id = n.project_id and own.name = n.namespace
    cross join lateral (select coalesce(own.settings, p.defaults) as settings) s";

/// Moves the marks of channels past what was stored before the retention time. Rows that an append holds are left for
/// the next sweep: waiting for them, in whatever order, could end in a deadlock.
const TRIM_BY_AGE: &str = "
    with due as (
        select c.id from channels c
        where c.project_id = $1 and c.namespace = $2 and c.id > $4 and c.trimmed_position < least(c.position, $3)
        order by c.id limit $5 for update skip locked
    ), marks as (
        select due.id, e.sequence, e.position from due left join lateral (
            select sequence, position from events where channel_id = due.id and position <= $3
            order by position desc limit 1) e on true
    ), trimmed as (
        update channels c set trimmed_sequence = m.sequence, trimmed_position = m.position
        from marks m where c.id = m.id and m.position > c.trimmed_position returning 1
    )
    select max(id), (select count(*) from trimmed) from marks";

/// Moves the marks of channels that hold more events than they may keep.
const TRIM_BY_COUNT: &str = "
    with due as (
        select c.id, c.trimmed_position, c.sequence - c.trimmed_sequence - $3 as excess from channels c
        where c.project_id = $1 and c.namespace = $2 and c.sequence - c.trimmed_sequence > $3
        order by c.id limit $4 for update skip locked
    ), marks as (
        select due.id, e.sequence, e.position from due cross join lateral (
            select sequence, position from events where channel_id = due.id and position > due.trimmed_position
            order by position offset due.excess - 1 limit 1) e
    )
    update channels c set trimmed_sequence = m.sequence, trimmed_position = m.position
    from marks m where c.id = m.id";

/// Says that marks have been moved. Not in the same statement: an append takes the head before its channels, and this
/// would take them the other way round.
const COUNT_TRIM: &str = "update heads set trims = trims + 1 where project_id = $1";

/// Removes rows of channels that keep a number of events: their partitions may live for long.
const REMOVE_TRIMMED: &str = "
    delete from events where (tableoid, ctid) in (
        select e.tableoid, e.ctid from channels c join events e on e.channel_id = c.id and e.position <= c.trimmed_position
        where c.project_id = $1 and c.namespace = $2 and c.trimmed_position > 0 limit $3)";

impl Store {
    /// Brings the trim marks of all channels up to date, removes what count limits trimmed, and drops the partitions in
    /// which nothing is left. Safe to run on several nodes.
    ///
    /// # Errors
    /// Where the database refuses; what was done stays, and the next sweep goes on.
    pub async fn sweep_retention(&self) -> Result<()> {
        for policy in sqlx::query(POLICIES).fetch_all(&self.append).await? {
            let (project, namespace): (i32, String) =
                (policy.try_get("project_id")?, policy.try_get("namespace")?);
            let mut moved = false;
            if let Some(seconds) = policy.try_get("seconds")? {
                moved |= self.trim_by_age(project, &namespace, seconds).await?;
            }
            if let Some(count) = policy.try_get("count")? {
                moved |= self.trim_by_count(project, &namespace, count).await?;
            }
            if moved {
                sqlx::query(COUNT_TRIM).bind(project).execute(&self.append).await?;
            }
        }
        self.sweep_purges().await?;
        self.drop_partitions().await?;
        Ok(())
    }

    /// Whether a mark was moved.
    async fn trim_by_age(&self, project: i32, namespace: &str, seconds: i64) -> Result<bool> {
        let boundary: i64 =
            sqlx::query_scalar("select position_before_time($1, now() - make_interval(secs => $2))")
                .bind(project)
                .bind(seconds as f64)
                .fetch_one(&self.append)
                .await?;
        let (mut after, mut moved) = (Some(0_i64), 0);
        while let Some(id) = after {
            let trimmed: i64;
            (after, trimmed) = sqlx::query_as(TRIM_BY_AGE)
                .bind(project)
                .bind(namespace)
                .bind(boundary)
                .bind(id)
                .bind(CHANNELS_AT_ONCE)
                .fetch_one(&self.append)
                .await?;
            moved += trimmed;
        }
        Ok(moved > 0)
    }

    /// Whether a mark was moved.
    async fn trim_by_count(&self, project: i32, namespace: &str, count: i64) -> Result<bool> {
        let at_once = |statement, bound, limit| {
            let query = sqlx::query(statement).bind(project).bind(namespace.to_owned());
            let query = if let Some(bound) = bound { query.bind::<i64>(bound) } else { query };
            query.bind::<i64>(limit).execute(&self.append)
        };
        let mut moved = false;
        while at_once(TRIM_BY_COUNT, Some(count), CHANNELS_AT_ONCE).await?.rows_affected() > 0 {
            moved = true;
        }
        while at_once(REMOVE_TRIMMED, None, ROWS_AT_ONCE).await?.rows_affected() > 0 {}
        Ok(moved)
    }
}
