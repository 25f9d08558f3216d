//! The real clients that tests run: Python and Node packages from their registries, below `tests/clients`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::install;
use crate::step::{self, Failure, say};

/// The oldest Node that the client packages support.
const NODE: u32 = 20;

/// Where the clients are, for the tests' environment.
pub(crate) struct Clients {
    pub(crate) folder: PathBuf,
    pub(crate) python: PathBuf,
}

/// Installs what `tests/clients` asks for, unless that has been done and nothing changed.
pub(crate) fn prepare() -> Result<Clients, Failure> {
    let folder = step::root().join("tests").join("clients");
    let ours = step::target()?.join("clients");
    fs::create_dir_all(&ours).map_err(|error| format!("cannot make {}: {error}", ours.display()))?;
    let python = python(&folder, &ours)?;
    node(&folder, &ours)?;
    Ok(Clients { folder, python })
}

fn python(folder: &Path, ours: &Path) -> Result<PathBuf, Failure> {
    let venv = ours.join("venv");
    let python = venv.join("bin").join("python");
    let wanted = folder.join("requirements.txt");
    if !wanted.is_file() || is_stamped(&ours.join("python.stamp"), &wanted) && python.is_file() {
        return Ok(python);
    }
    let make = || step::works("python3", &["-m", "venv", "--clear", &venv.to_string_lossy()]);
    say("make a Python environment for the test clients");
    if !make() {
        if !install::may_install() {
            return Err(
                "Python 3 with venv is needed: install the packages python3 and python3-venv".to_owned()
            );
        }
        install::apt(&["python3", "python3-venv"])?;
        if !make() {
            return Err(format!("`python3 -m venv {}` fails; see what it says", venv.display()));
        }
    }
    let mut pip = step::program(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&wanted);
    step::run("install the Python clients", &mut pip, "is the package index reachable?")?;
    stamp(&ours.join("python.stamp"), &wanted)?;
    Ok(python)
}

fn node(folder: &Path, ours: &Path) -> Result<(), Failure> {
    let wanted = folder.join("package-lock.json");
    let installed = folder.join("node_modules").is_dir();
    if !wanted.is_file() || is_stamped(&ours.join("node.stamp"), &wanted) && installed {
        return Ok(());
    }
    let version = step::output(step::program("node").arg("--version")).unwrap_or_default();
    let major =
        version.trim().trim_start_matches('v').split('.').next().and_then(|digits| digits.parse().ok());
    if major.is_none_or(|major: u32| major < NODE) {
        let found = if version.is_empty() { "none" } else { version.trim() };
        return Err(format!("the test clients need Node {NODE} or newer with npm; found: {found}"));
    }
    let mut npm = step::program("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    step::run("install the Node clients", &mut npm, "is the package index reachable?")?;
    stamp(&ours.join("node.stamp"), &wanted)
}

/// A stamp is a copy of the list that was installed.
fn is_stamped(stamp: &Path, list: &Path) -> bool {
    matches!((fs::read(stamp), fs::read(list)), (Ok(before), Ok(now)) if before == now)
}

fn stamp(stamp: &Path, list: &Path) -> Result<(), Failure> {
    fs::copy(list, stamp).map(drop).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}
