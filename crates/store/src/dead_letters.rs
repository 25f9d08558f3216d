//! Ingest dead letters: messages that could not become events, kept as they came.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use nuncio_model::ProjectId;
use serde_json::Value;
use sqlx::FromRow;

use crate::{Error, Result, Store};

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
}

const ADD: &str = "
    insert into dead_letters (project_id, reason, detail, routing_key, exchange, properties, body)
    select $1, t.* from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[]) as t";

macro_rules! columns {
    () => {
        "select id, received_at, reason, detail, routing_key, exchange, properties, octet_length(body) as body_bytes, "
    };
}

const LIST: &str = concat!(
    columns!(),
    "''::bytea as body from dead_letters where project_id = $1 and id > $2 and ($3::text is null or reason = $3) order by id limit $4"
);

const ONE: &str = concat!(columns!(), "body from dead_letters where project_id = $1 and id = $2");

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

    /// The messages after this number, oldest first, without their bodies.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_dead_letters(
        &self,
        project: ProjectId,
        after: i64,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Vec<DeadLetter>> {
        let query = sqlx::query_as(LIST).bind(project.0).bind(after).bind(reason).bind(limit as i64);
        Ok(query.fetch_all(&self.append).await?)
    }

    /// One message.
    ///
    /// # Errors
    /// `NotFound` where there is no such message in the project.
    pub async fn dead_letter(&self, project: ProjectId, id: i64) -> Result<DeadLetter> {
        let row = sqlx::query_as(ONE).bind(project.0).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the dead letter"))
    }

    /// Removes messages; tells how many there were.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn delete_dead_letters(&self, project: ProjectId, ids: &[i64]) -> Result<u64> {
        let statement = "delete from dead_letters where project_id = $1 and id = any($2)";
        Ok(sqlx::query(statement).bind(project.0).bind(ids).execute(&self.append).await?.rows_affected())
    }
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
