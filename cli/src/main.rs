//! The program `nuncio`: one file per subcommand.

mod app;
mod commands;
mod exit;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{admin_key, dev, doctor, migrate, publish, schema, serve, tail};
use exit::Failure;
use serve::Role;

/// A self-hosted event platform: publish by RabbitMQ or HTTP, receive by GraphQL subscriptions or SSE, miss nothing.
#[derive(Parser)]
#[command(name = "nuncio", version, about, max_term_width = 100)]
struct Arguments {
    /// A TOML file with the same keys as the environment, which wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve HTTP, WebSocket and SSE; run any number.
    Api,
    /// Take events from RabbitMQ and apply retention; run any number.
    Worker,
    /// Be api and worker in one process.
    All,
    /// Be everything at once, with a private PostgreSQL and RabbitMQ: nothing to set up.
    Dev(dev::Arguments),
    /// Bring the database's schema up to date; safe to run from many nodes at once.
    Migrate,
    /// Manage admin keys.
    #[command(subcommand)]
    AdminKey(admin_key::Command),
    /// Publish an event.
    Publish(publish::Arguments),
    /// Print the events of a channel or pattern as they come.
    Tail(tail::Arguments),
    /// Check configuration, servers and limits, and say what to mend.
    Doctor,
    /// Print a description of the API.
    #[command(subcommand, hide = true)]
    Schema(schema::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::other(error).report(),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(Arguments { config, command }: Arguments) -> Result<(), Failure> {
    let config = config.as_deref();
    match command {
        Command::Api => serve::run(config, Role::Api).await,
        Command::Worker => serve::run(config, Role::Worker).await,
        Command::All => serve::run(config, Role::All).await,
        Command::Dev(arguments) => dev::run(config, arguments).await,
        Command::Migrate => migrate::run(config).await,
        Command::AdminKey(command) => admin_key::run(config, command).await,
        Command::Publish(arguments) => publish::run(arguments).await,
        Command::Tail(arguments) => tail::run(arguments).await,
        Command::Doctor => doctor::run(config).await,
        Command::Schema(command) => schema::run(command),
    }
}
