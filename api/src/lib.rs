//! The api node: HTTP, GraphQL, SSE and the admin REST API.
//!
//! [`app`] puts a node together, [`router()`] says what is where, [`serve`] runs it.

mod accept;
pub mod address;
pub mod admin;
pub mod app;
pub mod auth;
pub mod body;
pub mod clockwork;
mod connections;
mod cors;
pub mod error;
pub mod feed;
pub mod filter;
pub mod graphql;
pub mod history;
#[cfg(test)]
mod hot;
pub mod hub;
pub mod limits;
mod live;
pub mod openapi;
mod outbound;
pub mod problem;
pub mod publish;
mod query;
pub mod resume;
mod router;
mod server;
pub mod sse;
mod well_formed;

pub use app::{ApiSettings, App, Parts};
pub use auth::mint_token;
pub use error::ApiError;
pub use openapi::openapi_json;
pub use router::router;
pub use server::serve;
