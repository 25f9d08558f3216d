//! Reading the log: pages of a channel or of patterns, bounded in what they scan, and places in it.
//!
//! A single channel is read by its own index. Patterns are matched over a window of positions: positions have no
//! holes, so a window is a bound on the work, and a page may be empty and still move its reader on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use nuncio_model::{Channel, Cursor, Data, Draft, Epoch, Event, Pattern, Position, ProjectId};
use sqlx::FromRow;

use crate::{Error, Result, Store};

/// How many positions one page of a pattern looks at.
const WINDOW: i64 = 5_000;

/// How many bytes of data one page holds, about; one event at least. A page of the largest events would else be as large
/// as the memory of a small machine, and there are as many pages at a time as clients ask for.
const PAGE_BYTES: usize = 4 << 20;

/// How many windows `last` goes back over before it takes what it has found.
const MOST_WINDOWS_BACK: usize = 40;

/// Where a project's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Head {
    /// The epoch of all positions given out now.
    pub epoch: Epoch,
    /// The position at which this epoch began.
    pub epoch_base: Position,
    /// The position of the newest event; 0 where there is none.
    pub position: Position,
    /// How often something has been removed: while this stays the same, so does what [`Store::removed_after`] finds.
    pub trims: i64,
    /// How often something has been purged: what was read of the log before must then be forgotten.
    pub purges: i64,
}

impl Head {
    /// Whether the cursor's place is one of this log's: `false` means `CURSOR_INVALID`.
    ///
    /// A place of the epoch before is still good where it lies in the part both epochs share.
    pub fn accepts(&self, cursor: &Cursor) -> bool {
        (cursor.epoch == self.epoch && cursor.position <= self.position)
            || (cursor.epoch + 1 == self.epoch && cursor.position <= self.epoch_base)
    }
}

/// Events in order, and how far they reach.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// Reading on: all matches from `after` up to here are in `events`. Reading back: all from here to `before`.
    pub through: Position,
    /// Whether there is more to look through in that direction.
    pub has_more: bool,
    /// Where the log ended at the time.
    pub head: Head,
}

/// A channel as it stands.
#[derive(Clone, Debug, FromRow)]
pub struct ChannelHead {
    /// Its name.
    pub name: String,
    /// The sequence of its newest event.
    pub sequence: i64,
    /// The position of its newest event.
    pub position: Position,
    /// The sequence of the newest event that has been removed; 0 where none has.
    pub trimmed_sequence: i64,
    /// Its position.
    pub trimmed_position: Position,
    /// When the first event was stored.
    pub first_event_at: DateTime<Utc>,
    /// When the newest event was stored.
    pub last_event_at: DateTime<Utc>,
}

const HEADS: &str =
    "select project_id, epoch, epoch_base, position, trims, purges from heads where project_id = any($1)";

const CHANNEL: &str = "
    select name, sequence, position, trimmed_sequence, trimmed_position, first_event_at, last_event_at
    from channels where project_id = $1 and name = $2 and deleted_at is null";

macro_rules! event_columns {
    () => {
        "c.name as channel, e.position, e.sequence, e.stored_at, e.time, e.kind, e.id, e.source, e.type, e.subject,
         e.content_type, e.extensions, e.data"
    };
}

const CHANNELS_FORWARD: &str = concat!(
    "select ",
    event_columns!(),
    " from channels c cross join lateral (
        select * from events where channel_id = c.id and position > greatest($3, c.trimmed_position) and position <= $4
        order by position limit $5) e
      where c.project_id = $1 and c.name = any($2) order by e.position limit $5"
);

macro_rules! channels_back {
    ($columns:expr) => {
        concat!(
            "select ",
            $columns,
            " from channels c cross join lateral (
                select * from events
                where channel_id = c.id and position > greatest($3, c.trimmed_position) and position <= $4
                order by position desc limit $5) e
              where c.project_id = $1 and c.name = any($2) order by e.position desc limit $5"
        )
    };
}

const CHANNELS_BACK: &str = channels_back!(event_columns!());
const CHANNELS_BACK_PLACES: &str = channels_back!("e.position");

const WINDOW_FORWARD: &str = concat!(
    "select ",
    event_columns!(),
    " from events e join channels c on c.id = e.channel_id
      where e.project_id = $1 and e.position > $3 and e.position <= $4 and e.position > c.trimmed_position
        and ('.' || c.name) ~ any($2) order by e.position limit $5"
);

macro_rules! window_back {
    ($columns:expr) => {
        concat!(
            "select ",
            $columns,
            " from events e join channels c on c.id = e.channel_id
              where e.project_id = $1 and e.position > $3 and e.position <= $4 and e.position > c.trimmed_position
                and ('.' || c.name) ~ any($2) order by e.position desc limit $5"
        )
    };
}

const WINDOW_BACK: &str = window_back!(event_columns!());
const WINDOW_BACK_PLACES: &str = window_back!("e.position");

const FIRST_ROW: &str = "
    select position from events where project_id = $1 and position > $2 order by position limit 1";

const REMOVED_AFTER: &str = "
    select max(trimmed_position) from channels
    where project_id = $1 and trimmed_position > greatest($3, 0) and ('.' || name) ~ any($2)";

impl Store {
    /// Where the project's log ends.
    ///
    /// # Errors
    /// `NotFound` where the project is gone.
    pub async fn head(&self, project: ProjectId) -> Result<Head> {
        self.heads(&[project]).await?.remove(&project).ok_or(Error::NotFound("the project"))
    }

    /// Where these projects' logs end, in one statement.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn heads(&self, projects: &[ProjectId]) -> Result<HashMap<ProjectId, Head>> {
        let ids: Vec<i32> = projects.iter().map(|project| project.0).collect();
        let rows: Vec<(i32, Epoch, Position, Position, i64, i64)> =
            sqlx::query_as(HEADS).bind(ids).fetch_all(&self.read).await?;
        let heads = rows.into_iter().map(|(id, epoch, epoch_base, position, trims, purges)| {
            (ProjectId(id), Head { epoch, epoch_base, position, trims, purges })
        });
        Ok(heads.collect())
    }

    /// The channel as it stands; `None` where nothing was ever published to it.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn channel(&self, project: ProjectId, channel: &Channel) -> Result<Option<ChannelHead>> {
        let row =
            sqlx::query_as(CHANNEL).bind(project.0).bind(channel.as_str()).fetch_optional(&self.read).await?;
        Ok(row)
    }

    /// The events after a position that match any of the patterns, oldest first.
    ///
    /// # Errors
    /// `NotFound` where the project is gone.
    pub async fn page(
        &self,
        project: ProjectId,
        patterns: &[Pattern],
        after: Position,
        limit: usize,
    ) -> Result<Page> {
        let head = self.head(project).await?;
        if after >= head.position {
            return Ok(Page { events: Vec::new(), through: after, has_more: false, head });
        }
        let (after, end) = match channel_names(patterns) {
            Some(_) => (after, head.position),
            None => {
                let first: Option<Position> = sqlx::query_scalar(FIRST_ROW)
                    .bind(project.0)
                    .bind(after)
                    .fetch_optional(&self.read)
                    .await?;
                let after = first.map_or(head.position, |first| first - 1);
                (after, head.position.min(after + WINDOW))
            }
        };
        let statement = (CHANNELS_FORWARD, WINDOW_FORWARD);
        let (events, full) =
            self.select(project, head.epoch, patterns, statement, (after, end), limit).await?;
        let through = events.last().filter(|_| full).map_or(end, |event| event.position);
        Ok(Page { events, through, has_more: through < head.position, head })
    }

    /// The newest events before a position that match any of the patterns, oldest first.
    ///
    /// # Errors
    /// `NotFound` where the project is gone.
    pub async fn page_before(
        &self,
        project: ProjectId,
        patterns: &[Pattern],
        before: Position,
        limit: usize,
    ) -> Result<Page> {
        let head = self.head(project).await?;
        let end = (before - 1).clamp(0, head.position);
        let start = if channel_names(patterns).is_some() { 0 } else { (end - WINDOW).max(0) };
        let statement = (CHANNELS_BACK, WINDOW_BACK);
        let (mut events, full) =
            self.select(project, head.epoch, patterns, statement, (start, end), limit).await?;
        events.reverse();
        let through = events.first().filter(|_| full).map_or(start + 1, |event| event.position);
        let first: Option<Position> =
            sqlx::query_scalar(FIRST_ROW).bind(project.0).bind(0_i64).fetch_optional(&self.read).await?;
        Ok(Page { events, through, has_more: first.is_some_and(|first| first < through), head })
    }

    /// The position of the newest event that has been removed, where one that matches has been removed after `after`.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn removed_after(
        &self,
        project: ProjectId,
        patterns: &[Pattern],
        after: Position,
    ) -> Result<Option<Position>> {
        let newest = sqlx::query_scalar(REMOVED_AFTER)
            .bind(project.0)
            .bind(regexes(patterns))
            .bind(after)
            .fetch_one(&self.read)
            .await?;
        Ok(newest)
    }

    /// The last position that was stored before this time.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn position_before_time(&self, project: ProjectId, time: DateTime<Utc>) -> Result<Position> {
        let statement = "select position_before_time($1, $2)";
        Ok(sqlx::query_scalar(statement).bind(project.0).bind(time).fetch_one(&self.read).await?)
    }

    /// The place from which there are `n` matching events to the head: earlier where fewer exist.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn position_before_last(
        &self,
        project: ProjectId,
        patterns: &[Pattern],
        n: usize,
    ) -> Result<Position> {
        let (mut end, mut missing) = (self.head(project).await?.position, n);
        let (statement, names, window) = match channel_names(patterns) {
            Some(names) => (CHANNELS_BACK_PLACES, names, end),
            None => (WINDOW_BACK_PLACES, regexes(patterns), WINDOW),
        };
        let first: Option<Position> =
            sqlx::query_scalar(FIRST_ROW).bind(project.0).bind(0_i64).fetch_optional(&self.read).await?;
        for _ in 0..MOST_WINDOWS_BACK {
            if missing == 0 || first.is_none_or(|first| first > end) {
                break;
            }
            let start = (end - window).max(0);
            let places: Vec<Position> = sqlx::query_scalar(statement)
                .bind(project.0)
                .bind(&names)
                .bind(start)
                .bind(end)
                .bind(missing as i64)
                .fetch_all(&self.read)
                .await?;
            missing -= places.len();
            end = places.last().filter(|_| missing == 0).map_or(start, |place| place - 1);
        }
        Ok(end)
    }

    /// The events that a statement finds, and whether there may be more of them: the page ends with so many events, or
    /// so many bytes.
    async fn select(
        &self,
        project: ProjectId,
        epoch: Epoch,
        patterns: &[Pattern],
        (by_channel, by_window): (&'static str, &'static str),
        (after, end): (Position, Position),
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, bool)> {
        let (statement, names) = match channel_names(patterns) {
            Some(names) => (by_channel, names),
            None => (by_window, regexes(patterns)),
        };
        let query = sqlx::query_as(statement).bind(project.0).bind(names).bind(after).bind(end);
        let mut rows = query.bind(limit as i64).fetch(&self.read);
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            let row: EventRow = row;
            bytes += row.data.len();
            events.push(Arc::new(row.into_event(project, epoch)?));
            if bytes >= PAGE_BYTES {
                return Ok((events, true));
            }
        }
        let full = events.len() >= limit;
        Ok((events, full))
    }
}

/// The names, where the patterns are channels all of them.
fn channel_names(patterns: &[Pattern]) -> Option<Vec<String>> {
    patterns.iter().map(|pattern| pattern.as_channel().map(|channel| channel.to_string())).collect()
}

fn regexes(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(Pattern::to_regex).collect()
}

#[derive(FromRow)]
struct EventRow {
    channel: String,
    position: Position,
    sequence: i64,
    stored_at: DateTime<Utc>,
    time: Option<DateTime<Utc>>,
    kind: i16,
    id: String,
    source: String,
    r#type: String,
    subject: Option<String>,
    content_type: Option<String>,
    extensions: Option<String>,
    data: Vec<u8>,
}

impl EventRow {
    fn into_event(self, project: ProjectId, epoch: Epoch) -> Result<Event> {
        let unreadable = |what: &str| Error::Unreadable(format!("the event at {} has {what}", self.position));
        let extensions = match &self.extensions {
            None => BTreeMap::new(),
            Some(text) => serde_json::from_str(text).map_err(|_| unreadable("broken extensions"))?,
        };
        let channel = Channel::parse_any(&self.channel).map_err(|_| unreadable("a broken channel"))?;
        // The numbers are those that `append` writes.
        let data = match self.kind {
            0 => Data::None,
            1 => Data::Json(Bytes::from(self.data)),
            2 => Data::Binary(Bytes::from(self.data)),
            _ => return Err(unreadable("an unknown kind of data")),
        };
        let draft = Draft {
            channel,
            id: self.id,
            source: self.source,
            r#type: self.r#type,
            subject: self.subject,
            time: self.time,
            content_type: self.content_type,
            data,
            extensions,
        };
        let (position, sequence, stored_at) = (self.position, self.sequence, self.stored_at);
        Ok(Event { project, epoch, position, sequence, stored_at, draft })
    }
}
