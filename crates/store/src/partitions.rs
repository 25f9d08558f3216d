//! Partitions by time: made before they are needed, dropped whole when nothing in them is of use.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{Result, Store};

/// A partitioned table and the span of its partitions.
struct Family {
    table: &'static str,
    span: TimeDelta,
    /// How long events of this class are meant to be kept; a partition younger than that is not looked at.
    kept: TimeDelta,
}

const EVENT_FAMILIES: [Family; 3] = [
    Family { table: "events_days", span: TimeDelta::hours(6), kept: TimeDelta::minutes(1) },
    Family { table: "events_weeks", span: TimeDelta::days(1), kept: TimeDelta::days(1) },
    Family { table: "events_months", span: TimeDelta::days(30), kept: TimeDelta::days(31) },
];

/// Spans of half the usual window: two or three partitions to look through for a repeat.
const DEDUPE: Family = Family { table: "dedupe", span: TimeDelta::hours(12), kept: TimeDelta::zero() };

/// Partitions are there for this many spans to come, so that a night without a worker does no harm.
const SPANS_AHEAD: i32 = 3;

/// One connection at a time makes or drops partitions.
const ONE_AT_A_TIME: &str = "select pg_advisory_xact_lock(hashtext('nuncio partitions'))";

/// The retention class of a namespace: a partition can be dropped once everything in it has been trimmed, so events
/// that are kept for about as long stand together.
pub(crate) fn class_of(retention_seconds: Option<i64>) -> i16 {
    match retention_seconds {
        Some(seconds) if seconds <= 2 * 86_400 => 0,
        Some(seconds) if seconds <= 31 * 86_400 => 1,
        _ => 2,
    }
}

/// Whether an insert failed because no partition takes its time.
pub(crate) fn is_missing(error: &sqlx::Error) -> bool {
    // PostgreSQL reports "no partition of relation found for row" as a check violation without a constraint.
    error
        .as_database_error()
        .is_some_and(|e| e.code().as_deref() == Some("23514") && e.constraint().is_none())
}

impl Store {
    /// Makes the partitions that will be needed next. Cheap where they are there.
    ///
    /// # Errors
    /// Where the database refuses; what was made stays.
    pub async fn maintain_partitions(&self) -> Result<()> {
        let mut transaction = self.append.begin().await?;
        sqlx::query(ONE_AT_A_TIME).execute(&mut *transaction).await?;
        let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut *transaction).await?;
        for family in EVENT_FAMILIES.iter().chain([&DEDUPE]) {
            for n in 0..=SPANS_AHEAD {
                make(&mut transaction, family, now + family.span * n).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Drops the partitions in which nothing is left for readers, and forgets ids older than every window.
    ///
    /// # Errors
    /// Where the database refuses; what was dropped stays dropped.
    pub async fn drop_partitions(&self) -> Result<u64> {
        let mut connection = self.append.acquire().await?;
        let locked: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext('nuncio drops'))")
            .fetch_one(&mut *connection)
            .await?;
        if !locked {
            return Ok(0);
        }
        let outcome = drop_all(&mut connection).await;
        sqlx::query("select pg_advisory_unlock(hashtext('nuncio drops'))").execute(&mut *connection).await?;
        Ok(outcome?)
    }
}

async fn make(connection: &mut PgConnection, family: &Family, at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let span = family.span.num_seconds();
    let start = at.timestamp().div_euclid(span) * span;
    let name = format!("{}_{start}", family.table);
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await?;
    if there {
        return Ok(());
    }
    // Attaching takes a weaker lock on the parent than creating in place: readers and writers go on.
    let create = format!("create table {name} (like {} including defaults)", family.table);
    let attach = format!(
        "alter table {} attach partition {name} for values from (to_timestamp({start})) to (to_timestamp({}))",
        family.table,
        start + span
    );
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await?;
    sqlx::raw_sql(AssertSqlSafe(attach)).execute(&mut *connection).await?;
    Ok(())
}

const PARTITIONS: &str = "
    select c.relname::text, i.inhdetachpending from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass($1) order by c.relname";

const LONGEST_WINDOW: &str = "
    select coalesce(max((s->>'dedupeSeconds')::bigint), 0)
    from (select defaults as s from projects union all select settings from namespaces) as every";

async fn drop_all(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut *connection).await?;
    let window: i64 = sqlx::query_scalar(LONGEST_WINDOW).fetch_one(&mut *connection).await?;
    let mut dropped = 0;
    for family in &EVENT_FAMILIES {
        for (name, pending) in ended_before(connection, family, now - family.kept).await? {
            if pending || !is_read(connection, &name).await? {
                drop_partition(connection, family, &name, pending).await?;
                dropped += 1;
            }
        }
    }
    for (name, pending) in ended_before(connection, &DEDUPE, now - TimeDelta::seconds(window)).await? {
        drop_partition(connection, &DEDUPE, &name, pending).await?;
        dropped += 1;
    }
    Ok(dropped)
}

/// The partitions whose span had ended by then, by the start that their names carry.
async fn ended_before(
    connection: &mut PgConnection,
    family: &Family,
    end: DateTime<Utc>,
) -> Result<Vec<(String, bool)>, sqlx::Error> {
    let all: Vec<(String, bool)> =
        sqlx::query_as(PARTITIONS).bind(family.table).fetch_all(connection).await?;
    let ended = |name: &str| {
        let start: Option<i64> = name.rsplit('_').next().and_then(|start| start.parse().ok());
        start.is_some_and(|start| start + family.span.num_seconds() <= end.timestamp())
    };
    Ok(all.into_iter().filter(|(name, _)| ended(name)).collect())
}

/// Whether the partition holds an event that a reader may still ask for.
async fn is_read(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let statement = format!(
        "select exists (select from {name} e join channels c on c.id = e.channel_id where e.position > c.trimmed_position)"
    );
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(connection).await
}

async fn drop_partition(
    connection: &mut PgConnection,
    family: &Family,
    name: &str,
    pending: bool,
) -> Result<(), sqlx::Error> {
    // Detaching concurrently lets readers and writers of the other partitions go on.
    let how = if pending { "finalize" } else { "concurrently" };
    let detach = format!("alter table {} detach partition {name} {how}", family.table);
    sqlx::raw_sql(AssertSqlSafe(detach)).execute(&mut *connection).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("drop table {name}"))).execute(&mut *connection).await?;
    tracing::info!(partition = name, "dropped a partition in which nothing was left");
    Ok(())
}
