//! Logs and metrics.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::LogFormat;

/// The log or the metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("NUNCIO_LOG: {0}")]
pub struct TelemetryError(String);

/// Libraries that write down what clients send at their most talkative, credentials included. They are held to this,
/// whatever the filter says of all.
const DISCREET: [&str; 2] = ["tungstenite=info", "tokio_tungstenite=info"];

/// The AMQP library, which writes down every refusal of the broker as an error, also those that are a part of how things
/// are done. Whoever asked gets it as an error too, and tells it where it is one.
const LAPIN: &str = "lapin";

/// Begins logging to standard error.
///
/// # Errors
/// Where the filter cannot be read.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    // Whoever names it wants to hear it.
    let quiet = (!filter.contains(LAPIN)).then(|| format!("{LAPIN}=off"));
    let filter = EnvFilter::try_new(filter).map_err(|error| TelemetryError(error.to_string()))?;
    let held = DISCREET.iter().copied().chain(quiet.as_deref());
    let filter = held.fold(filter, |filter, directive| {
        filter.add_directive(directive.parse().expect("it is a directive"))
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    let done = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    done.map_err(|error| TelemetryError(error.to_string()))
}

/// Begins counting; what was counted is read through the handle.
///
/// # Errors
/// Where this process counts already.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    PrometheusBuilder::new().install_recorder().map_err(|error| TelemetryError(error.to_string()))
}
