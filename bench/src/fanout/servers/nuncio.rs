//! Nuncio itself: the node under measurement fans out, another one takes what is published, as in a deployment of
//! several nodes. So the figures are those of fanning out, as with the peers, and not of storing.

use super::{Contender, Server, free_address, graphql, spawn};
use crate::Result;
use crate::fanout::driver::{Dialect, Outlet};
use crate::setting::{Setting, Tenant};

/// How many different operations there are among the subscribers of [`Contender::Mixed`].
const OPERATIONS: usize = 50;

pub(super) async fn start(setting: &Setting, contender: Contender) -> Result<Server> {
    let tenant = setting.tenant(&setting.fresh_name("fanout")).await?;
    let (address, mut children) = (free_address()?, Vec::new());
    let publishing = if contender == Contender::All {
        children.push(spawn(&mut node(setting, &tenant, "all", &address)?)?);
        address.clone()
    } else {
        let other = free_address()?;
        children.push(spawn(&mut node(setting, &tenant, "api", &address)?)?);
        children.push(spawn(&mut node(setting, &tenant, "api", &other)?)?);
        other
    };
    let token = tenant.key.expose().to_owned();
    let dialect = match contender {
        Contender::Sse => {
            Dialect::Sse { path: "/v1/channels/bench.one/events".to_owned(), token: token.clone() }
        }
        Contender::Mixed => graphql(Some(token.clone()), (0..OPERATIONS).map(operation).collect()),
        _ => graphql(Some(token.clone()), vec![operation(0)]),
    };
    let path = "/v1/channels/bench.one/events".to_owned();
    let outlet = Outlet { address: publishing, path, token: Some(token), whole: false, batches: true };
    Ok(Server { children, address, dialect, outlet, database: Some(tenant.database) })
}

fn node(setting: &Setting, tenant: &Tenant, role: &str, address: &str) -> Result<tokio::process::Command> {
    let mut command = tokio::process::Command::new(&setting.binary);
    command
        .arg(role)
        .env("DATABASE_URL", &tenant.database)
        .env("AMQP_URL", setting.amqp_url())
        .env("NUNCIO_LISTEN", address)
        .env("NUNCIO_OPS_LISTEN", free_address()?)
        .env("NUNCIO_CONNECT_SECONDS", "5")
        .env("NUNCIO_DRAIN_SECONDS", "1")
        .env("NUNCIO_LOG", "error");
    Ok(command)
}

/// Operations that differ in what they select and how they call it, but not much in the size of what comes.
fn operation(n: usize) -> String {
    let fields = match n % 5 {
        0 => "id type time data sequence cursor",
        1 => "cursor sequence data time type id",
        2 => "id type time data contentType sequence cursor",
        3 => "id source time data sequence cursor",
        _ => "id channel time data sequence cursor",
    };
    let alias = if n == 0 { String::new() } else { format!(" n{n}: type") };
    format!(
        "subscription ($after: Cursor) {{ events(channel: \"bench.one\", after: $after) {{ {fields}{alias} }} }}"
    )
}
