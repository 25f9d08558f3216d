//! The private servers of `nuncio dev`.

use std::path::Path;

use nuncio_devstack::{Error, Postgres, PostgresOptions, Psql, Rabbit, RabbitOptions};

use crate::exit::Failure;

/// The database's name on the private server.
const DATABASE: &str = "nuncio";

/// A private PostgreSQL, and a private RabbitMQ where it is installed.
pub(crate) struct Servers {
    postgres: Postgres,
    rabbit: Option<Rabbit>,
}

impl Servers {
    /// Starts both at once and waits until they are ready.
    #[expect(clippy::print_stderr, reason = "starting takes seconds, and the user should know what for")]
    pub(crate) async fn start(folder: &Path, quiet: bool) -> Result<Self, Failure> {
        if !quiet {
            eprintln!("starting PostgreSQL and RabbitMQ; their data is in {}", folder.display());
        }
        let (postgres, rabbit) = tokio::join!(
            Postgres::start(PostgresOptions::kept(folder.join("postgres"))),
            Rabbit::start(RabbitOptions::kept(folder.join("rabbitmq"))),
        );
        let postgres = postgres.map_err(needed)?;
        let rabbit = match rabbit {
            Ok(rabbit) => Some(rabbit),
            Err(error @ Error::NotInstalled { .. }) => {
                eprintln!("{error}. Everything but publishing through RabbitMQ works without it.");
                None
            }
            Err(error) => return Err(needed(error)),
        };
        let databases = Psql::new(&postgres.url("postgres"));
        let there = databases.run(&format!("SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")).await;
        if there.map_err(needed)?.trim().is_empty() {
            databases.run(&format!("CREATE DATABASE {DATABASE}")).await.map_err(needed)?;
        }
        Ok(Self { postgres, rabbit })
    }

    pub(crate) fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    pub(crate) fn amqp_url(&self) -> Option<String> {
        self.rabbit.as_ref().map(|rabbit| rabbit.url("/"))
    }

    /// Ends both and waits until they have ended.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        if let Some(rabbit) = self.rabbit {
            rabbit.stop().await.map_err(needed)?;
        }
        self.postgres.stop().await.map_err(needed)
    }
}

fn needed(error: Error) -> Failure {
    let message = crate::exit::chain(&error);
    match error {
        Error::InUse { .. } => Failure::Config(message),
        _ => Failure::Unreachable(message),
    }
}
