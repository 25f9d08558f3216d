//! The database: whether it is there, keeps what it is given, has room, and holds what is needed to begin.

use nuncio_model::Clock;
use nuncio_runtime::Config;
use nuncio_store::{Capacity, Contents, Directory, Sealed, ServerReport, Store};

use super::Finding::{self, Good, Hint, Mend};
use super::Report;
use crate::app;
use crate::exit::chain;

/// How far the clocks of this machine and of the database may be apart; tokens are judged by the one, leases by the other.
const MOST_CLOCK_SECONDS: i64 = 5;
/// The oldest version that is supported, as the server numbers it.
const OLDEST: i32 = 150_000;

pub(super) async fn check(report: &mut Report, config: &Config) {
    let store = match app::store_options(config) {
        Ok(options) => Store::connect(&options).await.map_err(|error| chain(&error)),
        Err(_) => Err("DATABASE_URL is not set, or is none".to_owned()),
    };
    let store = match store {
        Ok(store) => store,
        Err(mend) => return report.line("database", Mend(mend)),
    };
    server(report, &store).await;
    match store.capacity().await {
        Ok(capacity) => room(report, config, &capacity),
        Err(error) => report.line("database connections", Mend(chain(&error))),
    }
    let migrated = store.is_migrated().await;
    let found = match &migrated {
        Ok(true) => Good("up to date".to_owned()),
        Ok(false) => Mend("run `nuncio migrate`".to_owned()),
        Err(error) => Mend(chain(error)),
    };
    report.line("schema", found);
    // Before the schema is there, there is nothing to look into.
    if matches!(migrated, Ok(true)) {
        contents(report, config, &store).await;
    }
    store.close().await;
}

async fn server(report: &mut Report, store: &Store) {
    let server = match store.inspect().await {
        Ok(server) => server,
        Err(error) => return report.line("database", Mend(chain(&error))),
    };
    let ServerReport { version, version_number, fsync, synchronous_commit, now } = server;
    let found = match version_number {
        OLDEST.. => Good(format!("PostgreSQL {version}")),
        _ => Mend(format!("PostgreSQL {version} is too old: 15 is the oldest that is supported")),
    };
    report.line("database", found);
    let found = if fsync && synchronous_commit {
        Good("what is committed survives a crash".to_owned())
    } else {
        Mend("fsync or synchronous_commit is off: events that were confirmed can be lost".to_owned())
    };
    report.line("durability", found);
    let apart = (Clock::system().now() - now).num_seconds().abs();
    let found = match apart {
        0..=MOST_CLOCK_SECONDS => Good("agrees with the database's; time zones do not matter".to_owned()),
        _ => Mend(format!("{apart} s away from the database's: run an NTP client on both machines")),
    };
    report.line("clock", found);
}

/// Each node holds two pools, and one connection more for a moment at its start.
fn room(report: &mut Report, config: &Config, capacity: &Capacity) {
    let Capacity { standby, connections, free, may_create } = capacity;
    if *standby {
        let mend = "this is a standby, which takes no writes: DATABASE_URL must name the primary";
        return report.line("primary", Mend(mend.to_owned()));
    }
    let need = config.database_connections + config.read_connections + 1;
    let found = if i64::from(*free) >= i64::from(need) {
        Good(format!("{free} of {connections} are free; a node needs up to {need}"))
    } else {
        Mend(format!(
            "{free} of {connections} are free and a node needs up to {need}: raise max_connections, or lower \
             NUNCIO_DATABASE_CONNECTIONS and NUNCIO_READ_CONNECTIONS"
        ))
    };
    report.line("database connections", found);
    if !may_create {
        let mend = "the user may not make tables, as partitions are: `grant create on schema public to …`, or let it own the database";
        report.line("database rights", Mend(mend.to_owned()));
    }
}

async fn contents(report: &mut Report, config: &Config, store: &Store) {
    match store.contents().await {
        Ok(Contents { owns_tables, owners }) => {
            if !owns_tables {
                let mend = "the user does not own the tables, and cannot drop partitions: `reassign owned by … to …`";
                report.line("database rights", Mend(mend.to_owned()));
            }
            report.line("admin keys", admin_keys(config, owners));
        }
        Err(error) => report.line("admin keys", Mend(chain(&error))),
    }
    let found = match store.sealed_keys().await {
        Ok(Sealed { all, unreadable: 0 }) => Good(format!("all {all} secrets can be decrypted")),
        Ok(Sealed { all, unreadable }) => Mend(format!(
            "{unreadable} of {all} secrets cannot be decrypted: NUNCIO_SECRET_KEY is not the one they were stored with; \
             set that one, or make those keys anew"
        )),
        Err(error) => Mend(chain(&error)),
    };
    report.line("signing keys", found);
    settings(report, store).await;
}

/// Names what closes projects.
async fn settings(report: &mut Report, store: &Store) {
    let directory = match Directory::load(store.clone()).await {
        Ok(directory) => directory,
        Err(error) => return report.line("settings", Mend(chain(&error))),
    };
    let snapshot = directory.snapshot();
    for (id, closed) in snapshot.all_closed() {
        let name = closed.name.as_ref().map_or_else(|| id.0.to_string(), ToString::to_string);
        let rows: Vec<&str> = closed.unreadable.iter().map(String::as_str).collect();
        let mend =
            format!("project {name} is closed until these can be read or are deleted: {}", rows.join("; "));
        report.line("settings", Mend(mend));
    }
    if snapshot.all_closed().next().is_none() {
        report.line("settings", Good("those of all projects can be read".to_owned()));
    }
}

fn admin_keys(config: &Config, owners: i64) -> Finding {
    match (owners, &config.admin_key) {
        (0, Some(_)) => Hint(
            "there is none with the role owner yet; NUNCIO_ADMIN_KEY is made at the first start".to_owned(),
        ),
        (0, None) => Mend(
            "there is none with the role owner in force: `nuncio admin-key create --name NAME`".to_owned(),
        ),
        (owners, _) => Good(format!("{owners} with the role owner in force")),
    }
}
