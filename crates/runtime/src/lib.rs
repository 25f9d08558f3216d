//! What every process needs, whatever it serves: configuration, telemetry, an ops listener and an orderly end.

pub mod config;
pub mod ops;
pub mod shutdown;
pub mod telemetry;

pub use config::{Config, ConfigError};
pub use ops::{Health, Ops};
pub use shutdown::Shutdown;
