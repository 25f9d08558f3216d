//! `nuncio doctor`: checks what Nuncio needs, and says what to mend.

mod broker;
mod database;
mod machine;

use std::path::Path;

use nuncio_runtime::{Config, ConfigError};

use crate::exit::Failure;

/// One line for each thing that was looked at.
#[derive(Default)]
struct Report {
    bad: usize,
}

/// What was found of one thing.
enum Finding {
    /// It is well.
    Good(String),
    /// It may be meant so; what to consider.
    Hint(String),
    /// What to mend.
    Mend(String),
}

use Finding::{Good, Hint, Mend};

impl Report {
    #[expect(clippy::print_stdout, reason = "the report is what the command is for")]
    fn line(&mut self, what: &str, finding: Finding) {
        match finding {
            Good(good) => println!("ok    {what}: {good}"),
            Hint(hint) => println!("hint  {what}: {hint}"),
            Mend(mend) => {
                self.bad += 1;
                println!("MEND  {what}: {mend}");
            }
        }
    }
}

pub(crate) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let mut report = Report::default();
    // What is wrong is told, and the rest looked at all the same, with what the wrong keys would be if they were not set.
    let (config, wrong) = Config::examine(file);
    if wrong.is_empty() {
        report.line("configuration", Good("every key can be read".to_owned()));
    }
    wrong.iter().for_each(|line| report.line("configuration", Mend(line.clone())));
    secret_key(&mut report, &config);
    database::check(&mut report, &config).await;
    broker::check(&mut report, &config).await;
    machine::check(&mut report, &config).await;
    match report.bad {
        0 => Ok(()),
        _ if !wrong.is_empty() => Err(ConfigError(wrong).into()),
        n => Err(Failure::Other(format!("{n} thing(s) to mend"))),
    }
}

fn secret_key(report: &mut Report, config: &Config) {
    let found = match config.secret_key {
        Some(_) => Good("NUNCIO_SECRET_KEY is set".to_owned()),
        None => Mend(
            "NUNCIO_SECRET_KEY is not set: tokens cannot be checked; `openssl rand -hex 32` makes one"
                .to_owned(),
        ),
    };
    report.line("secrets", found);
}
