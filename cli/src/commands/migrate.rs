//! `nuncio migrate`.

use std::path::Path;

use nuncio_runtime::{Config, telemetry};

use crate::app;
use crate::exit::Failure;

/// Brings the schema up to date.
pub(crate) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file)?;
    telemetry::start_logging(&config.log, config.log_format)
        .map_err(|error| Failure::Config(error.to_string()))?;
    app::connect_store(&config).await?.migrate().await?;
    tracing::info!("the schema is up to date");
    Ok(())
}
