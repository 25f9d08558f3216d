//! `cargo xtask bench`: benchmarks, always with the release build.

use crate::instructions;
use crate::step::{self, Failure};

/// Runs the benchmark of this name and tells it where the release build of `nuncio` is.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<(), Failure> {
    if name == "instructions" {
        return instructions::run(arguments);
    }
    step::run(
        "build nuncio and the benchmarks for release (the first time takes some minutes)",
        step::cargo().args(["build", "--release", "--package", "nuncio", "--package", "nuncio-bench"]),
        "mend what the compiler says above",
    )?;
    let built = step::target()?.join("release");
    let mut command = step::program(built.join("nuncio-bench"));
    command.arg(name).args(arguments).env("NUNCIO_BENCH_BINARY", built.join("nuncio"));
    step::run(&format!("run the benchmark {name}"), &mut command, "see above")
}
