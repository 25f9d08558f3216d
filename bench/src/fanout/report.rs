//! What was measured, as Markdown: on standard output, and as a page of the documentation.

use std::path::Path;

use nuncio_model::Clock;

use super::figures::{Findings, Spread, at, cpu_at, memory, saturation, text};
use super::options::Options;
use super::plot;
use super::servers::Contender;
use super::steady::Load;
use crate::Result;

/// How many of the statements of a storm are listed.
const STATEMENTS: usize = 6;

/// Writes the page and its plot.
pub(crate) fn write(findings: &Findings, options: &Options) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
    std::fs::create_dir_all(&folder)?;
    plot::draw(findings, options, &folder.join("fanout.svg"))?;
    let page = include_str!("page.md")
        .replace("@SUBSCRIBERS@", &options.subscribers.to_string())
        .replace("@SECONDS@", &options.seconds.to_string())
        .replace("@ROUNDS@", &options.rounds.to_string())
        .replace("@DAY@", &Clock::system().now().format("%Y-%m-%d").to_string())
        .replace("@MACHINE@", &machine())
        .replace("@TABLES@", markdown(findings, options).trim());
    Ok(std::fs::write(folder.join("fanout.md"), page)?)
}

/// The processors and the system.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let model =
        value(&processors, "model name").unwrap_or_else(|| "processors of an unknown kind".to_owned());
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kibibytes =
        value(&memory, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    let gigabytes = kibibytes.unwrap_or_default() >> 20;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{count} × {model}, {gigabytes} GB, Linux {}", kernel.trim())
}

/// All tables.
pub(crate) fn markdown(findings: &Findings, options: &Options) -> String {
    let mut out = goals_table(findings, options);
    for rate in &options.rates {
        out += &paced_table(findings, options, *rate);
    }
    out += &totals_table(findings, options);
    out += &idle_table(findings);
    out += &slow_table(findings);
    out += &storm_table(findings);
    if !findings.missing.0.is_empty() {
        out += "\n### No result\n\n";
        out.extend(findings.missing.0.iter().map(|line| format!("- {line}\n")));
    }
    out
}

/// The goals of the design, each beside its figure.
fn goals_table(findings: &Findings, options: &Options) -> String {
    use Contender::{Centrifuge, Floor, Graphql, Mixed, Nchan, SocketIo, Sse, Stock};
    let mut rows = Vec::new();
    for rate in &options.rates {
        for (name, contender, goal) in [
            ("P1, one group", Graphql, "≤ 1.10"),
            ("P2, 50 operations", Mixed, "≤ 1.4"),
            ("P4, SSE", Sse, "≤ 1.05"),
        ] {
            let what = format!("{name}: CPU per delivery / floor, {rate} events/s");
            rows.push((what, text(findings.ratio(contender, Floor, cpu_at(*rate)), 2), goal));
        }
    }
    for (peer, goal) in [(Nchan, "≥ 1.0"), (Centrifuge, "≥ 1.7"), (SocketIo, "≥ 5"), (Stock, "≥ 7")] {
        let what = format!("P3, deliveries/s at most / {}", peer.title());
        rows.push((what, text(findings.ratio(Graphql, peer, saturation), 2), goal));
    }
    for (contender, goal) in [(Graphql, "≤ 10"), (Sse, "≤ 8")] {
        let what = format!("P5, KB per idle connection, {}", contender.title());
        rows.push((what, text(findings.spread(contender, memory), 1), goal));
    }
    let rows = rows.into_iter().filter(|(_, figure, _)| figure != "–");
    let rows: String = rows.map(|(what, figure, goal)| format!("| {what} | {figure} | {goal} |\n")).collect();
    if rows.is_empty() {
        return rows;
    }
    format!("### Goals\n\n| what | median (least–most) | goal |\n|---|---|---|\n{rows}")
}

fn paced_table(findings: &Findings, options: &Options, rate: u32) -> String {
    if !findings.readings.iter().any(|reading| at(reading, rate).is_some()) {
        return String::new();
    }
    let mut out = format!(
        "\n### {} subscribers, {rate} events/s\n\n\
         | server | µs CPU per delivery | ratio to the floor | deliveries/s | p50 ms | p99 ms | µs CPU of the driver |\n|---|---|---|---|---|---|---|\n",
        options.subscribers
    );
    for contender in options.contenders() {
        let cpu = findings.spread(contender, cpu_at(rate));
        if cpu.is_none() {
            continue;
        }
        let ratio = findings.ratio(contender, Contender::Floor, cpu_at(rate));
        let median = |figure: fn(&Load) -> f64| {
            let spread = findings.spread(contender, |reading| at(reading, rate).map(figure));
            spread.map_or(0.0, |spread| spread.median)
        };
        out += &format!(
            "| {} | {} | {} | {:.0} | {:.1} | {:.1} | {:.2} |\n",
            contender.title(),
            text(cpu, 2),
            text(ratio, 2),
            median(Load::deliveries_per_second),
            median(|load| load.outcome.p50 as f64 / 1_000.0),
            median(|load| load.outcome.p99 as f64 / 1_000.0),
            median(|load| load.driver_cpu_per_delivery),
        );
    }
    out
}

fn totals_table(findings: &Findings, options: &Options) -> String {
    if findings.readings.is_empty() {
        return String::new();
    }
    let mut out = "\n### Saturation and memory\n\n\
        | server | deliveries/s at most | Nuncio's / it | µs CPU per delivery then | KB per idle connection |\n\
        |---|---|---|---|---|\n"
        .to_owned();
    for contender in options.contenders() {
        let held = findings.spread(contender, memory);
        if held.is_none() {
            continue;
        }
        let most = findings.spread(contender, saturation);
        let ratio = findings.ratio(Contender::Graphql, contender, saturation);
        let cpu = findings.spread(contender, |reading| {
            Some(reading.saturated.as_ref().and(reading.best())?.cpu_per_delivery)
        });
        out += &format!(
            "| {} | {} | {} | {} | {} |\n",
            contender.title(),
            text(most, 0),
            text(ratio, 2),
            text(cpu, 2),
            text(held, 1)
        );
    }
    out
}

fn idle_table(findings: &Findings) -> String {
    let mut out = String::new();
    for idle in &findings.idle {
        if out.is_empty() {
            out += "\n### Idle connections\n\n\
                | server | connections | µs CPU per connection and second (P13, goal ≤ 3) | KB per connection | µs CPU per second of the empty server |\n\
                |---|---|---|---|---|\n";
        }
        out += &format!(
            "| {} | {} | {:.2} | {:.1} | {:.0} |\n",
            idle.contender.title(),
            idle.connections,
            idle.microseconds,
            idle.kilobytes_per_connection,
            idle.empty_microseconds
        );
    }
    out
}

fn slow_table(findings: &Findings) -> String {
    if findings.slow.is_empty() {
        return String::new();
    }
    let mut out = "\n### A tenth of the subscribers does not read\n\n\
        | p99 ms without them | p99 ms of the others | MB before | MB at most | MB after all have caught up |\n|---|---|---|---|---|\n"
        .to_owned();
    for slow in &findings.slow {
        out += &format!(
            "| {:.1} | {:.1} | {:.0} | {:.0} | {:.0} |\n",
            slow.p99_alone, slow.p99_among, slow.before, slow.at_most, slow.after
        );
    }
    let ratio = Spread::of(findings.slow.iter().map(|slow| slow.p99_among / slow.p99_alone));
    out + &format!("\np99 with them / without: {} (goal ≤ 1.2)\n", text(ratio, 2))
}

fn storm_table(findings: &Findings) -> String {
    let Some(last) = findings.storms.last() else { return String::new() };
    let mut out = format!(
        "\n### {} subscribers are cut at once and come back, {} events/s\n\n\
         | all subscribed s | all caught up s | retries | p99 ms, all 20 s | server CPU s | reads per 1,000 reconnects (P9, goal ≤ 2) | of them of events |\n\
         |---|---|---|---|---|---|---|\n",
        last.subscribers, last.per_second
    );
    for storm in &findings.storms {
        let reads = storm.asked.as_ref().map(|asked| asked.per_thousand(storm.subscribers));
        let (events, all) = reads.unwrap_or((f64::NAN, f64::NAN));
        let back = &storm.comeback;
        out += &format!(
            "| {:.2} | {:.2} | {} | {:.0} | {:.2} | {all:.1} | {events:.1} |\n",
            back.subscribed_seconds,
            back.caught_up_seconds,
            back.retries,
            storm.outcome.p99 as f64 / 1_000.0,
            storm.cpu_seconds
        );
    }
    out += "\nReads beyond those that the events cause by themselves, and without those of appends. ";
    if let Some(asked) = &last.asked {
        out += "The most frequent in the last storm:\n\n| statement | times |\n|---|---|\n";
        for (query, calls) in asked.storm.most_frequent(STATEMENTS) {
            let query: String = query.chars().take(100).collect();
            out += &format!("| `{}` | {calls} |\n", query.replace('|', "\\|"));
        }
    }
    out + "\n"
}
