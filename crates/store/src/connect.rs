//! Connecting: two bounded pools, so that reading old pages never starves appending.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use nuncio_model::Secret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, FromRow};

use crate::{Actor, Error, Result, SecretKey, origin};

/// How long a call waits for a free connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was in use this short a time ago counts as alive.
const FRESH: Duration = Duration::from_secs(1);

/// Where the database is, and how much of it to use.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A `postgres://` URL.
    pub url: Secret,
    /// Connections that write and administrate.
    pub append_connections: u32,
    /// Connections that read pages of the log.
    pub read_connections: u32,
    /// Encrypts the secrets that must be read back.
    pub secret_key: Option<SecretKey>,
}

impl StoreOptions {
    /// The usual sizes for this URL.
    pub fn new(url: Secret) -> Self {
        Self { url, append_connections: 8, read_connections: 4, secret_key: None }
    }
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) append: PgPool,
    pub(crate) read: PgPool,
    pub(crate) secret_key: Option<SecretKey>,
    /// Whoever makes changes; Nuncio itself where nobody is named.
    pub(crate) actor: Option<Arc<Actor>>,
}

/// A database server, as it describes itself.
#[derive(Clone, Debug, FromRow)]
pub struct ServerReport {
    /// Its version, like `15.4`.
    pub version: String,
    /// The same as a number, like 150004.
    pub version_number: i32,
    /// Whether it writes through to the disk.
    pub fsync: bool,
    /// Whether a commit waits for that.
    pub synchronous_commit: bool,
    /// Its time.
    pub now: DateTime<Utc>,
}

const INSPECT: &str = "
    select current_setting('server_version') as version, current_setting('server_version_num')::int as version_number,
           current_setting('fsync') = 'on' as fsync, current_setting('synchronous_commit') <> 'off' as synchronous_commit,
           clock_timestamp() as now";

impl Store {
    /// Connects once; the caller decides whether to try again.
    ///
    /// # Errors
    /// `Unavailable` where no server answers, `Statement` where it refuses.
    pub async fn connect(options: &StoreOptions) -> Result<Self> {
        let url = PgConnectOptions::from_str(options.url.expose())?.application_name("nuncio");
        // A frozen writer must not stop its project: the server ends its transaction before others give up waiting.
        let common = [("idle_in_transaction_session_timeout", "3s"), ("lock_timeout", "8s")];
        let append = url.clone().options(common).options([
            ("statement_timeout", "20s"),
            // The plans of the append statements are made once, maybe while tables are empty: they must use the
            // indexes all the same.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ]);
        let read = url.options(common).options([("statement_timeout", "20s"), ("jit", "off")]);
        greet(&append).await?;
        let pool = |connections| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                // One that has lain idle may have died with its server, and whoever used it would be told so. One that
                // was in use a moment ago is not worth a question for each statement.
                .before_acquire(|connection, meta| {
                    Box::pin(async move { Ok(meta.idle_for < FRESH || connection.ping().await.is_ok()) })
                })
        };
        let store = Self {
            append: pool(options.append_connections)
                .after_connect(|connection, _| Box::pin(origin::check(connection)))
                .connect_lazy_with(append),
            read: pool(options.read_connections).connect_lazy_with(read),
            secret_key: options.secret_key.clone(),
            actor: None,
        };
        store.ping().await?;
        Ok(store)
    }

    /// The same database by a connection of its own, which is made when it is needed: for what must not wait until
    /// others are done with theirs.
    pub(crate) fn aside(&self) -> Self {
        let options = self.read.connect_options().as_ref().clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { append: pool.clone(), read: pool, ..self.clone() }
    }

    /// Asks the server for an answer.
    ///
    /// # Errors
    /// `Unavailable` where there is none.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.append).await?;
        Ok(())
    }

    /// Applies the migrations and makes the partitions of the days to come. Safe to run from many nodes at once.
    ///
    /// # Errors
    /// `Migrate` where a migration fails; it is rolled back whole.
    pub async fn migrate(&self) -> Result<()> {
        // The timeouts of the pool are for serving; a migration may wait for another node's and take its time.
        let options = self.append.connect_options().as_ref().clone().options([
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
        ]);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let outcome = sqlx::migrate!("../../migrations").run(&pool).await;
        pool.close().await;
        outcome?;
        self.maintain_partitions().await?;
        let mut connection = self.append.acquire().await?;
        origin::check(&mut connection).await?;
        Ok(())
    }

    /// Whether the schema is the one this program was built for.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn is_migrated(&self) -> Result<bool> {
        let known = sqlx::migrate!("../../migrations").iter().map(|m| m.version).max().unwrap_or(0);
        let there: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
            .fetch_one(&self.append)
            .await?;
        if !there {
            return Ok(false);
        }
        let applied: Option<i64> =
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
                .fetch_one(&self.append)
                .await?;
        Ok(applied == Some(known))
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// `Unavailable` where it does not answer.
    pub async fn inspect(&self) -> Result<ServerReport> {
        Ok(sqlx::query_as(INSPECT).fetch_one(&self.append).await?)
    }

    /// Closes all connections, after what runs on them has ended.
    pub async fn close(&self) {
        tokio::join!(self.append.close(), self.read.close());
    }

    pub(crate) fn secret_key(&self) -> Result<&SecretKey> {
        self.secret_key.as_ref().ok_or_else(|| {
            Error::Unreadable(
                "NUNCIO_SECRET_KEY is not set: signing keys cannot be stored or read".to_owned(),
            )
        })
    }
}

/// Connects once without a pool: a pool tries until its time is up, and then only says that it was.
async fn greet(options: &PgConnectOptions) -> Result<()> {
    let greeting = async { PgConnection::connect_with(options).await?.close().await };
    let in_time = tokio::time::timeout(CONNECT_TIMEOUT, greeting).await;
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    Ok(in_time.map_err(late)??)
}
