//! This machine: its limits, and the addresses that a node would listen on.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nuncio_runtime::Config;
use tokio::net::TcpListener;

use super::Finding::{self, Good, Hint, Mend};
use super::Report;

/// How many files a node has open beside its connections, at most: pools, brokers, listeners, its own.
const OTHER_FILES: u64 = 2_064;
/// Below this, clients that come all at once are not even seen.
const SHORT_BACKLOG: u64 = 1_024;
/// How long whoever listens already has to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn check(report: &mut Report, config: &Config) {
    report.line("open files", open_files(config));
    report.line("backlog", backlog());
    if config.listen == config.ops_listen && config.listen.port() != 0 {
        let mend = "NUNCIO_LISTEN and NUNCIO_OPS_LISTEN are the same address: give each a port of its own";
        report.line("listen", Mend(mend.to_owned()));
    }
    report.line("listen", address(config.listen, "/admin/openapi.json", "\"Nuncio\"").await);
    report.line("ops listen", address(config.ops_listen, "/health/live", "live\n").await);
    exposure(report, config);
}

fn open_files(config: &Config) -> Finding {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft: Option<&str> =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let need = config.max_connections as u64 + OTHER_FILES;
    match soft {
        None => Good("not known on this system".to_owned()),
        Some("unlimited") => Good("unlimited".to_owned()),
        Some(text) => match text.parse::<u64>() {
            Ok(soft) if soft < need => Mend(format!(
                "only {soft} for NUNCIO_MAX_CONNECTIONS = {}: raise `ulimit -n` (LimitNOFILE) to {need} or more, or lower \
                 NUNCIO_MAX_CONNECTIONS",
                config.max_connections
            )),
            _ => Good(format!("{text}, enough for NUNCIO_MAX_CONNECTIONS = {}", config.max_connections)),
        },
    }
}

fn backlog() -> Finding {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    match text.trim().parse::<u64>() {
        Ok(few) if few < SHORT_BACKLOG => Hint(format!(
            "net.core.somaxconn is {few}: where thousands reconnect at once, raise it to 4096 (`sysctl -w`)"
        )),
        Ok(enough) => Good(format!("net.core.somaxconn is {enough}")),
        Err(_) => Good("not known on this system".to_owned()),
    }
}

/// Whether the address is free, or served by Nuncio already.
async fn address(address: SocketAddr, path: &str, mark: &str) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Good(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if is_served(address, path, mark).await {
                Good(format!("{address} is served by Nuncio"))
            } else {
                Mend(format!("{address} is taken by another program: stop that, or choose another port"))
            }
        }
        Err(error) => Mend(format!("{address} cannot be listened on: {error}")),
    }
}

async fn is_served(address: SocketAddr, path: &str, mark: &str) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}{path}", SocketAddr::new(ip, address.port()));
    let answer = async { reqwest::get(url).await.ok()?.text().await.ok() };
    let text = tokio::time::timeout(PATIENCE, answer).await.ok().flatten();
    text.is_some_and(|text| text.contains(mark))
}

/// What others can reach, and see on the way.
fn exposure(report: &mut Report, config: &Config) {
    if !config.listen.ip().is_loopback() {
        let hint = "NUNCIO_LISTEN is reached from other machines and speaks plain HTTP: put a proxy with TLS before it";
        report.line("exposure", Hint(hint.to_owned()));
        if config.trusted_proxies.is_empty() {
            let hint = "NUNCIO_TRUSTED_PROXIES is not set: behind a proxy all clients have the proxy's address, and share its limits";
            report.line("proxies", Hint(hint.to_owned()));
        }
    }
    if !config.ops_listen.ip().is_loopback() {
        let hint = "NUNCIO_OPS_LISTEN is reached from other machines and asks for no credentials: keep it on the inside";
        report.line("exposure", Hint(hint.to_owned()));
    }
}
