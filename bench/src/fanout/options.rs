//! What can be asked of the fan-out benchmark.

use clap::{Args, ValueEnum};

use super::servers::Contender;

/// Options of `cargo xtask bench fanout`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Rounds; in each of them every server is measured once.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Subscribers of the one channel.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) subscribers: usize,
    /// Seconds at each rate.
    #[arg(long, default_value_t = 8)]
    pub(crate) seconds: u32,
    /// Events per second to measure the cost of a delivery at.
    #[arg(long, value_delimiter = ',', default_values_t = [30, 300])]
    pub(crate) rates: Vec<u32>,
    /// One round of three seconds, to see that everything works.
    #[arg(long)]
    pub(crate) quick: bool,
    /// What to measure; all, if not given.
    #[arg(long, value_delimiter = ',', value_enum)]
    scenarios: Vec<Scenario>,
    /// Which servers; all that are installed, if not given.
    #[arg(long, value_delimiter = ',', value_enum)]
    servers: Vec<Contender>,
    /// Idle connections for the cost of keeping them.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) idle: usize,
    /// Subscribers in the storm.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) storm: usize,
    /// Events per second during the storm.
    #[arg(long, default_value_t = 100)]
    pub(crate) storm_rate: u32,
    /// Write the tables and the plot into `docs/benchmarks`.
    #[arg(long)]
    pub(crate) write: bool,
}

/// A thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// The cost of a delivery at given rates, and of a connection in memory (P1, P2, P4, P5).
    Paced,
    /// Deliveries per second when more is offered than can be done (P3).
    Saturation,
    /// The processor time of idle connections (P13); Nuncio alone.
    Idle,
    /// Subscribers that do not read, among others that do; Nuncio alone.
    Slow,
    /// All subscribers are cut at once and come back (P9); Nuncio alone.
    Storm,
}

impl Options {
    /// The options with `--quick` taken into account.
    pub(crate) fn settled(mut self) -> Self {
        if self.quick {
            (self.rounds, self.seconds) = (1, 3);
        }
        self
    }

    pub(crate) fn wants(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }

    /// The servers to measure, the floor always among them, as all ratios are to it.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let all = Contender::value_variants().iter().copied();
        all.filter(|one| self.servers.is_empty() || *one == Contender::Floor || self.servers.contains(one))
            .collect()
    }
}
