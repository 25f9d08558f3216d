//! All subscribers are cut at once and come back with their cursors, while events go on.

use std::fmt;
use std::time::{Duration, Instant};

use super::client::{Crowd, Driver};
use super::driver::{Comeback, Command, Outcome};
use super::options::Options;
use super::servers::{Contender, Server};
use super::statements::{Counts, Statements};
use crate::Result;
use crate::setting::Setting;

/// How long events go on before the cut, and in all.
const CALM: Duration = Duration::from_secs(3);
const SECONDS: u32 = 20;

/// What became of it.
#[derive(Clone)]
pub(crate) struct Storm {
    pub(crate) subscribers: usize,
    pub(crate) per_second: u32,
    pub(crate) comeback: Comeback,
    pub(crate) outcome: Outcome,
    /// Of the server, from the cut until all had caught up.
    pub(crate) cpu_seconds: f64,
    /// What the database was asked in the calm before, for each second, and from the cut until all had caught up.
    pub(crate) asked: Option<Asked>,
}

/// In one line, for who waits.
impl fmt::Debug for Storm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comeback, outcome, cpu_seconds, .. } = self;
        write!(formatter, "{comeback:?}, {outcome:?}, {cpu_seconds:.2} s of processor time")
    }
}

/// Reads by all nodes together.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) calm_seconds: f64,
    pub(crate) calm: Counts,
    pub(crate) storm_seconds: f64,
    pub(crate) storm: Counts,
}

impl Asked {
    /// Reads per 1,000 reconnects beyond those that the events alone cause: of events, and of anything.
    pub(crate) fn per_thousand(&self, reconnects: usize) -> (f64, f64) {
        let times = self.storm_seconds / self.calm_seconds;
        let beyond =
            |storm: i64, calm: i64| (storm as f64 - calm as f64 * times) * 1_000.0 / reconnects as f64;
        (
            beyond(self.storm.event_reads(), self.calm.event_reads()),
            beyond(self.storm.reads(), self.calm.reads()),
        )
    }
}

/// Connects, cuts and waits.
pub(crate) async fn measure(setting: &Setting, options: &Options) -> Result<Storm> {
    let server = Contender::Graphql.start(setting).await?;
    let mut driver = Driver::start()?;
    let storm = blow(&server, &mut driver, options).await;
    driver.stop().await?;
    server.stop().await?;
    storm
}

async fn blow(server: &Server, driver: &mut Driver, options: &Options) -> Result<Storm> {
    let (subscribers, per_second) = (options.storm, options.storm_rate);
    let measured = server.processes()?;
    let statements = Statements::of(server.database.as_deref().unwrap_or_default()).await.ok();
    driver.connect(server, Crowd { subscribers, sleepers: 0, resume: true }).await?;
    driver.tell(Command::Begin { per_second, events: per_second * SECONDS }).await?;

    let (calm_begun, calm) = (Instant::now(), count(&statements).await?);
    tokio::time::sleep(CALM).await;
    let (cut, before, cpu) = (Instant::now(), count(&statements).await?, measured.cpu_nanoseconds()?);
    let comeback = driver.cut().await?;
    let (back, after) = (Instant::now(), count(&statements).await?);
    let cpu_seconds = (measured.cpu_nanoseconds()? - cpu) as f64 / 1e9;
    let outcome = driver.end().await?;
    let asked = statements.is_some().then(|| Asked {
        calm_seconds: (cut - calm_begun).as_secs_f64(),
        calm: before.since(&calm),
        storm_seconds: (back - cut).as_secs_f64(),
        storm: after.since(&before),
    });
    Ok(Storm { subscribers, per_second, comeback, outcome, cpu_seconds, asked })
}

async fn count(statements: &Option<Statements>) -> Result<Counts> {
    match statements {
        Some(statements) => statements.count().await,
        None => Ok(Counts::default()),
    }
}
