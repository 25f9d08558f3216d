//! `cargo xtask`: the project's chores. Each step says what it does, and what to do when it fails.

mod bench;
mod browser;
mod clients;
mod dev;
mod generate;
mod install;
mod instructions;
mod lint;
mod step;
mod surface;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of Nuncio's development")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what is missing, build, and run `nuncio dev` with the given arguments.
    Dev {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make ready what the tests need and run them; the arguments are cargo-nextest's.
    Test {
        /// Let the acceptance tests run a program that is optimised as a release is.
        #[arg(long)]
        optimised: bool,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write the generated files that are kept in the repository.
    Gen {
        /// Only say whether they are up to date.
        #[arg(long)]
        check: bool,
    },
    /// Check format, lints, documentation, generated files and the rules of the code base.
    Lint,
    /// Run a benchmark with the release build.
    Bench {
        /// `instructions`, or one of `bench/`.
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Dev { arguments } => dev::run(&arguments),
        Chore::Test { optimised, arguments } => test::run(optimised, &arguments),
        Chore::Gen { check } => generate::run(check),
        Chore::Lint => lint::run(),
        Chore::Bench { name, arguments } => bench::run(&name, &arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            step::say(&format!("failed: {failure}"));
            ExitCode::FAILURE
        }
    }
}
