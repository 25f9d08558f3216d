//! Benchmarks: Nuncio beside the servers it stands on, in one run, so that what counts are ratios.
//!
//! Never part of the tests: figures move with the machine. Every run checks that nothing is short.

#![expect(clippy::print_stdout, reason = "tables are what this program is for")]

mod append;
mod backlog;
mod baseline;
mod latency;
mod program;
mod setting;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// What every part of a benchmark answers with: a failure ends the run, as a run with something missing is no result.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Arguments {
    /// The release build of the program.
    #[arg(long, env = "NUNCIO_BENCH_BINARY")]
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
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { binary, command } = Arguments::parse();
    let setting = setting::Setting::start(binary).await?;
    match command {
        Command::Ingest { messages, rounds, seconds } => {
            backlog::run(&setting, messages, rounds).await?;
            latency::run(&setting, seconds).await?;
        }
        Command::Append { events, batch } => append::run(&setting, events, batch).await?,
    }
    setting.stop().await
}
