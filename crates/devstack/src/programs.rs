//! Where the servers' programs are. Distributions keep them out of PATH, so the usual places are tried too.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

const POSTGRES_HINT: &str = "get it with `apt-get install postgresql` (Debian, Ubuntu), \
     `dnf install postgresql-server` (Fedora) or `brew install postgresql@17` (macOS)";
const RABBIT_HINT: &str = "get it with `apt-get install rabbitmq-server` (Debian, Ubuntu), \
     `dnf install rabbitmq-server` (Fedora) or `brew install rabbitmq` (macOS)";

/// Folders with programs, beside those in PATH.
const USUAL: [&str; 5] =
    ["/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/sbin", "/usr/local/sbin", "/usr/sbin"];

/// The folder that holds `initdb`, `postgres` and `psql`: the newest one found.
pub(crate) fn postgres() -> Result<PathBuf, Error> {
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let mut found: Vec<_> = postgres_places().into_iter().filter(complete).collect();
    found.sort_by_key(|folder| std::cmp::Reverse(major_version(folder)));
    found.into_iter().next().ok_or(Error::NotInstalled { program: "PostgreSQL", hint: POSTGRES_HINT })
}

fn postgres_places() -> Vec<PathBuf> {
    let mut places = search_path();
    for parent in ["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/local"] {
        let folders = std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
        places.extend(folders.map(|folder| folder.join("bin")));
    }
    places.extend(
        ["/Applications/Postgres.app/Contents/Versions/latest/bin", "/usr/lib/postgresql/bin"]
            .map(Into::into),
    );
    if let Ok(answer) = Command::new("pg_config").arg("--bindir").output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim()));
    }
    places
}

/// The major version in a folder's name (`/usr/lib/postgresql/15/bin`, `postgresql@17`); 0 where it has none.
fn major_version(bin: &Path) -> u32 {
    let parent = bin.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    parent
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// The `rabbitmq-server` script. The one inside the package comes first: the one in Debian's `/usr/sbin` insists
/// on being root or `rabbitmq`, and on Debian's own folders.
pub(crate) fn rabbitmq_server() -> Result<PathBuf, Error> {
    let inside = ["/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin"];
    let places = inside.iter().map(PathBuf::from).chain(search_path());
    places
        .map(|folder| folder.join("rabbitmq-server"))
        .find(|program| program.is_file())
        .ok_or(Error::NotInstalled { program: "RabbitMQ", hint: RABBIT_HINT })
}

/// Erlang's port mapper, which a node needs to be found by its tools.
pub(crate) fn epmd() -> Result<PathBuf, Error> {
    let found = search_path().into_iter().map(|folder| folder.join("epmd")).find(|program| program.is_file());
    found.ok_or(Error::NotInstalled { program: "epmd (Erlang)", hint: RABBIT_HINT })
}

/// `psql`, beside the server or, where only the client is installed, in PATH.
pub(crate) fn psql() -> Result<PathBuf, Error> {
    let beside = postgres().ok().map(|folder| folder.join("psql")).filter(|program| program.is_file());
    let in_path =
        || search_path().into_iter().map(|folder| folder.join("psql")).find(|program| program.is_file());
    beside.or_else(in_path).ok_or(Error::NotInstalled { program: "psql", hint: POSTGRES_HINT })
}

/// The folders of PATH and the usual ones.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(USUAL.map(PathBuf::from)).collect()
}
