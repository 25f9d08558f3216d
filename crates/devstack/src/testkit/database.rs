//! A database for one test, copied from a template that is prepared once per server.

use std::error::Error as StdError;

use super::POSTGRES_VARIABLE;
use crate::folder::random_hex;
use crate::psql::AdvisoryLock;
use crate::{Error, Postgres, PostgresOptions, Psql};

/// A database that exists as long as this value.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its URL, for a superuser.
    pub url: String,
    name: String,
    admin: Psql,
    /// The server, where it was started for this test alone.
    server: Option<Postgres>,
}

impl TestDatabase {
    /// Runs statements in this database and answers with their rows: one line each, fields joined by `|`.
    pub async fn run(&self, sql: &str) -> Result<String, Error> {
        Psql::new(&self.url).run(sql).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.server.is_none() {
            // A test that has failed must show its own failure, so that of the cleaning is only logged.
            let dropped =
                self.admin.run_blocking(&format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name));
            if let Err(error) = dropped {
                tracing::warn!(%error, database = self.name, "could not drop a test's database");
            }
        }
    }
}

/// A fresh database. `prepare` is called with the template's URL the first time that a server sees this `template`;
/// it must close its connections. Give the template another name when what `prepare` does changes.
pub async fn database<E: StdError + Send + Sync + 'static>(
    template: &str,
    prepare: impl AsyncFnOnce(String) -> Result<(), E>,
) -> Result<TestDatabase, Error> {
    if let Ok(url) = std::env::var(POSTGRES_VARIABLE) {
        return copy(&url, None, template, prepare).await;
    }
    let server = Postgres::start(PostgresOptions::scratch()).await?;
    copy(&server.url("postgres"), Some(server), template, prepare).await
}

/// A fresh database on this server, for tests that stop and start it.
pub async fn database_in<E: StdError + Send + Sync + 'static>(
    server: &Postgres,
    template: &str,
    prepare: impl AsyncFnOnce(String) -> Result<(), E>,
) -> Result<TestDatabase, Error> {
    copy(&server.url("postgres"), None, template, prepare).await
}

async fn copy<E: StdError + Send + Sync + 'static>(
    admin_url: &str,
    server: Option<Postgres>,
    template: &str,
    prepare: impl AsyncFnOnce(String) -> Result<(), E>,
) -> Result<TestDatabase, Error> {
    let admin = Psql::new(admin_url);
    if !is_prepared(&admin, template).await? {
        let _lock = AdvisoryLock::take(&admin, template).await?;
        // Another test may have prepared it while we waited.
        if !is_prepared(&admin, template).await? {
            prepare_template(&admin, admin_url, template, prepare).await?;
        }
    }
    let name = format!("test_{}", random_hex(8)?);
    admin.run(&format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"")).await?;
    Ok(TestDatabase { url: with_database(admin_url, &name)?, name, admin, server })
}

/// A template is marked as one only when it is whole.
async fn is_prepared(admin: &Psql, template: &str) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_database WHERE datname = '{template}' AND datistemplate");
    Ok(!admin.run(&sql).await?.is_empty())
}

async fn prepare_template<E: StdError + Send + Sync + 'static>(
    admin: &Psql,
    admin_url: &str,
    template: &str,
    prepare: impl AsyncFnOnce(String) -> Result<(), E>,
) -> Result<(), Error> {
    admin.run(&format!("DROP DATABASE IF EXISTS \"{template}\" WITH (FORCE)")).await?;
    admin.run(&format!("CREATE DATABASE \"{template}\"")).await?;
    let failed = |error: E| Error::Failed {
        program: format!("the preparation of the template database {template}"),
        message: error.to_string(),
    };
    prepare(with_database(admin_url, template)?).await.map_err(failed)?;
    admin
        .run(&format!("ALTER DATABASE \"{template}\" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"))
        .await
        .map(drop)
}

/// The same server's URL with another database.
fn with_database(url: &str, database: &str) -> Result<String, Error> {
    let bad = |_| Error::BadUrl {
        url: POSTGRES_VARIABLE.to_owned(),
        expected: "postgres://user:password@host:port/",
    };
    let mut url = reqwest::Url::parse(url).map_err(bad)?;
    url.set_path(database);
    Ok(url.to_string())
}
