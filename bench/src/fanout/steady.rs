//! One server under steady load: what a connection takes, what a delivery costs, and how many there can be.

use std::fmt;
use std::time::Duration;

use super::client::{Crowd, Driver};
use super::driver::Outcome;
use super::options::{Options, Scenario};
use super::say;
use super::servers::{Contender, Server};
use super::usage::Processes;
use crate::Result;
use crate::setting::Setting;

/// How long a server is left alone before its memory is read.
const SETTLING: Duration = Duration::from_secs(2);
/// The first rate offered to find out how much is possible, and how many seconds' worth of events.
const FIRST_RATE: u32 = 40;
const STEP_SECONDS: u32 = 2;
/// A server that delivers less than this share of what is offered does not keep up; how many times longer it may take.
const KEEPS_UP: f64 = 0.9;
const LONGER: f64 = 2.0;
/// Less growth than this from one step to the next is none.
const GROWTH: f64 = 1.05;

/// What was read of one server in one round.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) contender: Contender,
    pub(crate) round: usize,
    pub(crate) kilobytes_per_connection: f64,
    pub(crate) paced: Vec<Load>,
    pub(crate) saturated: Option<Load>,
}

impl Reading {
    /// The load with the most deliveries per second.
    pub(crate) fn best(&self) -> Option<&Load> {
        let all = self.paced.iter().chain(&self.saturated);
        all.max_by(|a, b| a.deliveries_per_second().total_cmp(&b.deliveries_per_second()))
    }
}

/// What a load came to.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) per_second: u32,
    pub(crate) outcome: Outcome,
    /// Of the server, in microseconds.
    pub(crate) cpu_per_delivery: f64,
    /// Of the driver, to be told beside it.
    pub(crate) driver_cpu_per_delivery: f64,
}

impl Load {
    /// How many events the next rate may take: a server that did not keep up with this one would take minutes else.
    fn bearable(&self, options: &Options) -> u32 {
        let events_per_second = self.deliveries_per_second() / options.subscribers as f64;
        if events_per_second > f64::from(self.per_second) * KEEPS_UP {
            return u32::MAX;
        }
        (events_per_second * f64::from(options.seconds) * LONGER) as u32
    }

    pub(crate) fn deliveries_per_second(&self) -> f64 {
        self.outcome.deliveries as f64 / self.outcome.seconds
    }
}

/// In one line, for who waits.
impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} KB per connection", self.kilobytes_per_connection)?;
        for load in self.paced.iter().chain(&self.saturated) {
            let (offered, delivered) = (load.per_second, load.deliveries_per_second());
            let (cpu, p99) = (load.cpu_per_delivery, load.outcome.p99 as f64 / 1_000.0);
            write!(formatter, " · {offered}/s offered: {delivered:.0}/s at {cpu:.2} µs, p99 {p99:.1} ms")?;
        }
        Ok(())
    }
}

/// Starts a server, measures it and stops it.
pub(crate) async fn measure(
    setting: &Setting,
    options: &Options,
    contender: Contender,
    round: usize,
) -> Result<Reading> {
    let server = contender.start(setting).await?;
    let mut driver = Driver::start()?;
    let reading = read(&server, &mut driver, options, contender, round).await;
    driver.stop().await?;
    server.stop().await?;
    reading
}

async fn read(
    server: &Server,
    driver: &mut Driver,
    options: &Options,
    contender: Contender,
    round: usize,
) -> Result<Reading> {
    let measured = server.processes()?;
    tokio::time::sleep(SETTLING).await;
    let before = measured.memory_bytes()?;
    driver.connect(server, Crowd::of(options.subscribers)).await?;
    tokio::time::sleep(SETTLING).await;
    let taken = measured.memory_bytes()?.saturating_sub(before) as f64;
    let kilobytes_per_connection = taken / 1_024.0 / options.subscribers as f64;
    let mut paced = Vec::<Load>::new();
    if options.wants(Scenario::Paced) {
        for rate in &options.rates {
            let events =
                paced.last().map_or(u32::MAX, |load| load.bearable(options)).min(rate * options.seconds);
            paced.push(load(driver, &measured, *rate, events).await?);
        }
    }
    let saturated = match options.wants(Scenario::Saturation) {
        true => saturate(driver, &measured).await,
        false => None,
    };
    Ok(Reading { contender, round, kilobytes_per_connection, paced, saturated })
}

/// Publishes so many events at this rate.
pub(crate) async fn load(
    driver: &mut Driver,
    measured: &Processes,
    per_second: u32,
    events: u32,
) -> Result<Load> {
    let drivers = driver.processes()?;
    let (cpu, driver_cpu) = (measured.cpu_nanoseconds()?, drivers.cpu_nanoseconds()?);
    let outcome = driver.run(per_second, events).await?;
    let each = |used: u64| used as f64 / 1_000.0 / outcome.deliveries as f64;
    let cpu_per_delivery = each(measured.cpu_nanoseconds()? - cpu);
    let driver_cpu_per_delivery = each(drivers.cpu_nanoseconds()? - driver_cpu);
    Ok(Load { per_second, outcome, cpu_per_delivery, driver_cpu_per_delivery })
}

/// Offers more and more until no more is delivered, or something is lost; the best step without a loss.
async fn saturate(driver: &mut Driver, measured: &Processes) -> Option<Load> {
    let (mut best, mut rate) = (None::<Load>, FIRST_RATE);
    loop {
        let step = match load(driver, measured, rate, rate * STEP_SECONDS).await {
            Ok(step) => step,
            Err(why) => {
                say(&format!("  no more than that, as {rate} events/s end in: {why}"));
                return best;
            }
        };
        let most = best.as_ref().map_or(0.0, Load::deliveries_per_second);
        let reached = step.deliveries_per_second();
        if reached > most {
            best = Some(step);
        }
        if reached < most * GROWTH {
            return best;
        }
        rate = rate * 3 / 2;
    }
}
