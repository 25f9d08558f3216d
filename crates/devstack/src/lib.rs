//! Private PostgreSQL and RabbitMQ servers as child processes, for `nuncio dev` and for tests.
//!
//! The programs are the ones installed on the machine; nothing is downloaded. A server keeps everything in a
//! folder of its own, listens on 127.0.0.1 on free ports, has random credentials, and never meets a server
//! that the user runs. It ends with the process that started it, however that process ends: see `watcher.rs`.
//!
//! ```no_run
//! # async fn example() -> Result<(), nuncio_devstack::Error> {
//! use nuncio_devstack::{Postgres, PostgresOptions, Rabbit, RabbitOptions, default_folder};
//! let folder = default_folder(&std::env::current_dir().expect("the working directory exists"));
//! let postgres = Postgres::start(PostgresOptions::kept(folder.join("postgres"))).await?;
//! let rabbit = Rabbit::start(RabbitOptions::kept(folder.join("rabbitmq"))).await?;
//! println!("{} {}", postgres.url("postgres"), rabbit.url("/"));
//! rabbit.stop().await?;
//! postgres.stop().await?;
//! # Ok(())
//! # }
//! ```

mod account;
mod error;
mod folder;
mod management;
mod port;
mod postgres;
mod process;
mod programs;
mod psql;
mod rabbit;
mod rabbit_config;
mod server;
pub mod testkit;
mod watcher;

pub use account::default_folder;
pub use error::Error;
pub use management::Management;
pub use postgres::{Postgres, PostgresOptions};
pub use psql::Psql;
pub use rabbit::{Rabbit, RabbitOptions};
