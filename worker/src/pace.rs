//! Slowing down: what is over a rate limit of its project or namespace waits, unacknowledged and in its order.
//!
//! Nothing of RabbitMQ is refused or dropped for a limit. Messages are let through one by one for as long as there is room;
//! those behind the first that has to wait stay where they are, and publishers are held up by the queue.

use std::time::Duration;

use nuncio_model::{Limited, Scope};
use nuncio_store::{Limiter, Project, RateLimits, Spender, Spending, Verdict};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::session::{Ended, Session};

/// For how long at most what is held unacknowledged should wait. RabbitMQ closes a channel on which a message waits for
/// half an hour (`consumer_timeout`), and what comes back too often becomes a dead letter.
const MAX_HOLD_SECONDS: f64 = 600.0;
/// The shortest and the longest time until the limits are looked at again: they may have been changed.
const WAITS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// When more may be let through.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    until: Option<Instant>,
}

impl Pace {
    /// How many messages may be settled now, from the front of the batch.
    pub(crate) fn admit(&mut self, limiter: &Limiter, project: &Project, batch: &Batch) -> usize {
        if project.rate_limits.of(Limited::Publish).is_empty() {
            self.until = None;
            return batch.len();
        }
        if self.until.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        self.until = None;
        for number in 0..batch.len() {
            if let Some(wait) = ask(limiter, project, batch, number) {
                self.until = Some(Instant::now() + wait);
                return number;
            }
        }
        batch.len()
    }

    /// Whether something is held back.
    pub(crate) fn is_waiting(&self) -> bool {
        self.until.is_some()
    }

    /// Waits until there may be room.
    pub(crate) async fn wait(&self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }
}

/// Waits until the one message of a batch may be settled; not where told to stop.
pub(crate) async fn wait(session: &Session, single: &Batch, stop: &CancellationToken) -> Result<bool, Ended> {
    loop {
        let Some(wait) = ask(&session.limiter, &*session.settings()?, single, 0) else { return Ok(true) };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Ok(false);
        }
    }
}

/// How many messages to hold unacknowledged, so that none of them waits too long for a limit.
pub(crate) fn prefetch(limits: &RateLimits, most: u16) -> u16 {
    let concerned = limits.of(Limited::Publish).iter();
    let concerned = concerned.filter(|rule| matches!(rule.scope, Scope::Project | Scope::Namespace));
    let slowest = concerned.map(|rule| rule.per_second()).fold(f64::INFINITY, f64::min);
    (slowest * MAX_HOLD_SECONDS).clamp(1.0, f64::from(most)) as u16
}

/// Counts the events of a message, or tells how long to wait before asking again. A message is one thing: with more
/// events than a burst it goes when there is room for a burst, and the rest is a debt.
fn ask(limiter: &Limiter, project: &Project, batch: &Batch, number: usize) -> Option<Duration> {
    let namespaces: Vec<(&str, u64)> = batch.namespaces(number).into_iter().collect();
    let cost = namespaces.iter().map(|(_, count)| count).sum();
    if cost == 0 {
        // It is no event, and becomes a dead letter.
        return None;
    }
    let spending = Spending { on_credit: true, ..Spending::many(Limited::Publish, cost, &namespaces) };
    match limiter.spend(project, &Spender::default(), &spending) {
        Verdict::Free | Verdict::Admitted(_) => None,
        Verdict::Refused(_, wait) => {
            metrics::counter!("nuncio_ingest_slowed_total").increment(1);
            Some(wait.unwrap_or(WAITS.1).clamp(WAITS.0, WAITS.1))
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_model::RateLimitSettings;
    use nuncio_store::Rule;

    use super::*;

    #[test]
    fn no_message_waits_longer_than_rabbitmq_allows() {
        let limits = |scope, limit, period_seconds| {
            let action = Limited::Publish;
            let mut limits = RateLimits::default();
            let settings =
                RateLimitSettings { scope, action, limit, period_seconds, burst: None, target: None };
            limits.add(action, Rule::of(1, 1, settings));
            limits
        };
        assert_eq!(prefetch(&RateLimits::default(), 2_000), 2_000);
        assert_eq!(prefetch(&limits(Scope::Project, 100, 1), 2_000), 2_000);
        assert_eq!(prefetch(&limits(Scope::Project, 1, 1), 2_000), 600);
        assert_eq!(prefetch(&limits(Scope::Namespace, 1, 60), 2_000), 10);
        assert_eq!(prefetch(&limits(Scope::Project, 1, 86_400), 2_000), 1);
        assert_eq!(prefetch(&limits(Scope::Key, 1, 86_400), 2_000), 2_000);
    }
}
