//! Noticing that the database was replaced by an older copy of itself.
//!
//! After a restore or a failover the positions beyond the copy's head are given out again, for other events. Cursors
//! carry an epoch; it is raised here whenever the server's system identifier or timeline is not the one known.

use sqlx::PgConnection;

const TABLES_EXIST: &str = "select to_regclass('log_origin') is not null";

const CURRENT: &str = "
    select s.system_identifier,
           ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int as timeline,
           o.system_identifier as known_identifier, o.timeline as known_timeline
    from pg_control_system() s left join log_origin o on true";

const REMEMBER: &str = "
    insert into log_origin (system_identifier, timeline) values ($1, $2)
    on conflict (one) do update set system_identifier = excluded.system_identifier, timeline = excluded.timeline
    where (log_origin.system_identifier, log_origin.timeline) is distinct from ($1, $2)";

const RAISE_EPOCH: &str = "update heads set epoch = epoch + 1, epoch_base = position";

/// Compares the server with the one the log is known to live on, and begins a new epoch where they differ.
pub(crate) async fn check(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar(TABLES_EXIST).fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(());
    }
    let (identifier, timeline, known, known_timeline): (i64, i32, Option<i64>, Option<i32>) =
        sqlx::query_as(CURRENT).fetch_one(&mut *connection).await?;
    if (known, known_timeline) == (Some(identifier), Some(timeline)) {
        return Ok(());
    }
    let mut transaction = sqlx::Connection::begin(connection).await?;
    let changed = sqlx::query(REMEMBER).bind(identifier).bind(timeline).execute(&mut *transaction).await?;
    // Of several nodes that notice, one changes the row, and that one raises the epoch.
    if known.is_some() && changed.rows_affected() > 0 {
        let projects = sqlx::query(RAISE_EPOCH).execute(&mut *transaction).await?.rows_affected();
        tracing::warn!(projects, timeline, "the database is another copy than before: a new epoch begins");
    }
    transaction.commit().await
}
