//! What a check costs on the way of a request: rights, and rate limits.

use std::hint::black_box;
use std::time::Instant;

use nuncio_model::rights::RightsText;
use nuncio_model::{Action, Channel, Limited, Pattern, ProjectId, RateLimitSettings, Rights, Scope};
use nuncio_store::{Limiter, RateLimits, Rule, Spender, Spending, Verdict};

use crate::Result;

/// How many keys take turns, so that not one bucket stays in the processor's nearest cache.
const KEYS: usize = 1_000;

/// Prints nanoseconds a check, the best of some rounds: what is slower was disturbed.
pub(crate) fn run(checks: usize, rounds: usize) -> Result<()> {
    for count in [1, 10] {
        let rights = rights(count)?;
        let (pattern, channel) = (Pattern::parse("n0.eu.*")?, Channel::parse("n0.eu.1")?);
        let allowed = best(checks, rounds, |_| rights.allow_pattern(Action::Subscribe, &pattern));
        println!("{count:>2} rights: Rights::allow_pattern {allowed:.0} ns");
        let allowed = best(checks, rounds, |_| rights.allow(Action::Publish, &channel));
        println!("{count:>2} rights: Rights::allow         {allowed:.0} ns");
    }
    let names: Vec<String> = (0..KEYS).map(|number| format!("nk_{number:08}")).collect();
    for (count, limit) in [(1, 1_000_000_000), (10, 1_000_000_000), (1, 1), (10, 1)] {
        let (limiter, limits) = (Limiter::default(), limits(count, limit));
        let took = best(checks, rounds, |number| {
            let spender =
                Spender { key: Some(&names[number % KEYS]), subject: Some("ada"), ..Spender::default() };
            let verdict = limiter.spend_of(ProjectId(1), &limits, &spender, &Spending::one(Limited::Publish));
            matches!(verdict, Verdict::Admitted(_)) || limit == 1
        });
        let outcome = if limit == 1 { "refused " } else { "admitted" };
        println!("{count:>2} limits: Limiter::spend, {outcome} {took:.0} ns");
    }
    Ok(())
}

/// Nanoseconds of one check, which must succeed.
fn best(checks: usize, rounds: usize, check: impl Fn(usize) -> bool) -> f64 {
    let round = || {
        let begun = Instant::now();
        let passed = (0..checks).filter(|number| check(black_box(*number))).count();
        assert_eq!(passed, checks, "a check that fails early measures something else");
        begun.elapsed().as_nanos() as f64 / checks as f64
    };
    (0..rounds).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// So many rights, of which the last is the one that is needed.
fn rights(count: usize) -> Result<Rights> {
    let patterns: Vec<String> = (0..count).rev().map(|number| format!("n{number}.#")).collect();
    Ok(Rights::parse(&RightsText {
        subscribe: patterns.clone(),
        publish: patterns,
        ..RightsText::default()
    })?)
}

/// So many limits, half of them by key and half by subject.
fn limits(count: usize, limit: i64) -> RateLimits {
    let mut limits = RateLimits::default();
    let action = Limited::Publish;
    for id in 0..count as i64 {
        let scope = if id % 2 == 0 { Scope::Key } else { Scope::Subject };
        let period_seconds = if limit == 1 { 86_400 } else { 1 };
        let settings = RateLimitSettings { scope, action, limit, period_seconds, burst: None, target: None };
        limits.add(action, Rule::of(id, 1, settings));
    }
    limits
}
