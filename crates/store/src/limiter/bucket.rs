//! One bucket: what was spent of a limit by whoever it is counted for.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use nuncio_model::gcra::{Spent, Tick};
use nuncio_model::rate_limit::network_of;

use super::Spender;
use crate::Rule;

/// Whoever a limit is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whom<'a> {
    /// All together.
    All,
    /// An address, or a network of IPv6.
    Network(IpAddr),
    /// A key, a subject or a namespace.
    Name(&'a str),
    /// A connection of this node.
    Connection(u64),
    /// All those for whom there is no room.
    Crowd,
}

impl<'a> Whom<'a> {
    /// Whoever this limit is counted for; nobody where it does not concern them. Namespaces are named apart.
    pub(super) fn of(rule: &'a Rule, spender: &Spender<'a>) -> Option<Self> {
        use nuncio_model::Scope;
        let named = |name: Option<&'a str>| name.filter(|name| rule.is_for(name)).map(Self::Name);
        match rule.scope {
            Scope::Project => Some(Self::All),
            Scope::Ip => spender.address.map(|address| Self::Network(network_of(address))),
            Scope::Key => named(spender.key),
            Scope::Subject => named(spender.subject),
            Scope::Connection => spender.connection.map(Self::Connection),
            Scope::Namespace => None,
        }
    }
}

/// Whoever a bucket is for, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    All,
    Network(IpAddr),
    Name(Box<str>),
    Connection(u64),
    Crowd,
}

/// What names a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) rule: i64,
    pub(super) version: i64,
    pub(super) whom: Whom<'a>,
}

impl Key<'_> {
    pub(super) fn hash(&self, state: &RandomState) -> u64 {
        state.hash_one(self)
    }

    /// What all nodes call it. The parts have a length of their own or come last, so that no two are written alike.
    fn name(&self) -> [u8; 16] {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.rule.to_le_bytes()).update(&self.version.to_le_bytes());
        match self.whom {
            Whom::All => hash.update(b"a"),
            Whom::Network(IpAddr::V4(v4)) => hash.update(b"4").update(&v4.octets()),
            Whom::Network(IpAddr::V6(v6)) => hash.update(b"6").update(&v6.octets()),
            Whom::Name(name) => hash.update(b"n").update(name.as_bytes()),
            Whom::Connection(number) => hash.update(b"c").update(&number.to_le_bytes()),
            Whom::Crowd => hash.update(b"x"),
        };
        let mut name = [0; 16];
        hash.finalize_xof().fill(&mut name);
        name
    }
}

/// A bucket of this node.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) hash: u64,
    rule: i64,
    version: i64,
    owner: Owner,
    /// What all nodes call it; none of those of connections, which are on this node alone.
    pub(super) name: Option<[u8; 16]>,
    /// What all nodes together were last known to have spent.
    known: Tick,
    /// What is being reported.
    reported: Option<Spent>,
    /// What was spent since.
    spent: Spent,
    /// Whether it stands on the list of what is to be reported.
    pub(super) touched: bool,
}

impl Bucket {
    pub(super) fn new(key: &Key<'_>, hash: u64, is_shared: bool) -> Self {
        let owner = match key.whom {
            Whom::All => Owner::All,
            Whom::Network(address) => Owner::Network(address),
            Whom::Name(name) => Owner::Name(name.into()),
            Whom::Connection(number) => Owner::Connection(number),
            Whom::Crowd => Owner::Crowd,
        };
        let name = is_shared.then(|| key.name());
        let (known, reported, spent) = (Tick::default(), None, Spent::default());
        Self {
            hash,
            rule: key.rule,
            version: key.version,
            owner,
            name,
            known,
            reported,
            spent,
            touched: false,
        }
    }

    pub(super) fn is(&self, key: &Key<'_>) -> bool {
        let same = match (&self.owner, key.whom) {
            (Owner::All, Whom::All) | (Owner::Crowd, Whom::Crowd) => true,
            (Owner::Network(mine), Whom::Network(address)) => *mine == address,
            (Owner::Name(mine), Whom::Name(name)) => **mine == *name,
            (Owner::Connection(mine), Whom::Connection(number)) => *mine == number,
            _ => false,
        };
        same && self.rule == key.rule && self.version == key.version
    }

    /// Its theoretical arrival time, as far as this node knows.
    pub(super) fn tat(&self) -> Tick {
        let known = self.reported.map_or(self.known, |reported| reported.apply(self.known));
        self.spent.apply(known)
    }

    pub(super) fn spend(&mut self, now: Tick, worth: Tick) {
        self.spent.add(now, worth);
    }

    /// Whether it is as good as a new one.
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        !self.touched && self.reported.is_none() && self.tat() <= now
    }

    /// What is to be reported now.
    pub(super) fn report(&mut self) -> Spent {
        let spent = std::mem::take(&mut self.spent);
        self.reported = Some(spent);
        self.touched = false;
        spent
    }

    /// The report has arrived, and this is where all nodes together are.
    pub(super) fn learn(&mut self, known: Tick) {
        (self.known, self.reported) = (known, None);
    }

    /// The report has not arrived: it is still to be made.
    pub(super) fn take_back(&mut self) {
        if let Some(reported) = self.reported.take() {
            self.spent = reported.then(self.spent);
        }
    }
}
