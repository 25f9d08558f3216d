//! The servers of a run: a durable PostgreSQL and a RabbitMQ, for this run alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use nuncio_broker::{Broker, Link};
use nuncio_devstack::{Postgres, PostgresOptions, Psql, Rabbit, RabbitOptions};
use nuncio_model::rights::Rights;
use nuncio_model::{NamespaceSettings, ProjectId, ProjectName, Secret};
use nuncio_store::{NewApiKey, NewProject, Store, StoreOptions};

use crate::Result;

/// The servers, and the program to be measured.
pub(crate) struct Setting {
    pub(crate) binary: PathBuf,
    postgres: Postgres,
    rabbit: Rabbit,
    /// How many names have been given out.
    names: AtomicUsize,
}

/// A project of its own for one measurement.
pub(crate) struct Tenant {
    pub(crate) store: Store,
    pub(crate) project: ProjectId,
    pub(crate) name: ProjectName,
    pub(crate) key: Secret,
    pub(crate) database: String,
}

impl Setting {
    pub(crate) async fn start(binary: PathBuf) -> Result<Self> {
        // fsync stays on: what is measured is what is promised.
        let postgres = PostgresOptions::scratch()
            .setting("fsync", "on")
            .setting("full_page_writes", "on")
            .setting("shared_buffers", "512MB")
            .setting("max_wal_size", "4GB");
        // Counting statements needs a library that not every PostgreSQL comes with; only the counts go without it.
        let counting = postgres.clone().setting("shared_preload_libraries", "pg_stat_statements");
        let postgres = match Postgres::start(counting).await {
            Ok(postgres) => postgres,
            Err(_) => Postgres::start(postgres).await?,
        };
        let rabbit = Rabbit::start(RabbitOptions::scratch()).await?;
        Ok(Self { binary, postgres, rabbit, names: AtomicUsize::new(0) })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.rabbit.stop().await?;
        self.postgres.stop().await?;
        Ok(())
    }

    pub(crate) fn amqp_url(&self) -> String {
        self.rabbit.url("/")
    }

    pub(crate) async fn link(&self) -> Result<Link> {
        Ok(Broker::new(Secret::new(self.amqp_url()), "bench").connect("bench").await?)
    }

    /// A name that no other tenant of this run has.
    pub(crate) fn fresh_name(&self, begin: &str) -> String {
        format!("{begin}{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// An empty database with this name; its URL.
    pub(crate) async fn database(&self, name: &str) -> Result<String> {
        Psql::new(&self.postgres.url("postgres")).run(&format!("CREATE DATABASE {name}")).await?;
        Ok(self.postgres.url(name))
    }

    /// The program under measurement brings its schema, so that another build of it can be measured too.
    async fn migrate(&self, database: &str) -> Result<()> {
        let mut command = tokio::process::Command::new(&self.binary);
        let told = command.arg("migrate").env("DATABASE_URL", database).output().await?;
        if !told.status.success() {
            return Err(format!("cannot migrate: {}", String::from_utf8_lossy(&told.stderr)).into());
        }
        Ok(())
    }

    /// A migrated database with one project and a key, both with this name.
    pub(crate) async fn tenant(&self, name: &str) -> Result<Tenant> {
        let database = self.database(name).await?;
        self.migrate(&database).await?;
        let store = Store::connect(&StoreOptions::new(Secret::new(&database))).await?;
        let name = ProjectName::parse(name)?;
        let (audience, allowed_origins, defaults) = (None, Vec::new(), NamespaceSettings::default());
        let new = NewProject {
            name: name.clone(),
            audience,
            issuer: None,
            jwks_url: None,
            allowed_origins,
            defaults,
        };
        let project = store.create_project(&new).await?.id;
        let new =
            NewApiKey { label: "bench".to_owned(), rights: Rights::everything(), ..NewApiKey::default() };
        let (_, key) = store.create_api_key(project, &new).await?;
        Ok(Tenant { store, project, name, key, database })
    }
}
