//! Benchmarks: Nuncio beside the servers it stands on, in one run, so that what counts are ratios.
//!
//! Never part of the tests: figures move with the machine. Every run checks that nothing is short.

#![expect(clippy::print_stdout, reason = "tables are what this program is for")]

mod append;
mod backlog;
mod baseline;
mod checks;
mod fanout;
mod latency;
mod program;
mod setting;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// What every part of a benchmark answers with: a failure ends the run, as a run with something missing is no result.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Arguments {
    /// The release build of the program.
    #[arg(long, env = "NUNCIO_BENCH_BINARY", default_value = "nuncio")]
    binary: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From RabbitMQ into the log: a backlog's throughput, and the latency to a WebSocket.
    Ingest {
        /// Messages in the backlog.
        #[arg(long, default_value_t = 200_000)]
        messages: usize,
        /// Rounds of the backlog.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Seconds of the latency run, at 500 events a second.
        #[arg(long, default_value_t = 30)]
        seconds: usize,
    },
    /// The append alone: events per second through the store, by one writer.
    Append {
        /// Events in all.
        #[arg(long, default_value_t = 200_000)]
        events: usize,
        /// Events in one append.
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
    },
    /// What checks of rights and of rate limits cost, in nanoseconds.
    Checks {
        /// Checks in a round: few, so that some rounds are not interrupted.
        #[arg(long, default_value_t = 5_000)]
        checks: usize,
        /// Rounds, of which the best counts.
        #[arg(long, default_value_t = 400)]
        rounds: usize,
    },
    /// From the log to subscribers: what a delivery costs, beside the floor and other servers.
    Fanout(fanout::Options),
    /// A server to be measured; started by the benchmark itself.
    #[command(hide = true)]
    Serve { server: BuiltIn, address: String },
    /// The load driver; started by the benchmark itself.
    #[command(hide = true)]
    Drive,
}

/// A server that is part of this program.
#[derive(Clone, Copy, ValueEnum)]
enum BuiltIn {
    Floor,
    Stock,
}

fn main() -> Result<()> {
    let Arguments { binary, command } = Arguments::parse();
    match command {
        // One thread, whose tasks share cells: the driver must not take more of the machine than it needs.
        Command::Drive => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, fanout::driver::run())
        }
        Command::Serve { server, address } => Runtime::new()?.block_on(serve(server, address)),
        Command::Checks { checks, rounds } => checks::run(checks, rounds),
        command => Runtime::new()?.block_on(async {
            tokio::select! {
                done = run(binary, command) => done,
                // Ending here lets everything that was started be ended.
                signal = stopped() => Err(format!("stopped by {}", signal?).into()),
            }
        }),
    }
}

/// Waits for a signal to stop.
async fn stopped() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        interrupt = tokio::signal::ctrl_c() => interrupt.map(|()| "SIGINT").map_err(Into::into),
    }
}

async fn serve(server: BuiltIn, address: String) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    match server {
        BuiltIn::Floor => fanout::floor::serve(listener).await,
        BuiltIn::Stock => fanout::stock::serve(listener).await,
    }
}

async fn run(binary: PathBuf, command: Command) -> Result<()> {
    let setting = setting::Setting::start(binary).await?;
    match command {
        Command::Ingest { messages, rounds, seconds } => {
            backlog::run(&setting, messages, rounds).await?;
            latency::run(&setting, seconds).await?;
        }
        Command::Append { events, batch } => append::run(&setting, events, batch).await?,
        Command::Fanout(options) => fanout::run(&setting, options).await?,
        Command::Checks { .. } | Command::Serve { .. } | Command::Drive => {}
    }
    setting.stop().await
}
