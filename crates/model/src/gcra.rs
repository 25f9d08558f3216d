//! The generic cell rate algorithm (ITU-T I.371, annex A): how much may be spent when, told by one time.
//!
//! What is spent moves a *theoretical arrival time* (TAT) on by one interval for each unit, from now on at the earliest.
//! A TAT may lie ahead of now by the intervals of a whole burst and no further. So what is spent within any stretch of
//! time is at most what that stretch is good for, and one burst.
//!
//! Spending is a map `tat → max(tat + sum, floor)`, and so is one spending after another: what a node spent in a while is
//! written down in two times ([`Spent`]), and whoever keeps the shared TAT applies it later as if it had been there.

/// Fractions of a nanosecond in which intervals are counted, so that a billion a second are not rounded to other rates.
const FRACTIONS: u128 = 1_000_000;

/// A time, or a length of time, in fractions of a nanosecond since a moment of the caller's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(i128);

impl Tick {
    /// So many nanoseconds.
    pub fn from_nanos(nanos: u64) -> Self {
        Self((u128::from(nanos) * FRACTIONS) as i128)
    }

    /// From seconds, which may lie before the moment.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e9 * FRACTIONS as f64) as i128)
    }

    /// Seconds, which may be less than none.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / (1e9 * FRACTIONS as f64)
    }

    /// Nanoseconds, rounded up; none where this lies before the moment.
    pub fn as_nanos(self) -> u64 {
        let fractions = u128::try_from(self.0).unwrap_or_default();
        u64::try_from(fractions.div_ceil(FRACTIONS)).unwrap_or(u64::MAX)
    }

    /// The length from `earlier` to this.
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0 - earlier.0)
    }

    /// This and a length.
    pub fn plus(self, length: Self) -> Self {
        Self(self.0 + length.0)
    }
}

/// How fast and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    interval: i128,
    burst: u64,
}

/// Whether something may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may, now.
    Now,
    /// It may after this length of time, if nobody spends anything meanwhile.
    After(Tick),
    /// It is more than a burst, and so never may.
    Never,
}

impl Quota {
    /// `limit` units in each period, and `burst` of them at once. Both are at least 1; the interval is rounded up by less
    /// than a millionth of a nanosecond, so that a limit is never exceeded by rounding.
    pub fn new(limit: u64, period_seconds: u64, burst: u64) -> Self {
        let period = u128::from(period_seconds) * 1_000_000_000 * FRACTIONS;
        let interval = period.div_ceil(u128::from(limit.max(1))) as i128;
        Self { interval, burst: burst.max(1) }
    }

    /// The most that may be spent at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How long so much is worth.
    pub fn worth(&self, cost: u64) -> Tick {
        Tick(self.interval * i128::from(cost))
    }

    /// Whether `cost` may be spent at this time.
    pub fn check(&self, tat: Tick, now: Tick, cost: u64) -> Answer {
        if cost > self.burst {
            return Answer::Never;
        }
        let least = tat.max(now).plus(self.worth(cost)).since(self.worth(self.burst));
        if least <= now { Answer::Now } else { Answer::After(least.since(now)) }
    }

    /// How much may be spent at this time.
    pub fn remaining(&self, tat: Tick, now: Tick) -> u64 {
        let room = now.plus(self.worth(self.burst)).since(tat.max(now));
        u64::try_from(room.0.max(0) / self.interval).unwrap_or(u64::MAX).min(self.burst)
    }

    /// After what length of time a whole burst may be spent again.
    pub fn full_after(&self, tat: Tick, now: Tick) -> Tick {
        tat.max(now).since(now)
    }
}

/// What was spent one after the other: the map `tat → max(tat + sum, floor)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// How long all of it is worth.
    pub sum: Tick,
    /// Where the TAT would be if it had been long past before; none where nothing was spent.
    pub floor: Option<Tick>,
}

impl Spent {
    /// Spends more, at this time.
    pub fn add(&mut self, now: Tick, worth: Tick) {
        self.floor = Some(self.floor.map_or(now, |floor| floor.max(now)).plus(worth));
        self.sum = self.sum.plus(worth);
    }

    /// This, and then what was spent after it.
    pub fn then(self, later: Self) -> Self {
        let moved = self.floor.map(|floor| floor.plus(later.sum));
        Self { sum: self.sum.plus(later.sum), floor: moved.max(later.floor) }
    }

    /// Where it takes a TAT.
    pub fn apply(&self, tat: Tick) -> Tick {
        let moved = tat.plus(self.sum);
        self.floor.map_or(moved, |floor| floor.max(moved))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What a bucket alone lets through of so many attempts, each some time after the one before.
    fn admitted(quota: &Quota, attempts: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let (mut now, mut tat, mut passed) = (0, Tick::default(), Vec::new());
        for (wait, cost) in attempts {
            now += wait;
            let at = Tick::from_nanos(now);
            if quota.check(tat, at, *cost) == Answer::Now {
                tat = tat.max(at).plus(quota.worth(*cost));
                passed.push((now, *cost));
            }
        }
        passed
    }

    fn quotas() -> impl Strategy<Value = (u64, u64, u64)> {
        (1_u64..=1_000_000_000, 1_u64..=86_400).prop_flat_map(|(limit, period)| {
            (Just(limit), Just(period), 1..=limit.saturating_mul(10).min(1_000_000_000))
        })
    }

    proptest! {
        #[test]
        fn ten_periods_have_ten_limits_and_a_burst_at_most(
            limit in 1_u64..50, burst in 1_u64..100, attempts in vec((0_u64..200_000_000, 1_u64..20), 1..400)
        ) {
            let quota = Quota::new(limit, 1, burst);
            let passed = admitted(&quota, &attempts);
            for (start, _) in &passed {
                let within = passed.iter().filter(|(at, _)| (*start..start + 10_000_000_000).contains(at));
                let spent: u64 = within.map(|(_, cost)| cost).sum();
                prop_assert!(spent <= 10 * limit + burst, "{spent}");
            }
        }

        #[test]
        fn a_flood_gets_what_there_is((limit, period, burst) in quotas()) {
            let quota = Quota::new(limit, period, burst);
            let (mut tat, mut spent, ten) = (Tick::default(), 0_u64, period * 10_000_000_000);
            for step in 0..=1_000 {
                let now = Tick::from_nanos(ten / 1_000 * step);
                let cost = quota.remaining(tat, now);
                if cost > 0 {
                    prop_assert_eq!(quota.check(tat, now, cost), Answer::Now);
                    tat = tat.max(now).plus(quota.worth(cost));
                    spent += cost;
                }
            }
            prop_assert!(spent <= 10 * limit + burst, "{spent}");
            // It asks a hundred times in each period; a burst smaller than what comes between is lost.
            let lost = if burst >= limit.div_ceil(100) { limit / 50 + 1 } else { 10 * limit };
            prop_assert!(spent + lost >= 10 * limit, "{spent}");
        }

        #[test]
        fn the_time_to_wait_is_exact((limit, period, burst) in quotas(), ahead in 0_u64..1_000_000_000_000, cost in 1_u64..1_000) {
            let quota = Quota::new(limit, period, burst);
            let (now, tat) = (Tick::from_nanos(5_000_000_000), Tick::from_nanos(5_000_000_000 + ahead));
            match quota.check(tat, now, cost) {
                Answer::Now => prop_assert!(quota.remaining(tat, now) >= cost),
                Answer::Never => prop_assert!(cost > burst),
                Answer::After(wait) => {
                    prop_assert!(quota.remaining(tat, now) < cost);
                    prop_assert_eq!(quota.check(tat, now.plus(wait), cost), Answer::Now);
                    let sooner = now.plus(wait).since(Tick(1));
                    prop_assert_ne!(quota.check(tat, sooner, cost), Answer::Now);
                    // What is told in whole nanoseconds is enough.
                    let told = now.plus(Tick::from_nanos(wait.as_nanos()));
                    prop_assert_eq!(quota.check(tat, told, cost), Answer::Now);
                }
            }
        }

        #[test]
        fn what_was_spent_can_be_applied_later(
            start in 0_u64..10_000, steps in vec((0_u64..1_000, 1_u64..500), 0..20), cut in 0_usize..20
        ) {
            let (mut tat, mut now) = (Tick::from_nanos(start), 0);
            let mut halves = [Spent::default(), Spent::default()];
            for (index, (wait, worth)) in steps.iter().enumerate() {
                now += wait;
                let (at, worth) = (Tick::from_nanos(now), Tick::from_nanos(*worth));
                tat = tat.max(at).plus(worth);
                halves[usize::from(index >= cut)].add(at, worth);
            }
            prop_assert_eq!(halves[0].then(halves[1]).apply(Tick::from_nanos(start)), tat);
            prop_assert_eq!(halves[1].apply(halves[0].apply(Tick::from_nanos(start))), tat);
        }
    }

    #[test]
    fn more_than_a_burst_never_passes() {
        let quota = Quota::new(100, 1, 5);
        assert_eq!(quota.check(Tick::default(), Tick::from_nanos(1), 6), Answer::Never);
        assert_eq!(quota.check(Tick::default(), Tick::from_nanos(1), 5), Answer::Now);
        assert_eq!(quota.remaining(Tick::default(), Tick::from_nanos(1)), 5);
    }

    #[test]
    fn rates_are_not_rounded_up() {
        // 700,000,000 a second are one in 1.43 ns.
        let worth = Quota::new(700_000_000, 1, 1).worth(700_000_000);
        assert!(worth >= Tick::from_seconds(1.0) && worth.as_nanos() <= 1_000_000_700);
        assert_eq!(Tick::from_seconds(1.5).as_nanos(), 1_500_000_000);
        assert_eq!(Tick::from_seconds(-1.0).as_nanos(), 0);
    }
}
