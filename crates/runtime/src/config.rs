//! Configuration: from the environment, and the same keys from a TOML file. The environment wins.
//!
//! All that is wrong is told at once, each with its key.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

/// All settings of a process. There is no `Debug` on purpose: URLs and keys in it are secret.
#[derive(Clone)]
pub struct Config {
    /// `DATABASE_URL`: where PostgreSQL is.
    pub database_url: Option<String>,
    /// `AMQP_URL`: where RabbitMQ is; without one, publishing goes by HTTP and GraphQL only.
    pub amqp_url: Option<String>,
    /// `NUNCIO_LISTEN`: the address for clients.
    pub listen: SocketAddr,
    /// `NUNCIO_OPS_LISTEN`: the address for metrics and health.
    pub ops_listen: SocketAddr,
    /// `NUNCIO_ADMIN_KEY`: a first admin key.
    pub admin_key: Option<String>,
    /// `NUNCIO_SECRET_KEY`: encrypts the secrets that must be read back.
    pub secret_key: Option<String>,
    /// `NUNCIO_LOG`: what is logged, as `tracing` filters say it.
    pub log: String,
    /// `NUNCIO_LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `NUNCIO_CONNECT_SECONDS`: how long a server that is away at the start is waited for.
    pub connect: Duration,
    /// `NUNCIO_DRAIN_SECONDS`: how long an orderly end may take.
    pub drain: Duration,
    /// `NUNCIO_STALLED_SECONDS`: how long a reader that takes nothing at all is kept.
    pub stalled: Duration,
    /// `NUNCIO_REQUEST_SECONDS`: how long a request's head may take, and how far its body may fall behind.
    pub request: Duration,
    /// `NUNCIO_IDLE_SECONDS`: how long a connection is kept between two requests.
    pub idle: Duration,
    /// `NUNCIO_MAX_CONNECTIONS`: the most connections of clients.
    pub max_connections: usize,
    /// `NUNCIO_MAX_CONNECTIONS_PER_ADDRESS`: the most connections of one address.
    pub max_connections_per_address: usize,
    /// `NUNCIO_ADDRESS_REQUESTS_PER_SECOND`: how many requests of one address are taken; with 0, any number.
    pub address_requests_per_second: u32,
    /// `NUNCIO_ADDRESS_BURST`: how many of them at once.
    pub address_burst: u32,
    /// `NUNCIO_TRUSTED_PROXIES`: networks of proxies that are believed whom they were connected by.
    pub trusted_proxies: Vec<IpNet>,
    /// `NUNCIO_ALLOW_PRIVATE_ADDRESSES`: whether addresses that administrators name may lie in this network.
    pub allow_private_addresses: bool,
    /// `NUNCIO_DATABASE_CONNECTIONS`: connections that write and administrate.
    pub database_connections: u32,
    /// `NUNCIO_READ_CONNECTIONS`: connections that read pages of the log.
    pub read_connections: u32,
    /// `NUNCIO_MAX_BODY_BYTES`: the largest request body.
    pub max_body_bytes: usize,
    /// `NUNCIO_AUDIT_DAYS`: how long the audit log is kept; 0 is for good.
    pub audit_days: u32,
    /// `NUNCIO_GRAPHIQL`: whether browsers are shown GraphiQL.
    pub graphiql: bool,
    /// `NUNCIO_INTROSPECTION`: whether the GraphQL schema may be asked for.
    pub introspection: bool,
    /// `NUNCIO_LEGACY_WEBSOCKET`: whether the legacy WebSocket subprotocol `graphql-ws` is spoken.
    pub legacy_websocket: bool,
    /// `NUNCIO_GRAPHQL_BATCH`: the most GraphQL operations in one HTTP request; with 0 there are no batches.
    pub graphql_batch: usize,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json"),
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is wrong:\n{}", .0.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Every key there is.
pub const KEYS: &[&str] = &[
    "DATABASE_URL",
    "AMQP_URL",
    "NUNCIO_LISTEN",
    "NUNCIO_OPS_LISTEN",
    "NUNCIO_ADMIN_KEY",
    "NUNCIO_SECRET_KEY",
    "NUNCIO_LOG",
    "NUNCIO_LOG_FORMAT",
    "NUNCIO_CONNECT_SECONDS",
    "NUNCIO_DRAIN_SECONDS",
    "NUNCIO_STALLED_SECONDS",
    "NUNCIO_REQUEST_SECONDS",
    "NUNCIO_IDLE_SECONDS",
    "NUNCIO_MAX_CONNECTIONS",
    "NUNCIO_MAX_CONNECTIONS_PER_ADDRESS",
    "NUNCIO_ADDRESS_REQUESTS_PER_SECOND",
    "NUNCIO_ADDRESS_BURST",
    "NUNCIO_TRUSTED_PROXIES",
    "NUNCIO_ALLOW_PRIVATE_ADDRESSES",
    "NUNCIO_DATABASE_CONNECTIONS",
    "NUNCIO_READ_CONNECTIONS",
    "NUNCIO_MAX_BODY_BYTES",
    "NUNCIO_AUDIT_DAYS",
    "NUNCIO_GRAPHIQL",
    "NUNCIO_INTROSPECTION",
    "NUNCIO_LEGACY_WEBSOCKET",
    "NUNCIO_GRAPHQL_BATCH",
];

impl Config {
    /// Reads the process's environment and the file, where one is named.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = read_file(file).map_err(|wrong| ConfigError(vec![wrong]))?;
        Self::read(&text, environment)
    }

    /// As [`Self::load`], and also gives what can be read where something is wrong: a key that is wrong is as if it were
    /// not set.
    pub fn examine(file: Option<&Path>) -> (Self, Vec<String>) {
        match read_file(file) {
            Ok(text) => Self::read_all(&text, environment),
            Err(unreadable) => {
                let (config, mut wrong) = Self::read_all("", environment);
                wrong.insert(0, unreadable);
                (config, wrong)
            }
        }
    }

    /// Reads a TOML text, and over it whatever `environment` knows.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn read(toml: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (config, wrong) = Self::read_all(toml, environment);
        if wrong.is_empty() { Ok(config) } else { Err(ConfigError(wrong)) }
    }

    fn read_all(toml: &str, environment: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut reader = Reader { values: BTreeMap::new(), wrong: Vec::new() };
        reader.take_file(toml);
        for &key in KEYS {
            if let Some(value) = environment(key).filter(|value| !value.is_empty()) {
                reader.values.insert(key.to_owned(), value);
            }
        }
        let seconds = |reader: &mut Reader, key, default, least: u64, most| {
            Duration::from_secs(reader.number(key, default, least, most))
        };
        let config = Self {
            database_url: reader.url("DATABASE_URL", &["postgres://", "postgresql://"]),
            amqp_url: reader.url("AMQP_URL", &["amqp://", "amqps://"]),
            listen: reader.parsed(
                "NUNCIO_LISTEN",
                "127.0.0.1:8080",
                "must be an address like 127.0.0.1:8080",
            ),
            ops_listen: reader.parsed(
                "NUNCIO_OPS_LISTEN",
                "127.0.0.1:9090",
                "must be an address like 127.0.0.1:9090",
            ),
            admin_key: reader.admin_key("NUNCIO_ADMIN_KEY"),
            secret_key: reader.secret("NUNCIO_SECRET_KEY", 32),
            log: reader.filter("NUNCIO_LOG", "info"),
            log_format: reader.parsed("NUNCIO_LOG_FORMAT", "text", "must be text or json"),
            connect: seconds(&mut reader, "NUNCIO_CONNECT_SECONDS", 60, 0, 3_600),
            drain: seconds(&mut reader, "NUNCIO_DRAIN_SECONDS", 20, 1, 3_600),
            stalled: seconds(&mut reader, "NUNCIO_STALLED_SECONDS", 60, 1, 86_400),
            request: seconds(&mut reader, "NUNCIO_REQUEST_SECONDS", 30, 1, 3_600),
            idle: seconds(&mut reader, "NUNCIO_IDLE_SECONDS", 75, 1, 86_400),
            max_connections: reader.number("NUNCIO_MAX_CONNECTIONS", 100_000, 1, 10_000_000),
            max_connections_per_address: reader.number(
                "NUNCIO_MAX_CONNECTIONS_PER_ADDRESS",
                20_000,
                1,
                10_000_000,
            ),
            address_requests_per_second: reader.number(
                "NUNCIO_ADDRESS_REQUESTS_PER_SECOND",
                2_000,
                0,
                1_000_000,
            ),
            address_burst: reader.number("NUNCIO_ADDRESS_BURST", 20_000, 1, 1_000_000),
            trusted_proxies: reader.networks("NUNCIO_TRUSTED_PROXIES"),
            allow_private_addresses: reader.parsed(
                "NUNCIO_ALLOW_PRIVATE_ADDRESSES",
                "false",
                "must be true or false",
            ),
            database_connections: reader.number("NUNCIO_DATABASE_CONNECTIONS", 8, 2, 1_000),
            read_connections: reader.number("NUNCIO_READ_CONNECTIONS", 4, 1, 1_000),
            max_body_bytes: reader.number("NUNCIO_MAX_BODY_BYTES", 24 << 20, 1_024, 1 << 30),
            audit_days: reader.number("NUNCIO_AUDIT_DAYS", 365, 0, 36_500),
            graphiql: reader.parsed("NUNCIO_GRAPHIQL", "true", "must be true or false"),
            introspection: reader.parsed("NUNCIO_INTROSPECTION", "true", "must be true or false"),
            legacy_websocket: reader.parsed("NUNCIO_LEGACY_WEBSOCKET", "true", "must be true or false"),
            graphql_batch: reader.number("NUNCIO_GRAPHQL_BATCH", 0, 0, 10),
        };
        (config, reader.wrong)
    }
}

fn environment(key: &str) -> Option<String> {
    std::env::var(key).ok()
}

/// The text of the configuration file; nothing where none is named.
fn read_file(file: Option<&Path>) -> Result<String, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("--config {}: {error}", path.display()))
    };
    file.map_or(Ok(String::new()), read)
}

/// Reads one key after the other and gathers what is wrong.
struct Reader {
    values: BTreeMap<String, String>,
    wrong: Vec<String>,
}

impl Reader {
    fn take_file(&mut self, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                return self.wrong.push(format!("the configuration file is not TOML: {}", error.message()));
            }
        };
        for (key, value) in table {
            if !KEYS.contains(&key.as_str()) {
                self.wrong
                    .push(format!("{key} is no key of the configuration file; see docs/configuration.md"));
                continue;
            }
            match value {
                toml::Value::String(text) => drop(self.values.insert(key, text)),
                toml::Value::Integer(_) | toml::Value::Boolean(_) => {
                    drop(self.values.insert(key, value.to_string()))
                }
                _ => self.wrong.push(format!("{key} must be a text, a whole number, true or false")),
            }
        }
    }

    fn parsed<T: FromStr>(&mut self, key: &str, default: &str, message: &str) -> T {
        let text = self.values.get(key).map_or(default, String::as_str);
        text.parse().unwrap_or_else(|_| {
            self.wrong.push(format!("{key} {message}"));
            default.parse().unwrap_or_else(|_| unreachable!("the default of {key} is one"))
        })
    }

    fn number<T: Copy + FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        key: &str,
        default: T,
        least: T,
        most: T,
    ) -> T {
        let Some(text) = self.values.get(key) else { return default };
        match text.parse::<T>() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.wrong.push(format!("{key} must be a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn url(&mut self, key: &str, schemes: &[&str]) -> Option<String> {
        let url = self.values.get(key)?.clone();
        if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            self.wrong.push(format!("{key} must begin with {}", schemes.join(" or ")));
            return None;
        }
        Some(url)
    }

    /// The form is that of the keys that Nuncio makes itself: the store takes no other.
    fn admin_key(&mut self, key: &str) -> Option<String> {
        let text = self.values.get(key)?.clone();
        if !text.starts_with("na_") || !(40..=200).contains(&text.len()) || !text.is_ascii() {
            self.wrong.push(format!("{key} must begin with na_ and have 40 to 200 ASCII characters"));
            return None;
        }
        Some(text)
    }

    /// Networks (10.0.0.0/8) and single addresses, with commas between them.
    fn networks(&mut self, key: &str) -> Vec<IpNet> {
        let text = self.values.get(key).map_or("", String::as_str);
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let network = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).ok();
        let networks: Option<Vec<IpNet>> = items.map(network).collect();
        networks.unwrap_or_else(|| {
            self.wrong.push(format!("{key} must be networks like 10.0.0.0/8, with commas between them"));
            Vec::new()
        })
    }

    fn filter(&mut self, key: &str, default: &str) -> String {
        let text = self.values.get(key).map_or(default, String::as_str).to_owned();
        if let Err(error) = EnvFilter::try_new(&text) {
            self.wrong.push(format!("{key} is no filter for the log: {error}"));
        }
        text
    }

    fn secret(&mut self, key: &str, least: usize) -> Option<String> {
        let text = self.values.get(key)?.clone();
        if text.len() < least {
            self.wrong
                .push(format!("{key} must have at least {least} characters, and they should be random"));
            return None;
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let known: BTreeMap<&str, &str> = environment.iter().copied().collect();
        Config::read(toml, |key| known.get(key).map(|value| (*value).to_owned()))
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let config = read("", &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.ops_listen.to_string(), "127.0.0.1:9090");
        assert_eq!((config.drain.as_secs(), config.stalled.as_secs()), (20, 60));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = read(
            "NUNCIO_READ_CONNECTIONS = 10\nNUNCIO_GRAPHIQL = false",
            &[("NUNCIO_READ_CONNECTIONS", "20"), ("NUNCIO_LEGACY_WEBSOCKET", "false")],
        );
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.read_connections, config.graphiql), (20, false));
        assert!(!config.legacy_websocket && config.introspection);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_with_its_key() {
        let environment = [
            ("DATABASE_URL", "mysql://x"),
            ("NUNCIO_LISTEN", "8080"),
            ("NUNCIO_DRAIN_SECONDS", "-1"),
            ("NUNCIO_LOG_FORMAT", "xml"),
            ("NUNCIO_SECRET_KEY", "short"),
            ("NUNCIO_ADMIN_KEY", "short"),
            ("NUNCIO_LOG", "nuncio=loud"),
            ("NUNCIO_TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.0/33"),
        ];
        let Err(error) = read("NUNCIO_TYPO = 1\nNUNCIO_MAX_BODY_BYTES = [1]", &environment) else {
            panic!("all is wrong")
        };
        let text = error.to_string();
        for (key, _) in environment {
            assert!(text.contains(key), "{text}");
        }
        assert!(text.contains("NUNCIO_TYPO") && text.contains("NUNCIO_MAX_BODY_BYTES"), "{text}");
        assert!(!text.contains("short"), "a secret is not repeated: {text}");
    }
}
