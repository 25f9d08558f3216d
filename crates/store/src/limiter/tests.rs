//! The limiter of one node, under a clock that stands still.

use nuncio_model::{RateLimitSettings, Scope};
use tokio::time::advance;

use super::*;

const PROJECT: ProjectId = ProjectId(1);

fn limits(all: &[(Scope, Limited, i64, Option<&str>)]) -> RateLimits {
    let mut limits = RateLimits::default();
    for (id, (scope, action, burst, target)) in (1..).zip(all) {
        let settings = RateLimitSettings {
            scope: *scope,
            action: *action,
            limit: 10,
            period_seconds: 1,
            burst: Some(*burst),
            target: target.map(str::to_owned),
        };
        limits.add(*action, Rule::of(id, 1, settings));
    }
    limits
}

fn key(name: &str) -> Spender<'_> {
    Spender { key: Some(name), ..Spender::default() }
}

/// How often something may be done at once.
fn times(limiter: &Limiter, limits: &RateLimits, spender: &Spender<'_>, action: Limited) -> usize {
    let admitted = || {
        let verdict = limiter.spend_of(PROJECT, limits, spender, &Spending::one(action));
        matches!(verdict, Verdict::Admitted(_))
    };
    (0..100).take_while(|_| admitted()).count()
}

#[tokio::test(start_paused = true)]
async fn each_scope_counts_what_it_says() {
    use Limited::Request;
    let limiter = Limiter::default();
    let address = |text: &str| Spender { address: text.parse().ok(), ..Spender::default() };
    for (scope, spenders) in [
        (Scope::Key, [key("nk_aaaaaaaa"), key("nk_aaaaaaaa"), key("nk_bbbbbbbb")]),
        (Scope::Ip, [address("2001:db8::1"), address("2001:db8::2"), address("2001:db8:0:1::1")]),
        (Scope::Subject, ["u", "u", "v"].map(|name| Spender { subject: Some(name), ..Spender::default() })),
        (
            Scope::Connection,
            [1, 1, 2].map(|number| Spender { connection: Some(number), ..Spender::default() }),
        ),
    ] {
        let limiter = Limiter::default();
        let limits = limits(&[(scope, Request, 3, None)]);
        let counted = spenders.map(|spender| times(&limiter, &limits, &spender, Request));
        assert_eq!(counted, [3, 0, 3], "{scope:?}");
        let nobody = limiter.spend_of(PROJECT, &limits, &Spender::default(), &Spending::one(Request));
        assert_eq!(nobody, Verdict::Free);
    }
    let of_project = limits(&[(Scope::Project, Request, 3, None)]);
    assert_eq!(times(&limiter, &of_project, &key("nk_aaaaaaaa"), Request), 3);
    assert_eq!(times(&limiter, &of_project, &key("nk_bbbbbbbb"), Request), 0);
    let other = Spending::one(Limited::Connect);
    assert_eq!(limiter.spend_of(PROJECT, &of_project, &key("nk_bbbbbbbb"), &other), Verdict::Free);
    let of_other = limiter.spend_of(ProjectId(2), &of_project, &key("nk_bbbbbbbb"), &Spending::one(Request));
    assert!(matches!(of_other, Verdict::Admitted(_)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_for_one_concerns_nobody_else() {
    let limits = limits(&[(Scope::Key, Limited::Publish, 2, Some("nk_aaaaaaaa"))]);
    let limiter = Limiter::default();
    assert_eq!(times(&limiter, &limits, &key("nk_aaaaaaaa"), Limited::Publish), 2);
    let other = limiter.spend_of(PROJECT, &limits, &key("nk_bbbbbbbb"), &Spending::one(Limited::Publish));
    assert_eq!(other, Verdict::Free);
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_counted_each_for_itself_and_a_refusal_counts_nowhere() {
    let limits =
        limits(&[(Scope::Namespace, Limited::Publish, 5, None), (Scope::Project, Limited::Publish, 8, None)]);
    let limiter = Limiter::default();
    let publish = |namespaces: &[(&str, u64)]| {
        let cost = namespaces.iter().map(|(_, cost)| cost).sum();
        limiter.spend_of(PROJECT, &limits, &key("k"), &Spending::many(Limited::Publish, cost, namespaces))
    };
    let Verdict::Admitted(standing) = publish(&[("a", 4), ("b", 1)]) else { panic!("there is room") };
    assert_eq!((standing.rule.id, standing.remaining), (1, 1));
    // It is too much for the one, and is counted for neither the other nor the project.
    let Verdict::Refused(standing, Some(wait)) = publish(&[("a", 2), ("b", 1)]) else { panic!("no room") };
    assert_eq!((standing.rule.id, wait), (1, Duration::from_millis(100)));
    let Verdict::Admitted(standing) = publish(&[("b", 3)]) else { panic!("there is room") };
    assert_eq!((standing.rule.id, standing.remaining), (2, 0));
    let Verdict::Refused(_, never) = publish(&[("c", 6)]) else { panic!("more than a burst") };
    assert_eq!(never, None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_refused_is_a_debt() {
    let limits = limits(&[(Scope::Project, Limited::Publish, 2, None)]);
    let limiter = Limiter::default();
    let take = |cost| {
        let spending = Spending { on_credit: true, ..Spending::many(Limited::Publish, cost, &[]) };
        limiter.spend_of(PROJECT, &limits, &Spender::default(), &spending)
    };
    assert!(matches!(take(20), Verdict::Admitted(_)));
    let Verdict::Refused(_, wait) = take(20) else { panic!("it is in debt") };
    assert_eq!(wait, Some(Duration::from_secs(2)));
    advance(Duration::from_secs(2)).await;
    assert!(matches!(take(20), Verdict::Admitted(_)));
}

#[tokio::test(start_paused = true)]
async fn idle_buckets_are_forgotten_and_a_crowd_shares_one() {
    let limits = limits(&[(Scope::Connection, Limited::Request, 2, None)]);
    let limiter = Limiter::default();
    let spend = |number: u64| {
        let spender = Spender { connection: Some(number), ..Spender::default() };
        limiter.spend_of(PROJECT, &limits, &spender, &Spending::one(Limited::Request))
    };
    let kept = || limiter.buckets(PROJECT).lock().len();
    for number in 0..buckets::MOST as u64 {
        assert!(matches!(spend(number), Verdict::Admitted(_)));
    }
    assert_eq!(kept(), buckets::MOST);
    // Those who come now have one bucket for all of them, and those who were there before still have theirs.
    let late = (1_000_000..1_000_010).filter(|number| matches!(spend(*number), Verdict::Admitted(_))).count();
    assert_eq!((late, kept()), (2, buckets::MOST + 1));
    assert!(matches!(spend(7), Verdict::Admitted(_)));
    advance(Duration::from_secs(5)).await;
    assert!(matches!(spend(1_000_011), Verdict::Admitted(_)));
    assert_eq!(kept(), 1);
    advance(Duration::from_secs(5)).await;
    limiter.sweep();
    assert!(limiter.0.projects.read().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_lost_is_made_again() {
    let limits = limits(&[(Scope::Project, Limited::Request, 5, None)]);
    let limiter = Limiter::default();
    assert_eq!(times(&limiter, &limits, &Spender::default(), Limited::Request), 5);
    let buckets = limiter.buckets(PROJECT);
    let report = buckets.lock().report();
    let [(number, _, first)] = report[..] else { panic!("there is one bucket") };
    advance(Duration::from_millis(100)).await;
    assert_eq!(times(&limiter, &limits, &Spender::default(), Limited::Request), 1);
    buckets.lock().take_back(number);
    assert_eq!(times(&limiter, &limits, &Spender::default(), Limited::Request), 0);
    let again = buckets.lock().report();
    assert_eq!(again.len(), 1);
    assert!((again[0].2.sum.as_seconds() - first.sum.as_seconds() * 6.0 / 5.0).abs() < 1e-9);
    // All nodes together have spent more than this one knew.
    buckets.lock().learn(number, limiter.now().plus(Tick::from_seconds(1.0)));
    advance(Duration::from_millis(500)).await;
    assert_eq!(times(&limiter, &limits, &Spender::default(), Limited::Request), 0);
    advance(Duration::from_millis(100)).await;
    assert_eq!(times(&limiter, &limits, &Spender::default(), Limited::Request), 1);
}
