//! What a database was asked, counted by the database itself.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::Result;
use crate::baseline::connect;

/// A view of one database's statements.
pub(crate) struct Statements(Client);

/// How often each statement had been run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, i64>);

impl Statements {
    /// An error where PostgreSQL came without its `pg_stat_statements`.
    pub(crate) async fn of(database: &str) -> Result<Self> {
        let client = connect(database).await?;
        client.batch_execute("create extension if not exists pg_stat_statements").await?;
        Ok(Self(client))
    }

    pub(crate) async fn count(&self) -> Result<Counts> {
        const ALL: &str = "
            select query, sum(calls)::bigint from pg_stat_statements
            where dbid = (select oid from pg_database where datname = current_database())
              and query not like '%pg_stat_statements%'
            group by query";
        let rows = self.0.query(ALL, &[]).await?;
        let counts = rows.iter().map(|row| (squeeze(row.get(0)), row.get(1)));
        Ok(Counts(counts.collect()))
    }
}

impl Counts {
    /// What was run since an earlier count.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let fresh =
            self.0.iter().map(|(query, calls)| (query.clone(), calls - earlier.0.get(query).unwrap_or(&0)));
        Self(fresh.filter(|(_, calls)| *calls > 0).collect())
    }

    /// How many of them read.
    pub(crate) fn reads(&self) -> i64 {
        self.reading().map(|(_, calls)| calls).sum()
    }

    /// How many of them read stored events.
    pub(crate) fn event_reads(&self) -> i64 {
        self.reading().filter(|(query, _)| query.contains(" from events")).map(|(_, calls)| calls).sum()
    }

    /// The reading statements, the most frequent first.
    pub(crate) fn most_frequent(&self, at_most: usize) -> Vec<(&str, i64)> {
        let mut reading: Vec<_> = self.reading().collect();
        reading.sort_by_key(|(_, calls)| -calls);
        reading.truncate(at_most);
        reading
    }

    fn reading(&self) -> impl Iterator<Item = (&str, i64)> {
        let reads = |query: &str| query.starts_with("select") || query.starts_with("with");
        // What an append looks up before it writes is part of the append.
        let appends = ["insert into", "update", " from dedupe"];
        let writes = move |query: &str| appends.iter().any(|part| query.contains(part));
        let all = self.0.iter().map(|(query, calls)| (query.as_str(), *calls));
        all.filter(move |(query, _)| reads(query) && !writes(query))
    }
}

/// On one line and in lower case, as statements are written over several lines.
fn squeeze(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_counts_and_only_reads_are_reads() {
        let counts =
            |all: &[(&str, i64)]| Counts(all.iter().map(|(query, calls)| (squeeze(query), *calls)).collect());
        let before = counts(&[("SELECT 1", 5), ("select *\n from events", 7)]);
        let after = counts(&[
            ("SELECT 1", 5),
            ("select *\n from events", 10),
            ("insert into t select 1", 4),
            ("select 2", 1),
        ]);
        let fresh = after.since(&before);
        assert_eq!((fresh.reads(), fresh.event_reads()), (4, 3));
        assert_eq!(fresh.most_frequent(1), [("select * from events", 3)]);
    }
}
