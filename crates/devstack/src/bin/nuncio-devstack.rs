//! `nuncio-devstack COMMAND [ARGUMENT…]`: runs a command with a scratch PostgreSQL and a scratch RabbitMQ beside
//! it, named in its environment as the test kit expects. `cargo xtask test` runs the tests this way.

use std::process::ExitCode;

use nuncio_devstack::testkit::{MANAGEMENT_VARIABLE, POSTGRES_VARIABLE, RABBITMQ_VARIABLE};
use nuncio_devstack::{Error, Postgres, PostgresOptions, Rabbit, RabbitOptions};
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        report("usage: nuncio-devstack COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(words);
    match run(command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(mut command: Command) -> Result<u8, Error> {
    let (postgres, rabbit) = tokio::try_join!(
        Postgres::start(PostgresOptions::scratch()),
        Rabbit::start(RabbitOptions::scratch())
    )?;
    command.env(POSTGRES_VARIABLE, postgres.url("postgres")).env(RABBITMQ_VARIABLE, rabbit.url("/"));
    if let Some(management) = rabbit.management() {
        command.env(MANAGEMENT_VARIABLE, management.base());
    }
    let status = command.status().await;
    let (first, second) = tokio::join!(rabbit.stop(), postgres.stop());
    first.and(second)?;
    let status = status.map_err(|source| Error::Io { action: "run", path: "the command".into(), source })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[expect(clippy::print_stderr, reason = "a command line program speaks to its user there")]
fn report(message: &str) {
    eprintln!("nuncio-devstack: {message}");
}
