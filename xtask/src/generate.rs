//! `cargo xtask gen`: files that are made from the code and kept in the repository, so that a change of an
//! interface shows in its review.

use std::fs;

use crate::step::{self, Failure, say};

/// Each generated file and the arguments of `nuncio` that print it.
const FILES: [(&str, [&str; 2]); 2] =
    [("docs/schema.graphql", ["schema", "graphql"]), ("docs/openapi.json", ["schema", "openapi"])];

/// Writes the files, or with `check` fails where they are not what would be written.
pub(crate) fn run(check: bool) -> Result<(), Failure> {
    step::build()?;
    let nuncio = step::target()?.join("debug").join("nuncio");
    let mut stale = Vec::new();
    for (file, arguments) in FILES {
        let path = step::root().join(file);
        let mut text = step::output(step::program(&nuncio).args(arguments))?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            continue;
        }
        stale.push(file);
        if !check {
            fs::write(&path, text).map_err(|error| format!("cannot write {file}: {error}"))?;
        }
    }
    match (stale.is_empty(), check) {
        (true, _) => say("the generated files are up to date"),
        (false, false) => say(&format!("wrote {}", stale.join(", "))),
        (false, true) => return Err(format!("stale: {}; run `cargo xtask gen`", stale.join(", "))),
    }
    Ok(())
}
