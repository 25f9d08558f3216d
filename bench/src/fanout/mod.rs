//! The fan-out benchmark: Nuncio beside the floor and other servers, in one run, in turns.

mod client;
pub(crate) mod driver;
mod options;
mod report;
mod servers;
mod steady;
mod usage;

pub(crate) use options::Options;
use options::Scenario;
use servers::Contender;
pub(crate) use servers::{floor, stock};
use steady::Reading;

use crate::Result;
use crate::setting::Setting;

/// Measures what was asked for and prints it.
pub(crate) async fn run(setting: &Setting, options: Options) -> Result<()> {
    let options = options.settled();
    let mut findings = Findings::default();
    if options.wants(Scenario::Paced) || options.wants(Scenario::Saturation) {
        findings = in_turns(setting, &options).await;
    }
    println!("{}", report::markdown(&findings, &options));
    Ok(())
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) readings: Vec<Reading>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<(Contender, String)>,
}

/// Every server once in each round; each round begins with another one, so that none has the best place always.
async fn in_turns(setting: &Setting, options: &Options) -> Findings {
    let mut findings = Findings::default();
    let mut contenders = options.contenders();
    for round in 1..=options.rounds {
        for contender in contenders.clone() {
            say(&format!("round {round} of {}: {contender:?}", options.rounds));
            match steady::measure(setting, options, contender, round).await {
                Ok(reading) => {
                    say(&report::line(&reading));
                    findings.readings.push(reading);
                }
                Err(why) => {
                    say(&format!("no result: {why}"));
                    findings.missing.push((contender, format!("round {round}: {why}")));
                }
            }
        }
        contenders.rotate_left(1);
    }
    findings
}

/// Tells how far it is.
#[expect(clippy::print_stderr, reason = "a run takes long, and its result alone belongs on standard output")]
fn say(line: &str) {
    eprintln!("{line}");
}
