//! What was measured, as tables in Markdown.

use std::fmt::Write;

use super::Findings;
use super::options::Options;
use super::servers::Contender;
use super::steady::{Load, Reading};

/// The median of some figures, and the least and the most of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            (figures[middle - 1] + figures[middle]) / 2.0
        };
        Some(Self { median, least, most })
    }

    /// `median (least–most)`.
    fn text(self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}

impl Findings {
    fn of(&self, contender: Contender) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter(move |reading| reading.contender == contender)
    }

    /// A figure of a server in each round.
    pub(crate) fn spread(
        &self,
        contender: Contender,
        figure: impl Fn(&Reading) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.of(contender).filter_map(figure))
    }

    /// A figure of one server divided by that of another in the same round.
    pub(crate) fn ratio(
        &self,
        over: Contender,
        under: Contender,
        figure: impl Fn(&Reading) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.of(over).filter_map(|reading| {
            let other = self.of(under).find(|other| other.round == reading.round)?;
            Some(figure(reading)? / figure(other)?)
        }))
    }
}

/// The processor time of a delivery at this rate.
pub(crate) fn cpu_at(rate: u32) -> impl Fn(&Reading) -> Option<f64> {
    move |reading| Some(paced(reading, rate)?.cpu_per_delivery)
}

pub(crate) fn saturation(reading: &Reading) -> Option<f64> {
    reading.saturated.as_ref().map(Load::deliveries_per_second)
}

fn paced(reading: &Reading, rate: u32) -> Option<&Load> {
    reading.paced.iter().find(|load| load.per_second == rate)
}

/// A reading in one line, for who waits.
pub(crate) fn line(reading: &Reading) -> String {
    let mut line = format!("  {:.1} KB per connection", reading.kilobytes_per_connection);
    for load in reading.paced.iter().chain(&reading.saturated) {
        let _to_memory = write!(
            line,
            " · {}/s offered: {:.0} deliveries/s, {:.2} µs each (driver {:.2}), p99 {:.1} ms",
            load.per_second,
            load.deliveries_per_second(),
            load.cpu_per_delivery,
            load.driver_cpu_per_delivery,
            load.outcome.p99 as f64 / 1_000.0
        );
    }
    line
}

/// All tables.
pub(crate) fn markdown(findings: &Findings, options: &Options) -> String {
    let mut out = String::new();
    for rate in &options.rates {
        out += &paced_table(findings, options, *rate);
    }
    out += &totals_table(findings, options);
    for (contender, why) in &findings.missing {
        out += &format!("- {}, no result: {why}\n", contender.title());
    }
    out
}

fn paced_table(findings: &Findings, options: &Options, rate: u32) -> String {
    let mut out = format!(
        "\n### {} subscribers, {rate} events/s\n\n\
         | server | µs CPU per delivery | ratio to the floor | deliveries/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|\n",
        options.subscribers
    );
    for contender in options.contenders() {
        let Some(cpu) = findings.spread(contender, cpu_at(rate)) else { continue };
        let ratio = findings.ratio(contender, Contender::Floor, cpu_at(rate));
        let median = |figure: &dyn Fn(&Load) -> f64| {
            findings
                .spread(contender, |reading| paced(reading, rate).map(figure))
                .map_or(0.0, |spread| spread.median)
        };
        out += &format!(
            "| {} | {} | {} | {:.0} | {:.1} | {:.1} |\n",
            contender.title(),
            cpu.text(2),
            ratio.map_or_else(|| "–".to_owned(), |ratio| ratio.text(2)),
            median(&Load::deliveries_per_second),
            median(&|load| load.outcome.p50 as f64 / 1_000.0),
            median(&|load| load.outcome.p99 as f64 / 1_000.0),
        );
    }
    out
}

fn totals_table(findings: &Findings, options: &Options) -> String {
    let mut out = "\n### Saturation and memory\n\n\
        | server | deliveries/s at most | Nuncio's / it | µs CPU per delivery then | KB per idle connection |\n|---|---|---|---|---|\n"
        .to_owned();
    let text = |spread: Option<Spread>, digits| {
        spread.map_or_else(|| "–".to_owned(), |spread: Spread| spread.text(digits))
    };
    for contender in options.contenders() {
        let Some(memory) = findings.spread(contender, |reading| Some(reading.kilobytes_per_connection))
        else {
            continue;
        };
        let most = findings.spread(contender, saturation);
        let ratio = findings.ratio(Contender::Graphql, contender, saturation);
        let cpu = findings.spread(contender, |reading| Some(reading.saturated.as_ref()?.cpu_per_delivery));
        let title = contender.title();
        out += &format!(
            "| {title} | {} | {} | {} | {} |\n",
            text(most, 0),
            text(ratio, 2),
            text(cpu, 2),
            memory.text(1)
        );
    }
    out + "\n"
}
