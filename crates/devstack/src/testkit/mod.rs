//! What tests need: a database and a virtual host of their own, a proxy that can be cut, and a WebSocket that can be
//! misused.
//!
//! Each test gets fresh ones, on servers shared by the whole run where `cargo xtask test` (or the program
//! `nuncio-devstack`) has started them and named them in the environment, or else on private servers that the
//! test's value owns.

mod database;
mod proxy;
mod vhost;
pub mod websocket;

pub use database::{TestDatabase, database, database_in};
pub use proxy::Proxy;
pub use vhost::{TestVhost, vhost, vhost_in};

/// Names a superuser's URL of the PostgreSQL server to use.
pub const POSTGRES_VARIABLE: &str = "NUNCIO_TEST_POSTGRES";
/// Names an administrator's AMQP URL of the RabbitMQ node to use.
pub const RABBITMQ_VARIABLE: &str = "NUNCIO_TEST_RABBITMQ";
/// Names the base URL of that node's management API.
pub const MANAGEMENT_VARIABLE: &str = "NUNCIO_TEST_RABBITMQ_MANAGEMENT";
