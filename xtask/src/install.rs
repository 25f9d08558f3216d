//! The servers that must be installed: looked for, and installed where we may do so without asking.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::step::{self, Failure, say};

/// A server program, and the packages that bring it.
struct Server {
    name: &'static str,
    program: &'static str,
    /// Beside PATH. A `*` stands for any folder.
    places: &'static [&'static str],
    apt: &'static str,
    fedora: &'static str,
    brew: &'static str,
}

const SERVERS: [Server; 2] = [
    Server {
        name: "PostgreSQL",
        program: "initdb",
        places: &[
            "/usr/lib/postgresql/*/bin",
            "/opt/homebrew/opt/*/bin",
            "/usr/local/opt/*/bin",
            "/usr/pgsql/*/bin",
        ],
        apt: "postgresql",
        fedora: "postgresql-server",
        brew: "postgresql@17",
    },
    Server {
        name: "RabbitMQ",
        program: "rabbitmq-server",
        places: &["/usr/sbin", "/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin"],
        apt: "rabbitmq-server",
        fedora: "rabbitmq-server",
        brew: "rabbitmq",
    },
];

/// Installs the servers that are missing, as root with apt; elsewhere names them and how to get them.
/// Answers whether all are there.
pub(crate) fn servers() -> Result<bool, Failure> {
    let missing: Vec<_> = SERVERS.iter().filter(|server| !is_installed(server)).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    if may_install() {
        apt(&missing.iter().map(|server| server.apt).collect::<Vec<_>>())?;
        return Ok(true);
    }
    for Server { name, apt, fedora, brew, .. } in missing {
        say(&format!(
            "{name} is missing: `sudo apt-get install {apt}` (Debian, Ubuntu), `sudo dnf install {fedora}` (Fedora), \
             `brew install {brew}` (macOS); it need not be started"
        ));
    }
    Ok(false)
}

/// Whether packages can be installed without asking for a password: as root, with apt.
pub(crate) fn may_install() -> bool {
    let mut id = step::program("id");
    step::output(id.arg("-u")).is_ok_and(|uid| uid.trim() == "0") && step::works("apt-get", &["--version"])
}

/// Installs packages without starting any service: the servers are run privately, and a port taken by a service
/// that nobody asked for would be a nuisance.
pub(crate) fn apt(packages: &[&str]) -> Result<(), Failure> {
    run_apt("bring the package lists up to date", &["update"])?;
    let _no_services = NoServices::begin();
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    run_apt(&format!("install {}", packages.join(" ")), &arguments)
}

fn run_apt(what: &str, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = step::program("apt-get");
    command.arg("--quiet").args(arguments).stdin(Stdio::null()).env("DEBIAN_FRONTEND", "noninteractive");
    step::run(what, &mut command, "mend apt's sources or install the packages yourself")
}

/// Debian's way to say that packages must not start their services, for as long as this value lives.
struct NoServices;

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    /// Nothing where the machine has a policy already: that one is its owner's.
    fn begin() -> Option<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(Self::POLICY).ok()?;
        file.write_all(b"#!/bin/sh\nexit 101\n").ok().map(|()| Self)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(Self::POLICY) {
            say(&format!("remove {} yourself, or no service will start: {error}", Self::POLICY));
        }
    }
}

fn is_installed(server: &Server) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).any(|folder| folder.join(server.program).is_file());
    in_path
        || server
            .places
            .iter()
            .flat_map(|place| expand(place))
            .any(|folder| folder.join(server.program).is_file())
}

fn expand(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once("/*/") else { return vec![PathBuf::from(place)] };
    let folders = Path::new(before).read_dir().into_iter().flatten().flatten();
    folders.map(|folder| folder.path().join(after)).collect()
}
