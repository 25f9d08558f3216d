//! `nuncio api`, `nuncio worker` and `nuncio all`.

use std::net::SocketAddr;
use std::path::Path;

use nuncio_runtime::shutdown::{End, Signals};
use nuncio_runtime::{Config, Shutdown, telemetry};
use tokio::net::TcpListener;

use crate::app::{self, Listeners, Running};
use crate::exit::Failure;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Api,
    Worker,
    All,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::All => "all",
        }
    }

    fn serves(self) -> bool {
        self != Self::Worker
    }

    pub(crate) fn works(self) -> bool {
        self != Self::Api
    }
}

/// Runs a node until it is asked to stop.
pub(crate) async fn run(file: Option<&Path>, role: Role) -> Result<(), Failure> {
    let config = Config::load(file)?;
    telemetry::start_logging(&config.log, config.log_format)
        .map_err(|error| Failure::Config(error.to_string()))?;
    let metrics = telemetry::start_metrics().map_err(Failure::other)?;
    app::store_options(&config)?;
    let api = if role.serves() { Some(bind("NUNCIO_LISTEN", config.listen).await?) } else { None };
    let listeners = Listeners { api, ops: bind("NUNCIO_OPS_LISTEN", config.ops_listen).await? };
    let shutdown = Shutdown::default();
    // The sockets' own addresses, because with port 0 the system has chosen one.
    let listen = listeners.api.as_ref().and_then(|api| api.local_addr().ok()).map(tracing::field::display);
    let ops = listeners.ops.local_addr().ok().map(tracing::field::display);
    tracing::info!(role = role.as_str(), listen, ops, "starting");
    let mut signals = Signals::listen().map_err(Failure::other)?;
    let running = tokio::select! {
        started = app::start(&config, role, listeners, metrics, &shutdown) => started?,
        // Whoever gives up waiting for a server that is away must be able to stop the program.
        _ = signals.asked() => return Ok(()),
    };
    tracing::info!(role = role.as_str(), "ready");
    end(&config, &shutdown, &mut signals, running).await
}

/// Waits for the end, and says how it was.
pub(crate) async fn end(
    config: &Config,
    shutdown: &Shutdown,
    signals: &mut Signals,
    running: Running,
) -> Result<(), Failure> {
    let cut = shutdown.wait(signals, config.drain).await == End::Cut;
    if cut {
        tracing::warn!("not everything was finished in NUNCIO_DRAIN_SECONDS");
    }
    running.finish(config, cut).await;
    if shutdown.failed() {
        return Err(Failure::Other("a part of this process died; the log says which".to_owned()));
    }
    tracing::info!("stopped");
    Ok(())
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| Failure::Config(format!("{key}: cannot listen on {address}: {error}")))
}
