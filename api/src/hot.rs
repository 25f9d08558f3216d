//! What every delivery goes through, so that `cargo xtask bench instructions` can count what it costs.
//!
//! Each test of a module `hot`, here or beside what is private, does one thing on the same input as often as it is
//! told. The chore runs it with two numbers: the difference is the thing itself, without what goes around it.

use std::hint::black_box;
use std::sync::Arc;

use nuncio_model::{Channel, Pattern, ProjectId};

use crate::filter::Filter;
use crate::hub::tests::event;
use crate::hub::{Bell, Bounds, Content, GroupKey, Hub, Index, Seat, Segment, Tip};

/// How often everything is done; once where the tests are only tests.
const TIMES: &str = "NUNCIO_HOT_TIMES";
const MEMBERS: usize = 100;

/// Does something as often as is asked for, with 1, 2, 3 and so on.
pub(crate) fn repeat<T>(mut once: impl FnMut(i64) -> T) {
    let times = std::env::var(TIMES).map_or(1, |times| times.parse().expect("a number"));
    for n in 1..=times {
        black_box(once(black_box(n)));
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a good pattern")
}

fn channel(text: &str) -> Channel {
    Channel::parse(text).expect("a good name")
}

#[test]
fn pattern_matches() {
    let (pattern, channel) = (pattern("shop.*.orders.#"), channel("shop.berlin.orders.new"));
    assert!(pattern.matches(&channel));
    repeat(|_| black_box(&pattern).matches(&channel));
}

#[test]
fn index_of_1000_patterns() {
    let mut index = Index::default();
    for n in 0..1_000 {
        let text = match n % 4 {
            0 => format!("shop.s{n}.orders.#"),
            1 => format!("shop.s{n}.*"),
            2 => format!("shop.*.orders.o{n}"),
            _ => format!("room.{n}"),
        };
        index.insert(&pattern(&text), n);
    }
    let channel = channel("shop.s8.orders.o10");
    assert_eq!(index.matching(&channel), [8, 10]);
    repeat(|_| black_box(&index).matching(&channel));
}

#[test]
fn filter_matches() {
    let filter = Filter::compile(r#"type == "t" && data.n > 0"#).expect("a good filter");
    let event = event(1, 1);
    assert!(filter.matches(&event));
    repeat(|_| black_box(&filter).matches(&event));
}

/// From the log's news to the hands of each member of a group.
#[test]
fn event_for_100_members() {
    // Small, so that old events leave memory as they do in the long run.
    let hub = Hub::new(Bounds { ring_bytes: 1 << 16, line_bytes: 1 << 14, lines_bytes: 1 << 20 });
    let (stream, _) = hub.open(ProjectId(1));
    stream.learn_head(1, 0);
    stream.pump();
    let key = GroupKey { patterns: Arc::new([pattern("a.*")]), form: "hot".into() };
    let join = |_| {
        let bell = Arc::default();
        (stream.join(&key, || Box::new(|_| Some(Content::Text("hot".into()))), &bell, 0), bell)
    };
    let members: Vec<(Seat, Arc<Bell>)> = (0..MEMBERS).map(join).collect();
    let mut causes = Vec::new();
    repeat(|position| {
        let after = position - 1;
        stream.accept(Segment { epoch: 1, after, through: position, events: vec![event(1, position)] });
        while stream.pump() {}
        let mut given = 0;
        for (seat, bell) in &members {
            bell.take(&mut causes);
            causes.clear();
            seat.take(Tip { epoch: 1, position: after }, |_| {
                given += 1;
                true
            });
        }
        assert_eq!(given, MEMBERS);
    });
}
