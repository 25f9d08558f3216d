//! `nuncio dev`: everything at once, on private servers, with nothing to set up.

mod greeting;
mod project;
mod servers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use nuncio_runtime::shutdown::Signals;
use nuncio_runtime::{Config, Shutdown, telemetry};
use tokio::net::TcpListener;

use super::client::{DEV_FILE, Dev};
use super::serve::{self, Role};
use crate::app::{self, Listeners};
use crate::exit::Failure;
use servers::Servers;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Keep the data below this folder instead of here.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Listen here; without it, on 127.0.0.1:8080 or, where that is taken, on a free port.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Print, once ready, one line of JSON and nothing else.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(file: Option<&Path>, arguments: Arguments) -> Result<(), Failure> {
    let mut config = Config::load(file)?;
    let quiet = if config.log == "info" { "warn" } else { &config.log };
    telemetry::start_logging(quiet, config.log_format).map_err(|error| Failure::Config(error.to_string()))?;
    let metrics = telemetry::start_metrics().map_err(Failure::other)?;
    let folder = match arguments.data {
        Some(folder) => folder.join(".nuncio"),
        None => nuncio_devstack::default_folder(&std::env::current_dir().map_err(Failure::other)?),
    };
    let api = bind(arguments.listen, config.listen).await?;
    let ops = bind(None, config.ops_listen).await?;
    let addresses = (address(&api)?, address(&ops)?);

    let servers = Servers::start(&folder, arguments.json).await?;
    config.database_url = Some(servers.database_url());
    config.amqp_url = servers.amqp_url();
    let kept = project::Kept::load(&folder)?;
    config.secret_key = Some(kept.secret_key.clone());
    let demo = project::prepare(&config, &folder, kept).await?;

    let shutdown = Shutdown::default();
    let listeners = Listeners { api: Some(api), ops };
    let running = app::start(&config, Role::All, listeners, metrics, &shutdown).await?;
    let dev = Dev {
        api: format!("http://{}", addresses.0),
        ops: format!("http://{}", addresses.1),
        project: demo.project.to_string(),
        api_key: demo.api_key,
        admin_key: demo.admin_key,
        token: demo.token,
        amqp: servers.amqp_url(),
        database: servers.database_url(),
    };
    project::write_private(&folder.join(DEV_FILE), &serde_json::to_vec(&dev).map_err(Failure::other)?)?;
    // Whoever was told that it is ready may ask it to stop.
    let mut signals = Signals::listen().map_err(Failure::other)?;
    if arguments.json {
        greeting::print_json(&dev)?
    } else {
        greeting::print(&dev)
    }
    let ended = serve::end(&config, &shutdown, &mut signals, running).await;
    // Other commands must not be sent to where nobody listens any more; what is left after a kill -9 does no more harm.
    drop(std::fs::remove_file(folder.join(DEV_FILE)));
    servers.stop().await?;
    ended
}

/// Binds where it was asked to; else at the usual address, or at a free port where that is taken.
async fn bind(asked: Option<SocketAddr>, usual: SocketAddr) -> Result<TcpListener, Failure> {
    let first = asked.unwrap_or(usual);
    match TcpListener::bind(first).await {
        Ok(listener) => Ok(listener),
        Err(error) if asked.is_some() => Err(Failure::Config(format!("--listen {first}: {error}"))),
        Err(_) => TcpListener::bind((usual.ip(), 0)).await.map_err(Failure::other),
    }
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(Failure::other)
}
