//! The audit log: who did what. Changes of settings are written to it by triggers, in their own transactions; what is
//! no change of a row is noted here.

use chrono::{DateTime, Utc};
use nuncio_model::ProjectId;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::{Result, Store};

/// How many entries one statement removes.
const ENTRIES_AT_ONCE: i64 = 10_000;

/// Something that was done and is no change of a row of settings: a channel was purged, a connection was ended.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    /// The project it concerns; none where it concerns all.
    pub project: Option<ProjectId>,
    /// What was done, in one word of the past: `purged`.
    pub action: &'a str,
    /// What it was done to, by the word that stands in its path: `channels`.
    pub resource: &'a str,
    /// Which one of these.
    pub resource_id: &'a str,
    /// More about it, in camelCase; nothing secret.
    pub details: Option<Value>,
}

/// One entry.
#[derive(Clone, Debug, FromRow)]
pub struct AuditEntry {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// The name of the project it concerns.
    pub project: Option<String>,
    /// Who, as [`crate::Actor`] is written, without the request.
    pub actor: Value,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub resource: String,
    /// Which one of these.
    pub resource_id: String,
    /// How it was before.
    pub before: Option<Value>,
    /// How it is since.
    pub after: Option<Value>,
    /// The request by which it was done.
    pub request_id: Option<String>,
}

/// Which entries; what is left out does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of these projects alone.
    pub only: Option<Vec<ProjectId>>,
    /// Of projects of this name.
    pub project: Option<String>,
    /// By whom: a key's prefix, or a name.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// What it was done to.
    pub resource: Option<String>,
    /// From this time on.
    pub since: Option<DateTime<Utc>>,
    /// Before this time.
    pub until: Option<DateTime<Utc>>,
}

const LIST: &str = "
    select id, at, project, actor, action, resource, resource_id, before, after, request_id from audit_log where true";

const NOTE: &str = "
    insert into audit_log (project_id, project, actor, action, resource, resource_id, after, request_id)
    select $1, (select name from projects where id = $1), who - 'requestId', $2, $3, $4, $5, who->>'requestId'
    from audit_actor() who";

const SWEEP: &str = "
    delete from audit_log where id in (
        select id from audit_log where at < now() - make_interval(days => $1) order by at limit $2)";

impl Store {
    /// Writes to the audit log what was done by whoever acts; see [`Store::acting_as`].
    ///
    /// # Errors
    /// Where the database refuses; nothing is written then.
    pub async fn note(&self, note: &Note<'_>) -> Result<()> {
        let mut change = self.change().await?;
        write(&mut change, note).await?;
        Ok(change.commit().await?)
    }

    /// Entries before this number, the newest first.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_audit_log(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let mut query = filter.query();
        if let Some(before) = before {
            query.push(" and id < ").push_bind(before);
        }
        query.push(" order by id desc limit ").push_bind(limit as i64);
        let rows: Vec<AuditEntry> = query.build_query_as().fetch_all(&self.read).await?;
        Ok(rows.into_iter().map(AuditEntry::with_names_of_the_api).collect())
    }

    /// Removes the entries that are older than so many days.
    ///
    /// # Errors
    /// Where the database refuses; the next sweep goes on.
    pub async fn sweep_audit_log(&self, days: u32) -> Result<()> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let sweep = || sqlx::query(SWEEP).bind(days).bind(ENTRIES_AT_ONCE).execute(&self.append);
        while sweep().await?.rows_affected() > 0 {}
        Ok(())
    }
}

/// The same as [`Store::note`], in the transaction that does what is noted, which [`Store::change`] has begun.
pub(crate) async fn write(change: &mut PgConnection, note: &Note<'_>) -> Result<()> {
    sqlx::query(NOTE)
        .bind(note.project.map(|project| project.0))
        .bind(note.action)
        .bind(note.resource)
        .bind(note.resource_id)
        .bind(&note.details)
        .execute(change)
        .await?;
    Ok(())
}

impl AuditFilter {
    fn query(&self) -> QueryBuilder<Postgres> {
        let mut query = QueryBuilder::new(LIST);
        if let Some(only) = &self.only {
            let only: Vec<i32> = only.iter().map(|project| project.0).collect();
            query.push(" and project_id = any(").push_bind(only).push(")");
        }
        for (column, value) in
            [("project", &self.project), ("action", &self.action), ("resource", &self.resource)]
        {
            if let Some(value) = value {
                query.push(" and ").push(column).push(" = ").push_bind(value.clone());
            }
        }
        if let Some(actor) = &self.actor {
            query.push(" and ").push_bind(actor.clone()).push(" in (actor->>'prefix', actor->>'name')");
        }
        if let Some(since) = self.since {
            query.push(" and at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(" and at < ").push_bind(until);
        }
        query
    }
}

impl AuditEntry {
    /// Rows are kept with the names of their columns; the API has others.
    fn with_names_of_the_api(mut self) -> Self {
        self.before = self.before.map(camel_case);
        self.after = self.after.map(camel_case);
        self
    }
}

/// The members of the object, but not those of objects in it, which have such names already.
fn camel_case(row: Value) -> Value {
    match row {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(name, _)| name != "project_id");
            Value::Object(members.map(|(name, value)| (camel(&name), value)).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut text, word| {
        let mut letters = word.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        text.push_str(letters.as_str());
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_told_with_the_names_of_the_api() {
        let row = json!({"project_id": 1, "expires_at": null, "name": "n", "settings": {"odd_name": 1}});
        assert_eq!(camel_case(row), json!({"expiresAt": null, "name": "n", "settings": {"odd_name": 1}}));
        assert_eq!(camel_case(json!([1])), json!([1]));
    }
}
