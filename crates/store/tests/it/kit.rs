//! What the tests here share: a store in a fresh database, with a project in it.

use bytes::Bytes;
use nuncio_devstack::testkit::{self, TestDatabase};
use nuncio_model::{Channel, Data, Draft, NamespaceSettings, Pattern, ProjectId, ProjectName, Secret};
use nuncio_store::{Appended, Entry, NewProject, Policy, SecretKey, Store, StoreOptions};

pub(crate) struct Kit {
    pub(crate) store: Store,
    pub(crate) project: ProjectId,
    pub(crate) database: TestDatabase,
}

pub(crate) fn options(url: &str) -> StoreOptions {
    let secret_key = Some(SecretKey::derive(&Secret::new("a secret of the tests")));
    StoreOptions { secret_key, ..StoreOptions::new(Secret::new(url)) }
}

/// Makes a template database.
pub(crate) async fn prepare(url: String) -> Result<(), nuncio_store::Error> {
    let store = Store::connect(&options(&url)).await?;
    store.migrate().await?;
    store.close().await;
    Ok(())
}

pub(crate) async fn kit() -> Kit {
    let database = testkit::database("nuncio_store", prepare).await.expect("a private PostgreSQL starts");
    let store = Store::connect(&options(&database.url)).await.expect("the database is there");
    let project = add_project(&store, "demo").await;
    Kit { store, project, database }
}

pub(crate) async fn add_project(store: &Store, name: &str) -> ProjectId {
    let new = NewProject {
        name: ProjectName::parse(name).expect("a good name"),
        audience: None,
        issuer: None,
        jwks_url: None,
        allowed_origins: Vec::new(),
        defaults: NamespaceSettings::default(),
    };
    store.create_project(&new).await.expect("the name is free").id
}

pub(crate) fn draft(channel: &str, id: &str, data: &str) -> Draft {
    Draft {
        channel: Channel::parse(channel).expect("a good channel"),
        id: id.to_owned(),
        source: "/test".to_owned(),
        r#type: "message".to_owned(),
        subject: None,
        time: None,
        content_type: None,
        data: Data::Json(Bytes::from(data.to_owned())),
        extensions: Default::default(),
    }
}

pub(crate) fn entry(batch: u32, channel: &str, id: &str, data: &str) -> Entry {
    let policy = Policy::of(&NamespaceSettings::default());
    Entry { draft: draft(channel, id, data), policy, batch }
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).expect("a good pattern")).collect()
}

impl Kit {
    /// Appends entries that are batches of one each.
    pub(crate) async fn append(&self, items: &[(&str, &str, &str)]) -> Appended {
        let entries = (0..).zip(items).map(|(batch, (channel, id, data))| entry(batch, channel, id, data));
        self.store.append(self.project, entries.collect()).await.expect("the database is there")
    }

    /// Makes rows of a table that is partitioned by time older. The partitions there are begin near now, so that there
    /// is one more for what lies before them.
    pub(crate) async fn age(&self, table: &str, seconds: i64, rows: &str) {
        let families: &[&str] = match table {
            "events" => &["events_days", "events_weeks", "events_months"],
            table => &[table],
        };
        let past =
            |family| format!("create table if not exists past_of_{family} partition of {family} default;");
        let past: String = families.iter().map(past).collect();
        let older =
            format!("update {table} set stored_at = stored_at - interval '{seconds} seconds' where {rows}");
        self.database.run(&format!("{past} {older}")).await.expect("they are older now");
    }

    /// Appends `count` events of one channel, with the ids 1, 2, 3 …
    pub(crate) async fn fill(&self, channel: &str, count: usize) {
        for ids in (1..=count).collect::<Vec<_>>().chunks(500) {
            let entries = ids.iter().map(|id| entry(*id as u32, channel, &format!("{channel}-{id}"), "1"));
            self.store.append(self.project, entries.collect()).await.expect("the database is there");
        }
    }

    /// The log as it stands in the table: position, channel, sequence, id.
    pub(crate) async fn dump(&self) -> Vec<(i64, String, i64, String)> {
        let rows = self
            .database
            .run(
                "select e.position, c.name, e.sequence, e.id from events e join channels c on c.id = e.channel_id
                 where e.project_id = 1 order by e.position",
            )
            .await
            .expect("the database answers");
        let row = |line: &str| {
            let mut fields = line.split('|');
            let mut next = || fields.next().expect("four fields").to_owned();
            let number = |text: String| text.parse().expect("a number");
            (number(next()), next(), number(next()), next())
        };
        rows.lines().map(row).collect()
    }
}

/// Positions are 1, 2, 3 … and so are the sequences of each channel.
pub(crate) fn assert_gapless(log: &[(i64, String, i64, String)]) {
    let mut sequences = std::collections::HashMap::new();
    for (expected, (position, channel, sequence, _)) in (1..).zip(log) {
        assert_eq!(*position, expected, "positions have no holes and no repeats");
        let last: &mut i64 = sequences.entry(channel).or_default();
        *last += 1;
        assert_eq!(*sequence, *last, "the sequence of {channel} at {position}");
    }
}

impl Kit {
    /// Holds the project's lock in a transaction that does nothing more, as a process that stands still would.
    pub(crate) async fn hold_the_lock(&self) -> sqlx::PgTransaction<'static> {
        let options: sqlx::postgres::PgConnectOptions = self.database.url.parse().expect("a good URL");
        let options = options.options([("idle_in_transaction_session_timeout", "3s")]);
        let pool = sqlx::PgPool::connect_with(options).await.expect("the database is there");
        let mut transaction = pool.begin().await.expect("it begins");
        let lock = "select position from heads where project_id = $1 for update";
        sqlx::query(lock).bind(self.project.0).execute(&mut *transaction).await.expect("the lock is free");
        transaction
    }
}
