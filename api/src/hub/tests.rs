//! Members that join, leave, read slowly and lose wakes, beside a plain list that says what each should have seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use nuncio_model::{Channel, Data, Draft, Epoch, Event, Pattern, Position, ProjectId};
use proptest::prelude::*;

use super::*;

const CHANNELS: [&str; 4] = ["a", "a.b", "a.c", "$system.x"];
const PATTERNS: [&str; 5] = ["a", "a.*", "#", "$system.#", "*.b"];

fn event_on(channel: &str, epoch: Epoch, position: Position) -> Arc<Event> {
    let draft = Draft {
        channel: Channel::parse_any(channel).expect("a good name"),
        id: position.to_string(),
        source: "/test".to_owned(),
        r#type: "t".to_owned(),
        subject: None,
        time: None,
        content_type: None,
        data: Data::Json(Bytes::from_static(b"{\"n\":1}")),
        extensions: Default::default(),
    };
    let stored_at = "2026-01-01T00:00:00Z".parse().expect("a time");
    Arc::new(Event { project: ProjectId(1), epoch, position, sequence: position, stored_at, draft })
}

/// An event of about a hundred bytes on channel `a.b`.
pub(crate) fn event(epoch: Epoch, position: Position) -> Arc<Event> {
    event_on("a.b", epoch, position)
}

fn patterns(text: &str) -> Arc<[Pattern]> {
    Arc::new([Pattern::parse(text).expect("a good pattern")])
}

fn key(text: &str) -> GroupKey {
    GroupKey { patterns: patterns(text), form: "test".into() }
}

/// What each group makes of an event: its own pattern and the event's place, so that a text of another group is seen.
fn render(text: &'static str, executions: &Arc<AtomicUsize>) -> Render {
    let executions = executions.clone();
    Box::new(move |event| {
        executions.fetch_add(1, Ordering::Relaxed);
        Some(Content::Text(format!("{text} {}", event.position).into()))
    })
}

fn text(entry: &Entry) -> String {
    let Content::Text(bytes) = &entry.content else { panic!("the groups here make texts") };
    String::from_utf8(bytes.to_vec()).expect("as it was made")
}

/// One node, the log it reads, and its members.
struct Node {
    log: Vec<Arc<Event>>,
    stream: Arc<Stream>,
    members: Vec<Member>,
    executions: Arc<AtomicUsize>,
}

struct Member {
    pattern: &'static str,
    seat: Seat,
    bell: Arc<Bell>,
    /// Whether it has to look, as the bell has rung or it had to stop.
    awake: bool,
    begin: Position,
    place: Position,
    seen: Vec<Position>,
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    /// A wake for so many events, so far back, that arrives as often.
    Wake(usize, usize, usize),
    Head,
    Fill,
    Pump,
    Join(usize, usize),
    Leave(usize),
    Take(usize, usize),
    Restart,
}

impl Node {
    fn new() -> Self {
        let mut node =
            Self { log: Vec::new(), stream: stream(), members: Vec::new(), executions: Arc::default() };
        node.restart();
        node
    }

    fn head(&self) -> Position {
        self.log.len() as Position
    }

    /// The process dies: nothing is left but the log, and members come back with their cursors.
    fn restart(&mut self) {
        self.stream = stream();
        self.stream.learn_head(1, self.head());
        for member in &mut self.members {
            (member.seat, member.bell) = sit(&self.stream, member.pattern, &self.executions);
            member.awake = true;
        }
    }

    fn segment(&self, after: Position, through: Position) -> Segment {
        Segment { epoch: 1, after, through, events: self.log[after as usize..through as usize].to_vec() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish(channel) => self.log.push(event_on(CHANNELS[channel], 1, self.head() + 1)),
            Step::Wake(length, back, times) => {
                let through = self.head() - back.min(self.log.len()) as Position;
                let wake = self.segment((through - length as Position).max(0), through);
                for _ in 0..times {
                    self.stream.accept(wake.clone());
                }
            }
            Step::Head => {
                self.stream.learn_head(1, self.head());
            }
            Step::Fill => {
                if let Some((_, after, through)) = self.stream.hole() {
                    self.stream.accept(self.segment(after, through));
                }
            }
            Step::Pump => {
                self.stream.pump();
            }
            Step::Join(pattern, back) => {
                self.stream.pump();
                let (pattern, place) =
                    (PATTERNS[pattern], (self.stream.tip().position - back as Position).max(0));
                let (seat, bell) = sit(&self.stream, pattern, &self.executions);
                let member =
                    Member { pattern, seat, bell, awake: true, begin: place, place, seen: Vec::new() };
                self.members.push(member);
            }
            Step::Leave(member) if !self.members.is_empty() => {
                let member = self.members.swap_remove(member % self.members.len());
                member.check(&self.log);
            }
            Step::Take(member, budget) if !self.members.is_empty() => {
                let at = member % self.members.len();
                self.members[at].take(&self.log, budget + 1);
            }
            Step::Leave(_) | Step::Take(..) => {}
            Step::Restart => self.restart(),
        }
        self.members.iter().for_each(|member| member.check(&self.log));
    }

    /// All wakes and holes come in; every member that is rung for takes all it gets.
    fn settle(&mut self) {
        self.step(&Step::Head);
        self.step(&Step::Fill);
        while self.stream.pump() {}
        while self.members.iter_mut().any(|member| member.is_awake()) {
            for member in self.members.iter_mut().filter(|member| member.awake) {
                member.take(&self.log, 3);
            }
        }
    }
}

fn stream() -> Arc<Stream> {
    // About ten events in the ring and five in each line.
    Arc::new(Stream::new(ProjectId(1), Bounds { ring_bytes: 4_000, line_bytes: 350, lines_bytes: 1 << 20 }))
}

fn sit(stream: &Arc<Stream>, pattern: &'static str, executions: &Arc<AtomicUsize>) -> (Seat, Arc<Bell>) {
    let bell = Arc::default();
    (stream.join(&key(pattern), || render(pattern, executions), &bell, 0), bell)
}

impl Member {
    fn is_awake(&mut self) -> bool {
        let mut causes = Vec::new();
        self.bell.take(&mut causes);
        self.awake |= !causes.is_empty();
        self.awake
    }

    /// Takes so many at most; what is not in memory it reads from the log, some positions at a time.
    fn take(&mut self, log: &[Arc<Event>], budget: usize) {
        self.awake = true;
        let (pattern, seen, mut left) = (self.pattern, &mut self.seen, budget);
        let took = self.seat.take(Tip { epoch: 1, position: self.place }, |entry| {
            assert_eq!(text(entry), format!("{pattern} {}", entry.position), "what its own group made");
            seen.push(entry.position);
            left -= 1;
            left > 0
        });
        match took {
            Took::All(place) => {
                self.place = place;
                self.awake = false;
            }
            Took::Enough(place) => self.place = place,
            Took::NotHere => {
                let through = (self.place + 7).min(log.len() as Position);
                self.seen.extend(expected(log, self.pattern, self.place, through));
                self.place = through;
            }
        }
    }

    fn check(&self, log: &[Arc<Event>]) {
        assert_eq!(self.seen, expected(log, self.pattern, self.begin, self.place), "no hole and no repeat");
    }
}

fn expected(log: &[Arc<Event>], pattern: &str, after: Position, through: Position) -> Vec<Position> {
    let pattern = Pattern::parse(pattern).expect("a good pattern");
    let all = &log[after as usize..through as usize];
    all.iter().filter(|event| pattern.matches(&event.draft.channel)).map(|event| event.position).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..CHANNELS.len()).prop_map(Step::Publish),
        4 => (1_usize..6, 0_usize..4, 1_usize..3).prop_map(|(length, back, times)| Step::Wake(length, back, times)),
        1 => Just(Step::Head),
        1 => Just(Step::Fill),
        3 => Just(Step::Pump),
        2 => (0..PATTERNS.len(), 0_usize..20).prop_map(|(pattern, back)| Step::Join(pattern, back)),
        1 => (0_usize..8).prop_map(Step::Leave),
        4 => (0_usize..8, 0_usize..4).prop_map(|(member, budget)| Step::Take(member, budget)),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn every_member_sees_each_event_of_its_own_once_in_order(steps in steps()) {
        let mut node = Node::new();
        steps.iter().for_each(|step| node.step(step));
        node.settle();
        for member in &node.members {
            member.check(&node.log);
            let missed = expected(&node.log, member.pattern, member.place, node.head());
            prop_assert!(missed.is_empty(), "nobody rang for {missed:?}");
        }
        let stream = node.stream.clone();
        node.members.clear();
        prop_assert!(!stream.is_read() && stream.groups() == 0, "what nobody listens to leaves memory");
    }
}

/// Executions are what a fan-out costs: as many as there are groups, whatever the number of members.
#[test]
fn an_event_is_made_ready_once_for_each_group_that_hears_it() {
    let mut node = Node::new();
    (0..300).for_each(|_| [0, 1, 2, 4].into_iter().for_each(|pattern| node.step(&Step::Join(pattern, 0))));
    assert_eq!(node.stream.groups(), 4);
    for (channel, groups) in [("a", 2), ("a.b", 3), ("x", 1), ("$system.x", 0)] {
        let before = node.executions.load(Ordering::Relaxed);
        let (after, position) = (node.head(), node.head() + 1);
        node.log.push(event_on(channel, 1, position));
        node.stream.accept(node.segment(after, position));
        node.settle();
        assert_eq!(node.executions.load(Ordering::Relaxed) - before, groups, "{channel}");
    }
}

#[test]
fn an_epoch_begins_for_all_and_places_of_the_one_before_are_not_here() {
    let stream = stream();
    let executions = Arc::default();
    stream.learn_head(1, 10);
    stream.pump();
    let (seat, bell) = sit(&stream, "#", &executions);
    let take = |epoch, position| {
        let mut seen = Vec::new();
        let took = seat.take(Tip { epoch, position }, |entry| {
            seen.push(entry.position);
            true
        });
        (took, seen)
    };
    assert_eq!(take(1, 10), (Took::All(10), vec![]));
    stream.accept(Segment { epoch: 2, after: 4, through: 5, events: vec![event(2, 5)] });
    while stream.pump() {}
    let mut causes = Vec::new();
    bell.take(&mut causes);
    assert_eq!(causes, [Cause::Member(0)]);
    assert_eq!(take(1, 10), (Took::NotHere, vec![]));
    assert_eq!(take(2, 4), (Took::All(5), vec![5]));
}

/// A hole that was read after some of it had been removed was taken for whole: live members missed events, untold.
#[test]
fn what_cannot_be_had_whole_is_left_to_the_log() {
    let (stream, executions) = (stream(), Arc::default());
    stream.learn_head(1, 2);
    stream.pump();
    let (seat, bell) = sit(&stream, "#", &executions);
    let segment = |after, through| Segment {
        epoch: 1,
        after,
        through,
        events: (after + 1..=through).map(|position| event(1, position)).collect(),
    };
    // A wake came too early; of what lies before it some has been removed.
    stream.accept(segment(9, 11));
    stream.skip_to(1, 9);
    assert_eq!(stream.hole(), None);
    while stream.pump() {}
    let mut causes = Vec::new();
    bell.take(&mut causes);
    assert_eq!(causes, [Cause::Member(0)]);
    assert_eq!(seat.take(Tip { epoch: 1, position: 2 }, |_| true), Took::NotHere);
    assert_eq!(seat.take(Tip { epoch: 1, position: 9 }, |_| true), Took::All(11));
    stream.skip_to(1, 5);
    assert_eq!(stream.tip(), Tip { epoch: 1, position: 11 }, "the way back is no way");
}

#[test]
fn listeners_are_counted_by_what_they_match() {
    let (stream, executions) = (stream(), Arc::default());
    let name = |text| Channel::parse(text).expect("a good name");
    let all = sit(&stream, "#", &executions);
    let (one, two) = (sit(&stream, "a.*", &executions), sit(&stream, "a.*", &executions));
    assert_eq!((stream.listeners(&name("a.b")), stream.listeners(&name("x"))), (3, 1));
    drop((all, one, two));
    assert_eq!((stream.listeners(&name("a.b")), stream.is_read()), (0, false));
}

#[test]
fn one_fills_a_hole_at_a_time() {
    let stream = stream();
    assert!(stream.start_filling() && !stream.start_filling());
    stream.stop_filling();
    assert!(stream.start_filling());
}

#[test]
fn many_groups_keep_less_each() {
    let bounds = Bounds { ring_bytes: 1 << 20, line_bytes: 40 << 10, lines_bytes: 80 << 10 };
    let stream = Arc::new(Stream::new(ProjectId(1), bounds));
    stream.learn_head(1, 0);
    stream.pump();
    let blob = || -> Render { Box::new(|_| Some(Content::Text(vec![0; 1 << 10].into()))) };
    let key = |form: usize| GroupKey { patterns: patterns("#"), form: form.to_string().into() };
    let kept = |groups: usize| {
        let bell = Arc::default();
        let seats: Vec<Seat> = (0..groups).map(|form| stream.join(&key(form), blob, &bell, 0)).collect();
        let begin = stream.tip().position;
        let events = (begin + 1..=begin + 100).map(|position| event(1, position)).collect();
        stream.accept(Segment { epoch: 1, after: begin, through: begin + 100, events });
        while stream.pump() {}
        let is_kept = |back: &Position| {
            let place = Tip { epoch: 1, position: begin + 100 - back };
            seats[0].take(place, |_| true) != Took::NotHere
        };
        (0..=100).take_while(is_kept).count()
    };
    assert_eq!((kept(1), kept(4), kept(100)), (38, 19, 8));
}
