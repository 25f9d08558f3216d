//! What connections cost on which nothing happens but pings.

use std::time::Duration;

use super::client::{Crowd, Driver};
use super::options::Options;
use super::servers::Contender;
use crate::Result;
use crate::setting::Setting;

/// How long a server is left alone before and after connecting.
const SETTLING: Duration = Duration::from_secs(3);
/// The server's ping period: every connection is pinged once.
const WINDOW: Duration = Duration::from_secs(25);

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    pub(crate) contender: Contender,
    pub(crate) connections: usize,
    pub(crate) kilobytes_per_connection: f64,
    /// Of processor time for each connection in a second, what the empty server takes left out.
    pub(crate) microseconds: f64,
    /// Of the server without connections, in a second.
    pub(crate) empty_microseconds: f64,
}

/// Connects and waits.
pub(crate) async fn measure(setting: &Setting, options: &Options, contender: Contender) -> Result<Idle> {
    let window = if options.quick { WINDOW / 3 } else { WINDOW };
    let server = contender.start(setting).await?;
    let measured = server.processes()?;
    tokio::time::sleep(SETTLING).await;
    let cpu = measured.cpu_nanoseconds()?;
    tokio::time::sleep(SETTLING).await;
    let per_second = |used: u64, time: Duration| used as f64 / 1_000.0 / time.as_secs_f64();
    let empty_microseconds = per_second(measured.cpu_nanoseconds()? - cpu, SETTLING);

    let before = measured.memory_bytes()?;
    let mut driver = Driver::start()?;
    driver.connect(&server, Crowd::of(options.idle)).await?;
    tokio::time::sleep(SETTLING).await;
    let taken = measured.memory_bytes()?.saturating_sub(before) as f64;
    let cpu = measured.cpu_nanoseconds()?;
    tokio::time::sleep(window).await;
    let used = per_second(measured.cpu_nanoseconds()? - cpu, window);
    // An event for all, to know that all are still there.
    driver.run(1, 1).await?;
    driver.stop().await?;
    server.stop().await?;
    Ok(Idle {
        contender,
        connections: options.idle,
        kilobytes_per_connection: taken / 1_024.0 / options.idle as f64,
        microseconds: (used - empty_microseconds).max(0.0) / options.idle as f64,
        empty_microseconds,
    })
}
