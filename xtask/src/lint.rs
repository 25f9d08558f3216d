//! `cargo xtask lint`: everything that can be judged without running the product. All checks are made, so that
//! one run shows all there is to mend.

use crate::step::{self, Failure, say};
use crate::{generate, surface};

/// Makes all checks.
pub(crate) fn run() -> Result<(), Failure> {
    let checks: [fn() -> Result<(), Failure>; 6] =
        [format, clippy, documentation, || generate::run(true), surface::check, dependencies];
    let failures: Vec<_> = checks.iter().filter_map(|check| check().err()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nxtask: failed: ")) }
}

fn format() -> Result<(), Failure> {
    step::run("check the format", step::cargo().args(["fmt", "--all", "--check"]), "run `cargo fmt --all`")
}

fn clippy() -> Result<(), Failure> {
    let mut command = step::cargo();
    command.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    step::run("check with clippy", &mut command, "mend what it says above")
}

fn documentation() -> Result<(), Failure> {
    let mut command = step::cargo();
    command.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    step::run("check the documentation", &mut command, "mend what rustdoc says above")
}

fn dependencies() -> Result<(), Failure> {
    if !step::works("cargo-deny", &["--version"]) {
        say("cargo-deny is not installed: licences and duplicates are not checked");
        return Ok(());
    }
    let mut command = step::cargo();
    // Advisories would need the network; licences, bans and sources do not.
    command.args(["deny", "--offline", "check", "licenses", "bans", "sources"]);
    step::run("check the dependencies", &mut command, "see deny.toml for the rules")
}
