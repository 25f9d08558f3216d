//! The buckets of one project: found by limit and by whom it is counted for, judged together, and forgotten when idle.

use std::hash::RandomState;
use std::sync::Arc;

use hashbrown::HashTable;
use nuncio_model::Scope;
use nuncio_model::gcra::{Answer, Tick};
use slab::Slab;

use super::bucket::{Bucket, Key, Whom};
use super::{Spender, Spending, Standing, Verdict};
use crate::Rule;

/// How many buckets a project may have on a node. Whoever comes when there are so many in use shares one bucket with all
/// others who do, for each limit: to refuse them would let a crowd lock others out, and not to count them would let it in.
pub(super) const MOST: usize = 100_000;
/// How often a look for idle ones may be taken when there are too many.
const CROWDED_LOOK_SECONDS: f64 = 1.0;

#[derive(Debug, Default)]
pub(super) struct Buckets {
    state: RandomState,
    by_key: HashTable<u32>,
    all: Slab<Bucket>,
    /// Those that are to be reported.
    touched: Vec<u32>,
    looked_at: Tick,
}

/// What is asked of one bucket.
struct Claim<'a> {
    rule: &'a Arc<Rule>,
    bucket: u32,
    cost: u64,
}

impl Buckets {
    /// Counts it in all buckets that it concerns, or in none.
    pub(super) fn spend(
        &mut self,
        rules: &[Arc<Rule>],
        spender: &Spender<'_>,
        spending: &Spending<'_>,
        now: Tick,
    ) -> Verdict {
        let claims = self.claims(rules, spender, spending, now);
        let mut refused: Option<(&Claim<'_>, Answer)> = None;
        for claim in &claims {
            let (quota, tat) = (&claim.rule.quota, self.all[claim.bucket as usize].tat());
            let asked = if spending.on_credit { claim.cost.min(quota.burst()) } else { claim.cost };
            let answer = quota.check(tat, now, asked);
            if answer != Answer::Now && refused.is_none_or(|(_, other)| is_longer(answer, other)) {
                refused = Some((claim, answer));
            }
            self.touch(claim.bucket);
        }
        if let Some((claim, answer)) = refused {
            let wait = match answer {
                Answer::After(wait) => Some(std::time::Duration::from_nanos(wait.as_nanos())),
                Answer::Now | Answer::Never => None,
            };
            return Verdict::Refused(self.standing(claim, now), wait);
        }
        for claim in &claims {
            self.all[claim.bucket as usize].spend(now, claim.rule.quota.worth(claim.cost));
        }
        let standings = claims.iter().map(|claim| self.standing(claim, now));
        standings.min_by_key(|standing| standing.remaining).map_or(Verdict::Free, Verdict::Admitted)
    }

    fn claims<'a>(
        &mut self,
        rules: &'a [Arc<Rule>],
        spender: &Spender<'a>,
        spending: &Spending<'a>,
        now: Tick,
    ) -> Vec<Claim<'a>> {
        let mut claims = Vec::with_capacity(rules.len());
        for rule in rules {
            if rule.scope == Scope::Namespace {
                for (name, cost) in spending.namespaces.iter().filter(|(name, _)| rule.is_for(name)) {
                    claims.push(Claim { rule, bucket: self.find(rule, Whom::Name(name), now), cost: *cost });
                }
            } else if let Some(whom) = Whom::of(rule, spender) {
                claims.push(Claim { rule, bucket: self.find(rule, whom, now), cost: spending.cost });
            }
        }
        claims
    }

    fn find(&mut self, rule: &Rule, whom: Whom<'_>, now: Tick) -> u32 {
        let key = Key { rule: rule.id, version: rule.version, whom };
        let hash = key.hash(&self.state);
        if let Some(found) = self.by_key.find(hash, |bucket| self.all[*bucket as usize].is(&key)) {
            return *found;
        }
        if self.all.len() >= MOST && whom != Whom::Crowd {
            if now.since(self.looked_at).as_seconds() >= CROWDED_LOOK_SECONDS {
                self.sweep(now);
            }
            if self.all.len() >= MOST {
                metrics::counter!("nuncio_rate_limit_crowded_total").increment(1);
                return self.find(rule, Whom::Crowd, now);
            }
        }
        let is_shared = rule.scope != Scope::Connection;
        let bucket = self.all.insert(Bucket::new(&key, hash, is_shared)) as u32;
        let all = &self.all;
        self.by_key.insert_unique(hash, bucket, |bucket| all[*bucket as usize].hash);
        bucket
    }

    fn standing(&self, claim: &Claim<'_>, now: Tick) -> Standing {
        let (quota, tat) = (&claim.rule.quota, self.all[claim.bucket as usize].tat());
        Standing {
            rule: claim.rule.clone(),
            remaining: quota.remaining(tat, now),
            full_after: std::time::Duration::from_nanos(quota.full_after(tat, now).as_nanos()),
        }
    }

    fn touch(&mut self, number: u32) {
        let bucket = &mut self.all[number as usize];
        if !bucket.touched && bucket.name.is_some() {
            bucket.touched = true;
            self.touched.push(number);
        }
    }

    /// Forgets those that are as good as new ones.
    pub(super) fn sweep(&mut self, now: Tick) {
        self.looked_at = now;
        let (all, by_key) = (&mut self.all, &mut self.by_key);
        by_key.retain(|bucket| !all[*bucket as usize].is_idle(now));
        all.retain(|_, bucket| !bucket.is_idle(now));
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// What is to be reported now: for each bucket its number, its name, and what was spent of it.
    pub(super) fn report(&mut self) -> Vec<(u32, [u8; 16], nuncio_model::gcra::Spent)> {
        let (touched, all) = (std::mem::take(&mut self.touched), &mut self.all);
        let report = |number: u32| {
            let bucket = all.get_mut(number as usize)?;
            Some((number, bucket.name?, bucket.report()))
        };
        touched.into_iter().filter_map(report).collect()
    }

    /// A report has arrived.
    pub(super) fn learn(&mut self, number: u32, known: Tick) {
        if let Some(bucket) = self.all.get_mut(number as usize) {
            bucket.learn(known);
        }
    }

    /// A report has not arrived.
    pub(super) fn take_back(&mut self, number: u32) {
        if let Some(bucket) = self.all.get_mut(number as usize) {
            bucket.take_back();
            self.touch(number);
        }
    }
}

/// Whether the first answer keeps somebody waiting longer.
fn is_longer(one: Answer, other: Answer) -> bool {
    let rank = |answer| match answer {
        Answer::Now => (0, Tick::default()),
        Answer::After(wait) => (1, wait),
        Answer::Never => (2, Tick::default()),
    };
    rank(one) > rank(other)
}
