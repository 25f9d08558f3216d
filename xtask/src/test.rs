//! `cargo xtask test`: everything that the tests need, then the tests.

use crate::step::{self, Failure};
use crate::{browser, clients, install};

/// Runs all tests with one private PostgreSQL and one private RabbitMQ for all of them. The program that acceptance tests
/// run is the one for debugging, or one that is optimised.
pub(crate) fn run(optimised: bool, arguments: &[String]) -> Result<(), Failure> {
    if !install::servers()? {
        return Err("the tests need the servers named above".to_owned());
    }
    nextest()?;
    let clients = clients::prepare()?;
    let chromium = browser::prepare()?;
    step::build()?;
    if optimised {
        step::build_optimised()?;
    }
    let target = step::target()?;
    let (built, tried) = (target.join("debug"), target.join(if optimised { "acceptance" } else { "debug" }));
    let mut command = step::program(built.join("nuncio-devstack"));
    command
        .arg(step::cargo().get_program())
        .args(["nextest", "run", "--workspace"])
        .args(arguments)
        .env("NUNCIO_TEST_BINARY", tried.join("nuncio"))
        .env("NUNCIO_TEST_CLIENTS", clients.folder)
        .env("NUNCIO_TEST_PYTHON", clients.python)
        .env("NUNCIO_TEST_CHROMIUM", chromium);
    step::run("start the servers and run the tests", &mut command, "see the failed tests above")
}

fn nextest() -> Result<(), Failure> {
    if step::works("cargo-nextest", &["nextest", "--version"]) {
        return Ok(());
    }
    let mut install = step::cargo();
    // Outside the repository, so that its settings for Cargo do not apply.
    install.args(["install", "--locked", "cargo-nextest"]).current_dir(std::env::temp_dir());
    step::run(
        "install cargo-nextest (some minutes)",
        &mut install,
        "see https://nexte.st for other ways to get it",
    )
}
