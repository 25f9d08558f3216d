//! Subscribers that do not read, among others that do: what the others notice, and what the server holds for them.

use std::time::Duration;

use super::client::{Crowd, Driver};
use super::driver::Command;
use super::options::Options;
use super::servers::{Contender, Server};
use super::usage::Processes;
use crate::Result;
use crate::setting::Setting;

/// Of so many subscribers, one does not read.
const ONE_IN: usize = 10;
/// Below what saturates two processors, so that latency says something.
const RATE: u32 = 100;
/// Long enough that what is not read does not fit into the system's own buffers.
const SECONDS: u32 = 20;
const GLANCE: Duration = Duration::from_millis(500);
/// How long a server is left alone after connecting, and how long memory may take to be given back.
const SETTLING: Duration = Duration::from_secs(5);

/// One run with and one without those that sleep.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    /// Of those that read, in milliseconds.
    pub(crate) p99_alone: f64,
    pub(crate) p99_among: f64,
    /// Of the server, in MB: before the run, at most during it, and after all have caught up.
    pub(crate) before: f64,
    pub(crate) at_most: f64,
    pub(crate) after: f64,
}

/// Measures both, one after the other; which comes first changes from round to round.
pub(crate) async fn measure(setting: &Setting, options: &Options, round: usize) -> Result<Slow> {
    let alone_first = if round % 2 == 1 { Some(alone(setting, options).await?) } else { None };
    let slow = among(setting, options).await?;
    let p99_alone = match alone_first {
        Some(p99) => p99,
        None => alone(setting, options).await?,
    };
    Ok(Slow { p99_alone, ..slow })
}

fn sleepers(options: &Options) -> usize {
    options.subscribers / ONE_IN
}

fn events(options: &Options) -> u32 {
    RATE * if options.quick { options.seconds } else { SECONDS }
}

/// The p99 of those that read, without the others.
async fn alone(setting: &Setting, options: &Options) -> Result<f64> {
    let server = Contender::Graphql.start(setting).await?;
    let mut driver = Driver::start()?;
    driver.connect(&server, Crowd::of(options.subscribers - sleepers(options))).await?;
    tokio::time::sleep(SETTLING).await;
    let outcome = driver.run(RATE, events(options)).await?;
    driver.stop().await?;
    server.stop().await?;
    Ok(milliseconds(outcome.p99))
}

async fn among(setting: &Setting, options: &Options) -> Result<Slow> {
    let server = Contender::Graphql.start(setting).await?;
    let mut driver = Driver::start()?;
    let slow = with_sleepers(&server, &mut driver, options).await;
    driver.stop().await?;
    server.stop().await?;
    slow
}

async fn with_sleepers(server: &Server, driver: &mut Driver, options: &Options) -> Result<Slow> {
    let (subscribers, sleepers) = (options.subscribers, sleepers(options));
    let measured = server.processes()?;
    driver.connect(server, Crowd { subscribers, sleepers, resume: false }).await?;
    driver.tell(Command::Sleep { subscribers: sleepers }).await?;
    tokio::time::sleep(SETTLING).await;
    let before = measured.memory_bytes()?;
    let (outcome, at_most) = while_watching(&measured, driver.run(RATE, events(options))).await?;
    // The sleepers wake, and must get everything too.
    driver.tell(Command::Sleep { subscribers: 0 }).await?;
    let ((), late) = while_watching(&measured, driver.tell(Command::Settle)).await?;
    tokio::time::sleep(SETTLING).await;
    let after = measured.memory_bytes()?;
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Slow {
        p99_alone: f64::NAN,
        p99_among: milliseconds(outcome.p99),
        before: megabytes(before),
        at_most: megabytes(at_most.max(late)),
        after: megabytes(after),
    })
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

/// The most memory that is seen while something goes on.
async fn while_watching<T>(measured: &Processes, work: impl Future<Output = Result<T>>) -> Result<(T, u64)> {
    let mut work = std::pin::pin!(work);
    let mut most = measured.memory_bytes()?;
    loop {
        match tokio::time::timeout(GLANCE, &mut work).await {
            Ok(done) => return Ok((done?, most)),
            Err(_) => most = most.max(measured.memory_bytes()?),
        }
    }
}
