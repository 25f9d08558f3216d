//! Rate limits: who may do what how often.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::gcra::Quota;

/// The most of `limit` and of `burst`.
pub const MAX_LIMIT: i64 = 1_000_000_000;
/// The longest period: a day, in seconds.
pub const MAX_PERIOD_SECONDS: i64 = 86_400;
/// How many times `limit` a burst may be at most.
pub const MAX_BURST_PERIODS: i64 = 10;
/// The longest target, in bytes.
pub const MAX_TARGET_BYTES: usize = 1_024;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All that comes from one address; of IPv6, from one /64.
    Ip,
    /// All that is done with one API key.
    Key,
    /// All that one user (a token's `sub`) does.
    Subject,
    /// All that is done over one WebSocket or stream.
    Connection,
    /// All that is done to the channels of one namespace.
    Namespace,
    /// All that is done in the project.
    Project,
}

impl Scope {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Key => "key",
            Self::Subject => "subject",
            Self::Connection => "connection",
            Self::Namespace => "namespace",
            Self::Project => "project",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limited {
    /// HTTP requests to `/v1` and `/graphql`, each operation of a batch, and queries and mutations over a socket.
    Request,
    /// WebSockets and streams that are opened.
    Connect,
    /// Subscriptions that are started.
    Subscribe,
    /// Events that are published, whichever way.
    Publish,
    /// Signals that are sent.
    Signal,
}

impl Limited {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Signal => "signal",
        }
    }
}

/// A rate limit, as the admin API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitSettings {
    /// What is counted together.
    pub scope: Scope,
    /// What is counted.
    pub action: Limited,
    /// How many there may be in each period.
    pub limit: i64,
    /// The length of a period.
    pub period_seconds: i64,
    /// How many there may be at once; half of the limit where it is null, and at least 1.
    #[serde(default)]
    pub burst: Option<i64>,
    /// The one key (by its prefix), subject or namespace that this is for. Null: each has this limit for itself.
    #[serde(default)]
    pub target: Option<String>,
}

impl RateLimitSettings {
    /// How many there may be at once.
    pub fn burst(&self) -> i64 {
        self.burst.unwrap_or(self.limit / 2).max(1)
    }

    /// The same in the form that is reckoned with.
    pub fn quota(&self) -> Quota {
        let positive = |number: i64| u64::try_from(number).unwrap_or(1);
        Quota::new(positive(self.limit), positive(self.period_seconds), positive(self.burst()))
    }

    /// What is wrong with these settings: one entry per field, by its JSON name.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |field, ok: bool, message: &str| {
            if !ok {
                problems.push((field, message.to_owned()));
            }
        };
        check("limit", (1..=MAX_LIMIT).contains(&self.limit), "must be from 1 to 1000000000");
        let period_ok = (1..=MAX_PERIOD_SECONDS).contains(&self.period_seconds);
        check("periodSeconds", period_ok, "must be from 1 to 86400");
        // So that a debt ends within days, and a limit is still one.
        let most = MAX_LIMIT.min(self.limit.max(1).saturating_mul(MAX_BURST_PERIODS));
        let burst_ok = self.burst.is_none_or(|burst| (1..=most).contains(&burst));
        check("burst", burst_ok, "must be null, or from 1 to 1000000000 and at most ten times the limit");
        let combined = match (self.scope, self.action) {
            (Scope::Namespace, Limited::Request | Limited::Connect) => Some(
                "must be subscribe, publish or signal for namespaces: a request has no channel of its own",
            ),
            (Scope::Connection, Limited::Connect) => {
                Some("must not be connect for connections: each is opened once")
            }
            _ => None,
        };
        check("action", combined.is_none(), combined.unwrap_or_default());
        if let Some(target) = &self.target {
            check("target", self.takes(target), self.target_rule());
        }
        problems
    }

    fn takes(&self, target: &str) -> bool {
        match self.scope {
            Scope::Key => target.starts_with("nk_") && target.len() == 11 && target.is_ascii(),
            Scope::Subject => {
                (1..=MAX_TARGET_BYTES).contains(&target.len()) && !target.chars().any(char::is_control)
            }
            Scope::Namespace => {
                Channel::parse_any(target).is_ok_and(|channel| channel.namespace() == channel.as_str())
            }
            Scope::Ip | Scope::Connection | Scope::Project => false,
        }
    }

    fn target_rule(&self) -> &'static str {
        match self.scope {
            Scope::Key => "must be null or the prefix of an API key: nk_ and 8 letters or digits",
            Scope::Subject => "must be null or a subject of 1 to 1024 bytes",
            Scope::Namespace => "must be null or the name of a namespace",
            Scope::Ip | Scope::Connection | Scope::Project => "must be null for this scope",
        }
    }
}

/// One subscriber of IPv6 has a whole /64: its addresses count as one. An IPv4 address that is written as one of IPv6 is
/// itself.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(scope: Scope, action: Limited) -> RateLimitSettings {
        RateLimitSettings { scope, action, limit: 100, period_seconds: 60, burst: None, target: None }
    }

    #[test]
    fn a_burst_is_half_of_the_limit_and_at_least_one() {
        let mut limit = settings(Scope::Key, Limited::Publish);
        assert_eq!(limit.burst(), 50);
        limit.limit = 1;
        assert_eq!((limit.burst(), limit.problems()), (1, Vec::new()));
        limit.burst = Some(11);
        assert_eq!(limit.problems().len(), 1);
    }

    #[test]
    fn every_wrong_field_is_told() {
        let wrong = RateLimitSettings {
            limit: 0,
            period_seconds: 86_401,
            burst: Some(0),
            target: Some("x".to_owned()),
            ..settings(Scope::Connection, Limited::Connect)
        };
        let fields: Vec<_> = wrong.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["limit", "periodSeconds", "burst", "action", "target"]);
    }

    #[test]
    fn a_target_is_one_of_its_scope() {
        for (scope, target, good) in [
            (Scope::Key, "nk_abcdefgh", true),
            (Scope::Key, "na_abcdefgh", false),
            (Scope::Subject, "user 7", true),
            (Scope::Subject, "", false),
            (Scope::Subject, "a\0", false),
            (Scope::Namespace, "orders", true),
            (Scope::Namespace, "orders.eu", false),
            (Scope::Namespace, "*", false),
            (Scope::Project, "demo", false),
            (Scope::Ip, "10.0.0.1", false),
        ] {
            let limit =
                RateLimitSettings { target: Some(target.to_owned()), ..settings(scope, Limited::Publish) };
            assert_eq!(limit.problems().is_empty(), good, "{scope:?} {target}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let network = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }
}
