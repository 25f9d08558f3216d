//! `cargo xtask dev`: from a fresh clone to a running Nuncio.

use crate::install;
use crate::step::{self, Failure};

/// Installs or names what is missing, builds, and runs `nuncio dev`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    // Whatever is missing has been named; `nuncio dev` can go on without RabbitMQ and says what it needs itself.
    install::servers()?;
    step::run(
        "build nuncio (the first time takes some minutes)",
        step::cargo().args(["build", "--package", "nuncio"]),
        "mend what the compiler says above",
    )?;
    let nuncio = step::target()?.join("debug").join("nuncio");
    let mut command = step::program(nuncio);
    // The data belongs to the folder from which it is run, as with the installed program.
    if let Ok(here) = std::env::current_dir() {
        command.current_dir(here);
    }
    step::run("run nuncio dev", command.arg("dev").args(arguments), "see above")
}
