//! Rate limits, decided at once from what this node knows.
//!
//! ```text
//! Limiter ─ a project's Buckets (one lock) ─ Bucket: what all had spent, what is being reported, what was spent since
//!    └ report: every 100 ms what was spent goes to the database, and comes back as what all nodes have spent
//! ```
//!
//! A request asks nobody: it is judged by what all nodes were known to have spent, and what this one has spent since. So
//! for one interval of the reports two nodes may both let through what there was room for once; what that was too much is
//! a debt, which the next ones wait for. In the long run the sum is exact, and over ten periods it is at most ten limits,
//! a burst, and what the other nodes let through in one interval. While the database is away each node goes on alone.

mod bucket;
mod buckets;
mod report;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nuncio_model::gcra::Tick;
use nuncio_model::{Limited, ProjectId};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::{Project, RateLimits, Rule};
use buckets::Buckets;

/// The rate limits of a node. Cheap to clone; one for all of a process, so that its parts count together.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// When tick 0 was.
    origin: Instant,
    projects: RwLock<HashMap<ProjectId, Arc<Mutex<Buckets>>>>,
    /// Held by whoever reports: a bucket is in one report at a time.
    sharing: tokio::sync::Mutex<()>,
}

/// Whoever does something; what is not known of them is not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spender<'a> {
    /// Where they are.
    pub address: Option<IpAddr>,
    /// The prefix of their API key.
    pub key: Option<&'a str>,
    /// The user.
    pub subject: Option<&'a str>,
    /// A number that their connection alone has on this node.
    pub connection: Option<u64>,
}

/// What they do.
#[derive(Clone, Copy, Debug)]
pub struct Spending<'a> {
    /// What is counted.
    pub action: Limited,
    /// How many of it.
    pub cost: u64,
    /// How many of those in each namespace.
    pub namespaces: &'a [(&'a str, u64)],
    /// Whether it may go on where there is room for a burst, even if it is more: for what can be neither refused nor split.
    pub on_credit: bool,
}

impl<'a> Spending<'a> {
    /// One of something that concerns no channel.
    pub fn one(action: Limited) -> Self {
        Self { action, cost: 1, namespaces: &[], on_credit: false }
    }

    /// So many in these namespaces.
    pub fn many(action: Limited, cost: u64, namespaces: &'a [(&'a str, u64)]) -> Self {
        Self { action, cost, namespaces, on_credit: false }
    }
}

/// How it stands with a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub rule: Arc<Rule>,
    /// How many more there may be now.
    pub remaining: u64,
    /// After what time a whole burst may be spent again.
    pub full_after: Duration,
}

/// Whether something may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no limit on it.
    Free,
    /// It may, and has been counted; this is the limit that is nearest.
    Admitted(Standing),
    /// It may not, and nothing was counted: the limit that is to blame, and how long to wait. None where waiting does not
    /// help, since it is more than a burst.
    Refused(Standing, Option<Duration>),
}

impl Default for Limiter {
    fn default() -> Self {
        let (projects, sharing) = (RwLock::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { origin: Instant::now(), projects, sharing }))
    }
}

impl Limiter {
    /// Counts something against all limits of a project that concern it, or against none.
    pub fn spend(&self, project: &Project, spender: &Spender<'_>, spending: &Spending<'_>) -> Verdict {
        self.spend_of(project.id, &project.rate_limits, spender, spending)
    }

    /// As [`Self::spend`], where the limits are known.
    pub fn spend_of(
        &self,
        project: ProjectId,
        limits: &RateLimits,
        spender: &Spender<'_>,
        spending: &Spending<'_>,
    ) -> Verdict {
        let rules = limits.of(spending.action);
        if rules.is_empty() {
            return Verdict::Free;
        }
        let buckets = self.buckets(project);
        let now = self.now();
        buckets.lock().spend(rules, spender, spending, now)
    }

    fn buckets(&self, project: ProjectId) -> Arc<Mutex<Buckets>> {
        if let Some(buckets) = self.0.projects.read().get(&project) {
            return buckets.clone();
        }
        self.0.projects.write().entry(project).or_default().clone()
    }

    /// The time, since this limiter was made.
    fn now(&self) -> Tick {
        let nanos = self.0.origin.elapsed().as_nanos();
        Tick::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
