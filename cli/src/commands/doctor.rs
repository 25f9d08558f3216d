//! `nuncio doctor`: checks what Nuncio needs, and says what to mend.

use std::path::Path;

use nuncio_broker::Broker;
use nuncio_model::{Clock, Secret};
use nuncio_runtime::Config;
use nuncio_store::Store;

use crate::app;
use crate::exit::{Failure, chain};

/// How far the clocks of this machine and of the database may be apart; tokens are judged by the one, leases by the other.
const MOST_CLOCK_SECONDS: i64 = 5;

/// Below this a node runs out of sockets before it runs out of anything else.
const FEW_FILES: u64 = 10_000;

/// One line for each thing that was looked at.
#[derive(Default)]
struct Report {
    bad: usize,
}

impl Report {
    #[expect(clippy::print_stdout, reason = "the report is what the command is for")]
    fn line(&mut self, what: &str, found: Result<String, String>) {
        match found {
            Ok(good) => println!("ok    {what}: {good}"),
            Err(mend) => {
                self.bad += 1;
                println!("MEND  {what}: {mend}");
            }
        }
    }
}

pub(crate) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let mut report = Report::default();
    let config = Config::load(file)?;
    report.line("configuration", Ok("every key can be read".to_owned()));
    check_secrets(&mut report, &config);
    check_database(&mut report, &config).await;
    check_broker(&mut report, &config).await;
    check_files(&mut report);
    match report.bad {
        0 => Ok(()),
        n => Err(Failure::Other(format!("{n} thing(s) to mend"))),
    }
}

fn check_secrets(report: &mut Report, config: &Config) {
    let found = match config.secret_key {
        Some(_) => Ok("NUNCIO_SECRET_KEY is set".to_owned()),
        None => {
            Err("NUNCIO_SECRET_KEY is not set: tokens cannot be checked; `openssl rand -hex 32` makes one"
                .to_owned())
        }
    };
    report.line("secrets", found);
}

async fn check_database(report: &mut Report, config: &Config) {
    let store = match app::store_options(config) {
        Ok(options) => Store::connect(&options).await.map_err(|error| chain(&error)),
        Err(_) => Err("DATABASE_URL is not set".to_owned()),
    };
    let store = match store {
        Ok(store) => store,
        Err(mend) => return report.line("database", Err(mend)),
    };
    let server = match store.inspect().await {
        Ok(server) => server,
        Err(error) => return report.line("database", Err(chain(&error))),
    };
    let found = match server.version_number {
        150_000.. => Ok(format!("PostgreSQL {}", server.version)),
        _ => Err(format!("PostgreSQL {} is too old: 15 is the oldest that is supported", server.version)),
    };
    report.line("database", found);
    let found = if server.fsync && server.synchronous_commit {
        Ok("what is committed survives a crash".to_owned())
    } else {
        Err("fsync or synchronous_commit is off: events that were confirmed can be lost".to_owned())
    };
    report.line("durability", found);
    let found = match store.is_migrated().await {
        Ok(true) => Ok("up to date".to_owned()),
        Ok(false) => Err("run `nuncio migrate`".to_owned()),
        Err(error) => Err(chain(&error)),
    };
    report.line("schema", found);
    let apart = (Clock::system().now() - server.now).num_seconds().abs();
    let found = match apart {
        0..=MOST_CLOCK_SECONDS => Ok("agrees with the database's".to_owned()),
        _ => Err(format!("{apart} s away from the database's: run an NTP client on both machines")),
    };
    report.line("clock", found);
}

async fn check_broker(report: &mut Report, config: &Config) {
    let Some(url) = &config.amqp_url else {
        return report
            .line("broker", Ok("AMQP_URL is not set: publishing goes by HTTP and GraphQL only".to_owned()));
    };
    let found = match Broker::new(Secret::new(url.clone()), "nuncio").connect("doctor").await {
        Ok(link) => {
            link.close().await;
            Ok("RabbitMQ answers".to_owned())
        }
        Err(error) => Err(chain(&error)),
    };
    report.line("broker", found);
}

fn check_files(report: &mut Report) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    let found = match soft {
        None => Ok("not known on this system".to_owned()),
        Some(FEW_FILES..) => Ok("enough for many connections".to_owned()),
        Some(few) => Err(format!("only {few} open files: raise `ulimit -n` (LimitNOFILE) to 100000 or more")),
    };
    report.line("open files", found);
}
