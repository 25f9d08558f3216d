//! Rules of the code base that no other tool knows.

use std::fs;

use crate::step::{self, Failure, say};

/// Libraries that one package alone may use: all SQL is in `store`, all AMQP in `broker`.
const OWNED: [(&str, &str); 2] = [("sqlx", "crates/store/Cargo.toml"), ("lapin", "crates/broker/Cargo.toml")];

/// Checks all rules and names every place that breaks one.
pub(crate) fn check() -> Result<(), Failure> {
    say("check the rules of the code base");
    let found: Vec<_> = [owners()?, lock_files()?, local_paths()?].concat();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n  ")) }
}

/// Every manifest apart from the workspace's own, which only names versions.
fn owners() -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for manifest in tracked("*/Cargo.toml")? {
        let text = read(&manifest)?;
        for (library, owner) in OWNED {
            let named = text.lines().any(|line| {
                let name = line.split(['.', '=', ' ']).next();
                name == Some(library)
            });
            if named && manifest != owner {
                found.push(format!("{manifest}: {library} belongs to {owner} alone"));
            }
        }
    }
    Ok(found)
}

/// An address in a lock file would tie everybody to the mirror of whoever wrote it.
fn lock_files() -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for file in tracked("*package-lock.json")? {
        if read(&file)?.contains("\"resolved\"") {
            found.push(format!("{file}: holds `resolved` addresses; write it with `npm config set omit-lockfile-registry-resolved true`"));
        }
    }
    Ok(found)
}

/// A path of whoever wrote it means nothing to anybody else: of this clone, or below the home folder.
fn local_paths() -> Result<Vec<String>, Failure> {
    let home = std::env::var("HOME").ok().filter(|home| home.len() > 1);
    let folders: Vec<String> = [Some(step::root().display().to_string()), home]
        .into_iter()
        .flatten()
        .map(|f| format!("{f}/"))
        .collect();
    let mut found = Vec::new();
    for file in tracked("*")? {
        // Files that are not text hold no paths that anyone reads.
        let Ok(text) = fs::read_to_string(step::root().join(&file)) else { continue };
        let lines =
            text.lines().enumerate().filter(|(_, line)| folders.iter().any(|folder| line.contains(folder)));
        found.extend(lines.map(|(number, _)| format!("{file}:{}: a path of somebody's machine", number + 1)));
    }
    Ok(found)
}

fn tracked(pattern: &str) -> Result<Vec<String>, Failure> {
    let listed = step::output(step::program("git").args(["ls-files", "--", pattern]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn read(file: &str) -> Result<String, Failure> {
    fs::read_to_string(step::root().join(file)).map_err(|error| format!("cannot read {file}: {error}"))
}
