//! The api node against a real PostgreSQL, over real HTTP.

mod admin;
mod credentials;
mod history;
mod node;
mod problems;
mod publishing;
mod sse;
mod surface;
