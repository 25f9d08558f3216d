//! Everything that was measured, and what is made of it: medians, spreads, ratios within a round.

use std::fmt::Debug;

use super::idle::Idle;
use super::say;
use super::servers::Contender;
use super::slow::Slow;
use super::steady::{Load, Reading};
use super::storm::Storm;
use crate::Result;

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) readings: Vec<Reading>,
    pub(crate) idle: Vec<Idle>,
    pub(crate) slow: Vec<Slow>,
    pub(crate) storms: Vec<Storm>,
    pub(crate) missing: Missing,
}

/// What could not be measured, and why.
#[derive(Default)]
pub(crate) struct Missing(pub(crate) Vec<String>);

impl Missing {
    /// Tells what was measured; what was not is kept for the report, so that no failure looks like a figure left out.
    pub(crate) fn keep<T: Debug>(&mut self, what: &str, measured: Result<T>) -> Option<T> {
        match measured {
            Ok(measured) => {
                say(&format!("{what}: {measured:?}"));
                Some(measured)
            }
            Err(why) => {
                say(&format!("{what}: no result: {why}"));
                self.0.push(format!("{what}: {why}"));
                None
            }
        }
    }
}

/// The median of some figures, and the least and the most of them.
#[derive(Clone, Copy, Debug, PartialEq)]
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
        let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), least, most })
    }
}

/// `median (least–most)`, or a dash.
pub(crate) fn text(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        Some(Spread { median, least, most }) => {
            format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
        }
        None => "–".to_owned(),
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

/// What was read at this rate.
pub(crate) fn at(reading: &Reading, rate: u32) -> Option<&Load> {
    reading.paced.iter().find(|load| load.per_second == rate)
}

/// The processor time of a delivery at this rate.
pub(crate) fn cpu_at(rate: u32) -> impl Fn(&Reading) -> Option<f64> {
    move |reading| Some(at(reading, rate)?.cpu_per_delivery)
}

/// Deliveries per second at most, where more and more was offered.
pub(crate) fn saturation(reading: &Reading) -> Option<f64> {
    reading.saturated.as_ref().and(reading.best()).map(Load::deliveries_per_second)
}

/// Memory of a connection.
pub(crate) fn memory(reading: &Reading) -> Option<f64> {
    Some(reading.kilobytes_per_connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(text(Spread::of([4.0, 1.0]), 1), "2.5 (1.0–4.0)");
        assert_eq!(text(Spread::of([]), 1), "–");
    }
}
