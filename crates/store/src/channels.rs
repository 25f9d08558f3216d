//! Channels, as an administrator sees them: listed, purged, deleted.
//!
//! A purge moves the channel's trim mark, which readers respect at once, and then removes the rows in bounded steps. The
//! mark is moved under the project's lock, in the order in which appending takes its locks: first the head, then the
//! channel. So every event of the channel is either at or below the mark, or published after the purge.

use std::time::Duration;

use chrono::{DateTime, Utc};
use nuncio_model::{Channel, Pattern, Position, ProjectId};
use sqlx::PgTransaction;
use tokio::time::Instant;

use crate::{ChannelHead, Error, Head, Result, Store};

/// How many rows one statement removes.
const ROWS_AT_ONCE: i64 = 5_000;

/// For how long whoever asked waits until the rows are gone; a sweep removes what is left.
const REMOVE_FOR: Duration = Duration::from_secs(5);

/// Which channels are wanted.
#[derive(Clone, Debug, Default)]
pub struct ChannelFilter {
    /// What the name begins with.
    pub prefix: Option<String>,
    /// The first segment.
    pub namespace: Option<String>,
    /// What the name matches.
    pub pattern: Option<Pattern>,
}

/// Up to where a channel is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeThrough {
    /// Everything there is.
    Now,
    /// All up to this position.
    Position(Position),
    /// All that was stored before this time.
    Time(DateTime<Utc>),
}

/// What a purge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// How many events readers had until now and have no more.
    pub events: i64,
    /// The position of the last of all that were ever removed of the channel; 0 where none was.
    pub through: Position,
    /// Whether rows are left that the sweeps remove.
    pub pending: bool,
    /// The project's head at the time.
    pub head: Head,
}

const LIST: &str = r#"
    select name, sequence, position, trimmed_sequence, trimmed_position, first_event_at, last_event_at
    from channels
    where project_id = $1 and name collate "C" > $2 and name collate "C" >= $3 and deleted_at is null
      and ($3 = '' or starts_with(name, $3)) and ($4::text is null or namespace = $4)
      and ($5::text is null or ('.' || name) ~ $5)
    order by name collate "C" limit $6"#;

const LOCK_HEAD: &str =
    "select epoch, epoch_base, position, trims, purges from heads where project_id = $1 for update";

const LOCK_CHANNEL: &str = "
    select id, sequence, position, trimmed_sequence, trimmed_position from channels
    where project_id = $1 and name = $2 and deleted_at is null for update";

const LAST_UP_TO: &str = "
    select sequence, position from events where channel_id = $1 and position <= $2 and position > $3
    order by position desc limit 1";

const MARK: &str = "
    update channels set trimmed_sequence = $2, trimmed_position = $3, purge_position = $3,
        deleted_at = case when $4 then now() end
    where id = $1";

const COUNT: &str = "
    update heads set trims = trims + 1, purges = purges + 1 where project_id = $1
    returning epoch, epoch_base, position, trims, purges";

/// Not by the primary key of a partition, of which there is none: by where the rows are.
const REMOVE: &str = "
    delete from events where (tableoid, ctid) in (
        select e.tableoid, e.ctid from events e where e.channel_id = $1 and e.position <= $2 limit $3)";

const REMOVED: &str = "update channels set purge_position = 0 where id = $1 and purge_position <= $2";

const TO_REMOVE: &str =
    "select id, purge_position from channels where purge_position > 0 order by id limit 100";

impl Store {
    /// The channels whose names come after this one, in the order of their bytes.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_channels(
        &self,
        project: ProjectId,
        after: &str,
        limit: usize,
        filter: &ChannelFilter,
    ) -> Result<Vec<ChannelHead>> {
        let literal = filter.pattern.as_ref().map(literal_start).unwrap_or_default();
        let prefix = filter.prefix.as_deref().unwrap_or_default();
        let query = sqlx::query_as(LIST)
            .bind(project.0)
            .bind(after)
            .bind(if prefix.len() >= literal.len() { prefix } else { &literal })
            .bind(&filter.namespace)
            .bind(filter.pattern.as_ref().map(Pattern::to_regex))
            .bind(limit as i64);
        let rows: Vec<ChannelHead> = query.fetch_all(&self.read).await?;
        // Where the pattern begins with more than the prefix, it was the pattern's beginning that was looked for.
        Ok(rows.into_iter().filter(|row| row.name.starts_with(prefix)).collect())
    }

    /// Removes a channel's events, up to a place. Its sequence goes on.
    ///
    /// # Errors
    /// `NotFound` where there is no such channel. `Unavailable` leaves it unknown whether it took place; purging again
    /// is safe.
    pub async fn purge_channel(
        &self,
        project: ProjectId,
        channel: &Channel,
        through: PurgeThrough,
    ) -> Result<Purged> {
        self.remove_events(project, channel, through, false).await
    }

    /// Removes a channel's events, and the channel from lists until it is used again. Its sequence is kept, and goes on
    /// then.
    ///
    /// # Errors
    /// As [`Self::purge_channel`].
    pub async fn delete_channel(&self, project: ProjectId, channel: &Channel) -> Result<Purged> {
        self.remove_events(project, channel, PurgeThrough::Now, true).await
    }

    async fn remove_events(
        &self,
        project: ProjectId,
        channel: &Channel,
        through: PurgeThrough,
        delete: bool,
    ) -> Result<Purged> {
        let bound = match through {
            PurgeThrough::Now => Position::MAX,
            PurgeThrough::Position(position) => position,
            PurgeThrough::Time(time) => self.position_before_time(project, time).await?,
        };
        let mut change = self.change().await?;
        let head: Option<Head> =
            sqlx::query_as(LOCK_HEAD).bind(project.0).fetch_optional(&mut *change).await?;
        let head = head.ok_or(Error::NotFound("the project"))?;
        let locked: Option<Marks> = sqlx::query_as(LOCK_CHANNEL)
            .bind(project.0)
            .bind(channel.as_str())
            .fetch_optional(&mut *change)
            .await?;
        let marks = locked.ok_or(Error::NotFound("the channel"))?;
        let Some((sequence, position)) = marks.last_up_to(bound, &mut change).await? else {
            if delete {
                mark(&mut change, &marks, (marks.trimmed_sequence, marks.trimmed_position), true).await?;
                change.commit().await?;
            }
            return Ok(Purged { events: 0, through: marks.trimmed_position, pending: false, head });
        };
        mark(&mut change, &marks, (sequence, position), delete).await?;
        let head = sqlx::query_as(COUNT).bind(project.0).fetch_one(&mut *change).await?;
        change.commit().await?;
        let pending = !self.remove_rows(marks.id, position, Instant::now() + REMOVE_FOR).await?;
        Ok(Purged { events: sequence - marks.trimmed_sequence, through: position, pending, head })
    }

    /// Removes the rows of purges that were too large to be waited for, or were interrupted. Safe to run on several
    /// nodes.
    ///
    /// # Errors
    /// Where the database refuses; what was removed stays removed, and the next sweep goes on.
    pub async fn sweep_purges(&self) -> Result<()> {
        let until = Instant::now() + REMOVE_FOR;
        let due: Vec<(i64, Position)> = sqlx::query_as(TO_REMOVE).fetch_all(&self.append).await?;
        for (channel, position) in due {
            if !self.remove_rows(channel, position, until).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether all of them are gone.
    async fn remove_rows(&self, channel: i64, position: Position, until: Instant) -> Result<bool> {
        loop {
            let removed = sqlx::query(REMOVE).bind(channel).bind(position).bind(ROWS_AT_ONCE);
            if removed.execute(&self.append).await?.rows_affected() == 0 {
                sqlx::query(REMOVED).bind(channel).bind(position).execute(&self.append).await?;
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }
}

/// A locked channel.
#[derive(sqlx::FromRow)]
struct Marks {
    id: i64,
    sequence: i64,
    position: Position,
    trimmed_sequence: i64,
    trimmed_position: Position,
}

impl Marks {
    /// The last event up to a place that readers still have: its sequence and position.
    async fn last_up_to(
        &self,
        bound: Position,
        change: &mut PgTransaction<'_>,
    ) -> Result<Option<(i64, Position)>> {
        if bound >= self.position {
            let newest = (self.sequence, self.position);
            return Ok((self.sequence > self.trimmed_sequence).then_some(newest));
        }
        let query = sqlx::query_as(LAST_UP_TO).bind(self.id).bind(bound).bind(self.trimmed_position);
        Ok(query.fetch_optional(&mut **change).await?)
    }
}

async fn mark(
    change: &mut PgTransaction<'_>,
    marks: &Marks,
    (sequence, position): (i64, Position),
    delete: bool,
) -> Result<()> {
    let query = sqlx::query(MARK).bind(marks.id).bind(sequence).bind(position).bind(delete);
    query.execute(&mut **change).await?;
    Ok(())
}

/// What every name that matches the pattern begins with.
fn literal_start(pattern: &Pattern) -> String {
    let text = pattern.to_string();
    let segments: Vec<&str> = text.split('.').take_while(|segment| !matches!(*segment, "*" | "#")).collect();
    segments.join(".")
}
