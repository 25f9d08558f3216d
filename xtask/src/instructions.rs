//! `cargo xtask bench instructions`: how many instructions the functions on the way of a delivery take.
//!
//! Unlike times, these hardly depend on what else the machine does, so that a small regression shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::step::{self, Failure, say};

/// What was counted when it was last accepted.
const KEPT: &str = "docs/benchmarks/instructions.md";
/// By how much a function may grow, in percent.
const TOLERANCE: u64 = 10;
/// How often each thing is done in one run and in the other.
const TIMES: (u64, u64) = (1_000, 2_000);

/// Instructions for each function.
type Counts = BTreeMap<String, u64>;

/// Counts, shows what has changed, and fails where something has grown; with `--accept` keeps the counts.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let accept = match arguments {
        [] => false,
        [argument] if argument == "--accept" => true,
        _ => return Err("`bench instructions` takes nothing but `--accept`".to_owned()),
    };
    if !step::works("valgrind", &["--version"]) {
        return Err(
            "valgrind is missing: `apt-get install valgrind`, or your system's package of it".to_owned()
        );
    }
    let path = step::root().join(KEPT);
    let kept = fs::read_to_string(&path).map_err(|error| format!("cannot read {KEPT}: {error}"))?;
    let counts = count()?;
    let grown = show(&read(&kept), &counts);
    if accept {
        fs::write(&path, write(&kept, &counts)).map_err(|error| format!("cannot write {KEPT}: {error}"))?;
        say(&format!("wrote {KEPT}"));
    } else if !grown.is_empty() {
        return Err(format!(
            "more instructions than before: {}; `callgrind_annotate --auto=no {}` says where; where it is worth it, `--accept` it",
            grown.join(", "),
            folder()?.join("NAME.out").display()
        ));
    }
    Ok(())
}

fn count() -> Result<Counts, Failure> {
    let binary = build()?;
    let tests = step::output(step::program(&binary).args(["--list", "--format", "terse"]))?;
    let hot = tests.lines().filter_map(|line| line.strip_suffix(": test")).filter(|test| is_hot(test));
    say("count instructions");
    hot.map(|test| {
        let (few, many) = (collect(&binary, test, TIMES.0)?, collect(&binary, test, TIMES.1)?);
        Ok((short(test), many.saturating_sub(few) / (TIMES.1 - TIMES.0)))
    })
    .collect()
}

/// Builds the unit tests of the api, and answers where Cargo has put them.
fn build() -> Result<PathBuf, Failure> {
    say("build the unit tests of nuncio-api with optimisation (the first time takes some minutes)");
    let said = step::output(step::cargo().args([
        "test",
        "--package=nuncio-api",
        "--lib",
        "--profile=instructions",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]))?;
    let named = said.lines().find_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    named.map(PathBuf::from).ok_or_else(|| "Cargo does not say where the unit tests are".to_owned())
}

fn is_hot(test: &str) -> bool {
    test.split("::").any(|part| part == "hot")
}

/// `sse::form::hot::frame` is `sse::form::frame`.
fn short(test: &str) -> String {
    test.split("::").filter(|part| *part != "hot").collect::<Vec<_>>().join("::")
}

fn folder() -> Result<PathBuf, Failure> {
    Ok(step::target()?.join("instructions"))
}

/// All instructions of a run in which the thing is done so often.
fn collect(binary: &Path, test: &str, times: u64) -> Result<u64, Failure> {
    let out = folder()?.join(format!("{}.out", short(test).replace("::", "-")));
    let mut command = step::program("valgrind");
    command
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(binary)
        .args(["--exact", test, "--test-threads=1", "--quiet"])
        .env("NUNCIO_HOT_TIMES", times.to_string())
        .stdin(Stdio::null());
    step::output(&mut command)?;
    let text = fs::read_to_string(&out).map_err(|error| format!("cannot read {}: {error}", out.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    total.ok_or_else(|| format!("callgrind has written no summary to {}", out.display()))
}

/// Prints the table, and answers with what has grown too much.
fn show(kept: &Counts, counts: &Counts) -> Vec<String> {
    let mut grown = Vec::new();
    say(&format!("{:<40} {:>10} {:>10} {:>8}", "instructions of one", "then", "now", "change"));
    for (name, &now) in counts {
        let Some(&then) = kept.get(name) else {
            say(&format!("{name:<40} {:>10} {now:>10} {:>8}", "-", "new"));
            continue;
        };
        let change = (now as f64 / then.max(1) as f64 - 1.0) * 100.0;
        say(&format!("{name:<40} {then:>10} {now:>10} {change:>+7.1}%"));
        if now * 100 > then * (100 + TOLERANCE) {
            grown.push(name.clone());
        }
    }
    for name in kept.keys().filter(|name| !counts.contains_key(*name)) {
        say(&format!("{name:<40} is not there any more"));
    }
    grown
}

/// The rows of the table: `` | `name` | 123 | ``.
fn read(text: &str) -> Counts {
    let row = |line: &str| {
        let (name, count) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), count.strip_suffix(" |")?.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

/// The text with other rows.
fn write(kept: &str, counts: &Counts) -> String {
    let before: String = kept.split_inclusive('\n').take_while(|line| !line.starts_with("| `")).collect();
    let rows: String = counts.iter().map(|(name, count)| format!("| `{name}` | {count} |\n")).collect();
    before + &rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let counts = Counts::from([("a::b".to_owned(), 12), ("c".to_owned(), 0)]);
        let text = write("# Title\n| `old` | 1 |\n", &counts);
        assert!(text.starts_with("# Title\n| `a::b`"), "{text}");
        assert_eq!(read(&text), counts);
    }

    #[test]
    fn only_what_grew_by_more_than_the_tolerance_is_blamed() {
        let of = |counts: [u64; 3]| -> Counts {
            ["a", "b", "c"].map(str::to_owned).into_iter().zip(counts).collect()
        };
        assert_eq!(show(&of([100, 100, 100]), &of([110, 111, 50])), ["b"]);
    }
}
