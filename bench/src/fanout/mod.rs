//! The fan-out benchmark: Nuncio beside the floor and other servers, in one run, in turns.

mod client;
pub(crate) mod driver;
mod figures;
mod idle;
mod options;
mod plot;
mod report;
mod servers;
mod slow;
mod statements;
mod steady;
mod storm;
mod usage;

use figures::Findings;
pub(crate) use options::Options;
use options::Scenario;
use servers::Contender;
pub(crate) use servers::{floor, stock};

use crate::Result;
use crate::setting::Setting;

/// Measures what was asked for, prints it, and writes it where that was asked for.
pub(crate) async fn run(setting: &Setting, options: Options) -> Result<()> {
    let options = options.settled();
    let mut findings = Findings::default();
    if options.wants(Scenario::Paced) || options.wants(Scenario::Saturation) {
        in_turns(setting, &options, &mut findings).await;
    }
    for round in 1..=options.rounds {
        alone(setting, &options, round, &mut findings).await;
    }
    println!("{}", report::markdown(&findings, &options));
    if options.write { report::write(&findings, &options) } else { Ok(()) }
}

/// Every server once in each round; each round begins with another one, so that none has the best place always.
async fn in_turns(setting: &Setting, options: &Options, findings: &mut Findings) {
    let mut contenders = options.contenders();
    for round in 1..=options.rounds {
        for contender in contenders.clone() {
            let what = format!("round {round}, {}", contender.title());
            let measured = steady::measure(setting, options, contender, round).await;
            findings.readings.extend(findings.missing.keep(&what, measured));
        }
        contenders.rotate_left(1);
    }
}

/// What is measured of Nuncio alone.
async fn alone(setting: &Setting, options: &Options, round: usize, findings: &mut Findings) {
    let missing = &mut findings.missing;
    if options.wants(Scenario::Idle) && round == 1 {
        let contenders = options.contenders();
        for contender in [Contender::Graphql, Contender::Sse].iter().filter(|one| contenders.contains(one)) {
            let what = format!("idle, {}", contender.title());
            findings.idle.extend(missing.keep(&what, idle::measure(setting, options, *contender).await));
        }
    }
    if options.wants(Scenario::Slow) {
        let measured = slow::measure(setting, options, round).await;
        findings.slow.extend(missing.keep(&format!("round {round}, slow subscribers"), measured));
    }
    if options.wants(Scenario::Storm) {
        let measured = storm::measure(setting, options).await;
        findings.storms.extend(missing.keep(&format!("round {round}, storm"), measured));
    }
}

/// Tells how far it is.
#[expect(clippy::print_stderr, reason = "a run takes long, and its result alone belongs on standard output")]
fn say(line: &str) {
    eprintln!("{line}");
}
