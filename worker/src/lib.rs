//! The worker: takes events from RabbitMQ into the log, and applies retention.
//!
//! ```text
//! worker ─ project (a task each) ─ session (a connection) ─ batch ─ decode
//!    │                                   │                    └──── commit: append → wake → dead letters
//!    │                                   ├ pace (rate limits slow it down)
//!    ├ herald ─ topology                 └ aside (what was not routed, what RabbitMQ gave up)
//!    └ retention
//! ```

mod aside;
mod batch;
mod commit;
pub mod decode;
mod herald;
mod pace;
mod project;
pub mod reason;
mod retention;
mod session;
mod share;
mod topology;
mod worker;

pub use worker::{Died, Serving, Settings, Worker};
