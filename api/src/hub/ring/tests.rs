//! What a ring makes of wakes in every order.

use proptest::prelude::*;

use super::*;
use crate::hub::tests::event;

fn segment(epoch: Epoch, after: Position, through: Position) -> Segment {
    Segment { epoch, after, through, events: (after + 1..=through).map(|p| event(epoch, p)).collect() }
}

fn pattern(text: &str) -> [Pattern; 1] {
    [Pattern::parse(text).expect("a good pattern")]
}

fn positions(ring: &Ring, mut after: Position, text: &str) -> Vec<Position> {
    let mut seen = Vec::new();
    while let Read::Chunk { events, through } = ring.read(after, &pattern(text), 3) {
        assert!(through > after, "a chunk always moves the place on");
        seen.extend(events.iter().map(|event| event.position));
        after = through;
    }
    seen
}

#[test]
fn crossing_wakes_leave_a_hole_until_the_first_comes() {
    let mut ring = Ring::new(1 << 20);
    assert_eq!(ring.learn_head(1, 10), Accepted::Known);
    assert_eq!(ring.accept(segment(1, 12, 14)), Accepted::Hole);
    assert_eq!(ring.hole(), Some((10, 14)));
    assert!(matches!(ring.read(10, &pattern("#"), 9), Read::AtTail));
    assert_eq!(ring.accept(segment(1, 10, 12)), Accepted::Advanced);
    assert_eq!((ring.hole(), positions(&ring, 10, "#")), (None, vec![11, 12, 13, 14]));
}

#[test]
fn repeats_and_overlaps_change_nothing() {
    let mut ring = Ring::new(1 << 20);
    ring.accept(segment(1, 0, 3));
    assert_eq!(ring.accept(segment(1, 1, 3)), Accepted::Known);
    assert_eq!(ring.accept(segment(1, 2, 5)), Accepted::Advanced);
    assert_eq!(positions(&ring, 0, "#"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_head_beyond_the_tail_tells_of_a_lost_wake() {
    let mut ring = Ring::new(1 << 20);
    ring.accept(segment(1, 0, 3));
    assert_eq!(ring.learn_head(1, 3), Accepted::Known);
    assert_eq!(ring.learn_head(1, 5), Accepted::Hole);
    assert_eq!(ring.hole(), Some((3, 5)));
}

#[test]
fn a_stretch_may_lack_removed_events() {
    let mut ring = Ring::new(1 << 20);
    ring.learn_head(1, 0);
    assert_eq!(ring.accept(Segment { events: vec![event(1, 2)], ..segment(1, 0, 9) }), Accepted::Advanced);
    assert_eq!((positions(&ring, 0, "#"), ring.tail()), (vec![2], 9));
}

#[test]
fn a_rare_pattern_still_moves_on() {
    let mut ring = Ring::new(1 << 30);
    ring.accept(segment(1, 0, 10_000));
    assert!(positions(&ring, 0, "nothing.here").is_empty());
    let Read::Chunk { through, .. } = ring.read(0, &pattern("nothing.here"), 10) else {
        panic!("within the ring")
    };
    assert_eq!(through, MAX_SCAN as Position);
}

#[test]
fn bytes_are_bounded_and_old_places_sent_to_the_log() {
    let mut ring = Ring::new(10 * (EVENT_OVERHEAD + 100));
    ring.accept(segment(1, 0, 1_000));
    assert!(ring.bytes <= ring.max_bytes && ring.events.len() >= 10);
    assert!(matches!(ring.read(0, &pattern("#"), 9), Read::NotHere));
    let floor = ring.floor;
    assert_eq!(positions(&ring, floor, "#"), (floor + 1..=1_000).collect::<Vec<_>>());
}

#[test]
fn an_event_larger_than_the_ring_passes_through_the_log() {
    let mut ring = Ring::new(1);
    ring.learn_head(1, 0);
    assert_eq!(ring.accept(segment(1, 0, 1)), Accepted::Advanced);
    assert!(matches!(ring.read(0, &pattern("#"), 9), Read::NotHere));
    assert!(matches!(ring.read(1, &pattern("#"), 9), Read::AtTail));
}

#[test]
fn a_new_epoch_begins_anew_and_an_old_one_is_ignored() {
    let mut ring = Ring::new(1 << 20);
    ring.accept(segment(1, 0, 9));
    assert_eq!(ring.accept(segment(2, 4, 5)), Accepted::Replaced);
    assert_eq!((ring.epoch(), ring.tail()), (2, 5));
    assert_eq!(ring.accept(segment(1, 9, 12)), Accepted::Known);
    assert_eq!(ring.learn_head(1, 40), Accepted::Known);
    assert_eq!((ring.hole(), ring.tail()), (None, 5));
}

proptest! {
    /// Wakes in any order, some lost, some doubled; then every hole is read from the log: nothing missing, nothing twice.
    #[test]
    fn any_order_of_wakes_gives_the_log(
        cuts in proptest::collection::btree_set(1_i64..60, 1..12),
        order in proptest::collection::vec((0_usize..12, any::<bool>()), 0..40),
    ) {
        let cuts: Vec<Position> = std::iter::once(0).chain(cuts).collect();
        let wakes: Vec<Segment> = cuts.windows(2).map(|w| segment(1, w[0], w[1])).collect();
        let mut ring = Ring::new(1 << 20);
        ring.learn_head(1, 0);
        for (index, overlap) in order {
            let mut wake = wakes[index % wakes.len()].clone();
            if overlap && wake.after > 0 {
                wake = segment(1, wake.after - 1, wake.through);
            }
            ring.accept(wake);
            let seen = positions(&ring, 0, "#");
            prop_assert_eq!(seen, (1..=ring.tail()).collect::<Vec<_>>());
        }
        ring.learn_head(1, *cuts.last().expect("at least the zero"));
        if let Some((after, through)) = ring.hole() {
            ring.accept(segment(1, after, through));
        }
        prop_assert_eq!(ring.hole(), None);
        prop_assert_eq!(positions(&ring, 0, "#"), (1..=*cuts.last().expect("as above")).collect::<Vec<_>>());
    }
}

/// Wakes and pages of before a purge may come after it is known, and hold what was purged.
#[test]
fn what_was_purged_leaves_and_does_not_come_back() {
    let mut ring = Ring::new(1 << 20);
    ring.accept(segment(1, 0, 6));
    ring.accept(segment(1, 7, 9));
    ring.accept(segment(1, 11, 14));
    ring.forget(1, 12);
    assert_eq!((positions(&ring, 12, "#"), ring.hole()), (vec![13, 14], None));
    assert!(matches!(ring.read(11, &pattern("#"), 9), Read::NotHere));
    assert_eq!(ring.accept(segment(1, 6, 12)), Accepted::Known);
    assert_eq!(ring.accept(segment(1, 9, 15)), Accepted::Advanced);
    assert_eq!(positions(&ring, 12, "#"), [13, 14, 15]);
    ring.forget(1, 20);
    assert_eq!((ring.tail(), ring.accept(segment(1, 15, 18))), (20, Accepted::Known));
    assert_eq!(ring.accept(segment(1, 15, 21)), Accepted::Advanced);
    assert_eq!(positions(&ring, 20, "#"), [21]);
}
