//! A step of a chore: a program that is run in the repository's root, told before, and blamed after.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What went wrong and what to do about it, for the person at the terminal.
pub(crate) type Failure = String;

/// Tells the person at the terminal something.
#[expect(clippy::print_stderr, reason = "a command line program speaks to its user there")]
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask is a folder of the repository").to_owned()
}

/// The folder that Cargo builds into. This program is `<target>/debug/xtask`.
pub(crate) fn target() -> Result<PathBuf, Failure> {
    let myself = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let target = myself.parent().and_then(Path::parent);
    target.map(Path::to_owned).ok_or_else(|| "run this as `cargo xtask`".to_owned())
}

/// A program to be run in the repository's root.
pub(crate) fn program(name: impl AsRef<Path>) -> Command {
    let mut command = Command::new(name.as_ref());
    command.current_dir(root());
    command
}

/// The Cargo that runs us.
pub(crate) fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds every binary and every test of the workspace. Both in one build, whichever is wanted, because packages get
/// other features when tests are left out, and then most of them would be built twice.
pub(crate) fn build() -> Result<(), Failure> {
    run(
        "build the binaries and tests",
        cargo().args(["build", "--workspace", "--bins", "--tests"]),
        "mend what the compiler says above",
    )
}

/// Builds the program once more, optimised as a release is.
pub(crate) fn build_optimised() -> Result<(), Failure> {
    run(
        "build the program that acceptance tests run (some minutes)",
        cargo().args(["build", "--profile", "acceptance", "--package", "nuncio", "--bin", "nuncio"]),
        "mend what the compiler says above",
    )
}

/// Says what is about to happen, runs it, and fails with `advice` where it fails.
pub(crate) fn run(what: &str, command: &mut Command, advice: &str) -> Result<(), Failure> {
    say(what);
    let status =
        command.status().map_err(|error| format!("{what}: cannot run {}: {error}", name(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{what} ({status}); {advice}")) }
}

/// Runs quietly and answers with standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let answer = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", name(command)))?;
    if !answer.status.success() {
        return Err(format!("{} ended with {}", name(command), answer.status));
    }
    String::from_utf8(answer.stdout).map_err(|_| format!("{} printed what is not text", name(command)))
}

/// Whether a program can be run with these arguments and succeeds.
pub(crate) fn works(name: &str, arguments: &[&str]) -> bool {
    let mut command = program(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
