//! Ingest dead letters: messages that could not become events, kept as they came.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use nuncio_model::ProjectId;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use tokio::time::Instant;

use crate::{Error, Note, Result, Store, audit};

/// A message that cannot be an event.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDeadLetter {
    /// A stable word: `bad_channel`, `too_large` and the like.
    pub reason: &'static str,
    /// What was wrong, in a sentence.
    pub detail: String,
    /// The routing key it came with.
    pub routing_key: String,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its AMQP properties and headers.
    pub properties: Value,
    /// Its body.
    pub body: Bytes,
}

/// A kept message.
#[derive(Clone, Debug, FromRow)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// When it was put here.
    pub received_at: DateTime<Utc>,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub detail: String,
    /// The routing key it came with.
    pub routing_key: String,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its AMQP properties and headers.
    pub properties: Value,
    /// How many bytes its body has.
    pub body_bytes: i32,
    /// Its body; left out of lists, which could hold gigabytes otherwise.
    pub body: Vec<u8>,
    /// When it was last edited.
    pub edited_at: Option<DateTime<Utc>>,
    /// Raised by every edit.
    pub version: i64,
}

/// Which messages are wanted; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The reason.
    pub reason: Option<String>,
    /// What the routing key begins with.
    pub routing_key: Option<String>,
    /// From when on they came.
    pub since: Option<DateTime<Utc>>,
    /// Before when they came.
    pub before: Option<DateTime<Utc>>,
}

/// Where a list goes on, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterOrder {
    /// Those after this number, the oldest first.
    OldestFirst(i64),
    /// Those before this number, the newest first.
    NewestFirst(i64),
}

/// What is written in place of what a message came with.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterChange {
    /// The routing key.
    pub routing_key: String,
    /// AMQP properties and headers.
    pub properties: Value,
    /// The body.
    pub body: Vec<u8>,
}

/// How many messages one statement removes.
const ROWS_AT_ONCE: i64 = 1_000;

/// For how long whoever removes many waits for it.
const REMOVE_FOR: Duration = Duration::from_secs(15);

const ADD: &str = "
    insert into dead_letters (project_id, reason, detail, routing_key, exchange, properties, body)
    select $1, t.* from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[]) as t";

macro_rules! columns {
    () => {
        "select id, received_at, reason, detail, routing_key, exchange, properties, octet_length(body) as body_bytes,
         edited_at, version, "
    };
}

macro_rules! matching {
    () => {
        " from dead_letters where project_id = $1 and ($2::text is null or reason = $2)
           and ($3::text is null or starts_with(routing_key, $3))
           and ($4::timestamptz is null or received_at >= $4) and ($5::timestamptz is null or received_at < $5) "
    };
}

const OLDEST_FIRST: &str =
    concat!(columns!(), "''::bytea as body", matching!(), "and id > $6 order by id limit $7");

const NEWEST_FIRST: &str =
    concat!(columns!(), "''::bytea as body", matching!(), "and id < $6 order by id desc limit $7");

const REMOVE: &str = concat!(
    "delete from dead_letters where project_id = $1 and id in (select id",
    matching!(),
    "and id <= $6 order by id limit $7)"
);

const DELETE: &str = "delete from dead_letters where project_id = $1 and id = $2";

const NEWEST: &str = "select coalesce(max(id), 0) from dead_letters where project_id = $1";

const EDIT: &str = concat!(
    "with edited as (
         update dead_letters set routing_key = $3, properties = $4, body = $5, edited_at = now(), version = version + 1
         where project_id = $1 and id = $2 returning *) ",
    columns!(),
    "body from edited"
);

const ONE: &str = concat!(columns!(), "body from dead_letters where project_id = $1 and id = $2");

const LOCKED: &str =
    concat!(columns!(), "body from dead_letters where project_id = $1 and id = $2 for update");

impl Store {
    /// Keeps the messages, all or none.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether they were kept.
    pub async fn add_dead_letters(&self, project: ProjectId, letters: Vec<NewDeadLetter>) -> Result<()> {
        // PostgreSQL's text and jsonb take no NUL; a hostile routing key or header may hold one.
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        sqlx::query(ADD)
            .bind(project.0)
            .bind(letters.iter().map(|l| l.reason).collect::<Vec<_>>())
            .bind(letters.iter().map(|l| clean(&l.detail)).collect::<Vec<_>>())
            .bind(letters.iter().map(|l| clean(&l.routing_key)).collect::<Vec<_>>())
            .bind(letters.iter().map(|l| clean(&l.exchange)).collect::<Vec<_>>())
            .bind(letters.iter().map(|l| without_nul(&l.properties)).collect::<Vec<_>>())
            .bind(letters.iter().map(|l| l.body.as_ref()).collect::<Vec<_>>())
            .execute(&self.append)
            .await?;
        Ok(())
    }

    /// The messages that match, without their bodies.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_dead_letters(
        &self,
        project: ProjectId,
        order: DeadLetterOrder,
        limit: usize,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>> {
        let (statement, number) = match order {
            DeadLetterOrder::OldestFirst(after) => (OLDEST_FIRST, after),
            DeadLetterOrder::NewestFirst(before) => (NEWEST_FIRST, before),
        };
        let query = sqlx::query_as(statement)
            .bind(project.0)
            .bind(&filter.reason)
            .bind(&filter.routing_key)
            .bind(filter.since)
            .bind(filter.before)
            .bind(number)
            .bind(limit as i64);
        Ok(query.fetch_all(&self.append).await?)
    }

    /// Removes the messages that match and are there now, in steps, each with its entry in the audit log; tells how many
    /// there were, and whether more are left than could be removed in time.
    ///
    /// # Errors
    /// Where the database cannot be asked; what was removed stays removed.
    pub async fn purge_dead_letters(
        &self,
        project: ProjectId,
        filter: &DeadLetterFilter,
    ) -> Result<(u64, bool)> {
        let newest: i64 = sqlx::query_scalar(NEWEST).bind(project.0).fetch_one(&self.append).await?;
        let (until, mut removed) = (Instant::now() + REMOVE_FOR, 0);
        loop {
            let query = sqlx::query(REMOVE)
                .bind(project.0)
                .bind(&filter.reason)
                .bind(&filter.routing_key)
                .bind(filter.since)
                .bind(filter.before)
                .bind(newest)
                .bind(ROWS_AT_ONCE);
            let mut change = self.change().await?;
            let step = query.execute(&mut *change).await?.rows_affected();
            if step > 0 {
                note(&mut change, project, ("purged", ""), Some(filter.details(step))).await?;
            }
            change.commit().await?;
            removed += step;
            if step < ROWS_AT_ONCE as u64 {
                return Ok((removed, false));
            }
            if Instant::now() >= until {
                return Ok((removed, true));
            }
        }
    }

    /// Writes a message anew, by what is made of it as it is; nobody else edits it meanwhile.
    ///
    /// # Errors
    /// `NotFound` where there is no such message in the project, and what `apply` refuses.
    pub async fn edit_dead_letter<E: From<Error>>(
        &self,
        project: ProjectId,
        id: i64,
        apply: impl FnOnce(DeadLetter) -> Result<DeadLetterChange, E>,
    ) -> Result<DeadLetter, E> {
        let mut transaction = self.change().await?;
        let query = sqlx::query_as(LOCKED).bind(project.0).bind(id);
        let row = query.fetch_optional(&mut *transaction).await.map_err(Error::from)?;
        let change = apply(row.ok_or(Error::NotFound("the dead letter"))?)?;
        let row: DeadLetter = sqlx::query_as(EDIT)
            .bind(project.0)
            .bind(id)
            .bind(&change.routing_key)
            .bind(&change.properties)
            .bind(&change.body)
            .fetch_one(&mut *transaction)
            .await
            .map_err(Error::from)?;
        let details = json!({"routingKey": row.routing_key, "bodyBytes": row.body_bytes});
        note(&mut transaction, project, ("changed", &id.to_string()), Some(details)).await?;
        transaction.commit().await.map_err(Error::from)?;
        Ok(row)
    }

    /// One message.
    ///
    /// # Errors
    /// `NotFound` where there is no such message in the project.
    pub async fn dead_letter(&self, project: ProjectId, id: i64) -> Result<DeadLetter> {
        let row = sqlx::query_as(ONE).bind(project.0).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the dead letter"))
    }

    /// Removes a message, with its entry in the audit log.
    ///
    /// # Errors
    /// `NotFound` where there is no such message in the project.
    pub async fn delete_dead_letter(&self, project: ProjectId, id: i64) -> Result<()> {
        let mut change = self.change().await?;
        if sqlx::query(DELETE).bind(project.0).bind(id).execute(&mut *change).await?.rows_affected() == 0 {
            return Err(Error::NotFound("the dead letter"));
        }
        note(&mut change, project, ("deleted", &id.to_string()), None).await?;
        Ok(change.commit().await?)
    }

    /// Removes a message that RabbitMQ has again; whoever publishes it again notes that, before.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn forget_dead_letter(&self, project: ProjectId, id: i64) -> Result<()> {
        sqlx::query(DELETE).bind(project.0).bind(id).execute(&self.append).await?;
        Ok(())
    }
}

impl DeadLetterFilter {
    /// What the audit log is told of so many that were removed by it.
    fn details(&self, removed: u64) -> Value {
        let Self { reason, routing_key, since, before } = self;
        json!({"removed": removed, "reason": reason, "routingKey": routing_key, "since": since, "before": before})
    }
}

async fn note(
    change: &mut PgConnection,
    project: ProjectId,
    (action, resource_id): (&str, &str),
    details: Option<Value>,
) -> Result<()> {
    let (project, resource) = (Some(project), "dead-letters");
    audit::write(change, &Note { project, action, resource, resource_id, details }).await
}

fn without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => items.iter().map(without_nul).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.replace('\0', "\u{fffd}"), without_nul(value))).collect()
        }
        other => other.clone(),
    }
}
