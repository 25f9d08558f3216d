//! Readers at any place while events are published, wakes go astray and events are removed: what a reader is not given
//! has been removed, and it was told.

use std::sync::Arc;

use nuncio_api::feed::{FeedError, OnGap, Reader, Start};
use nuncio_broker::Wake;
use nuncio_model::{Channel, Pattern, Position};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::time::timeout;

use crate::graphql_kit::Node;
use crate::node::SOON;

const CHANNELS: [&str; 3] = ["a.b", "a.c", "x"];
const PATTERNS: [&str; 3] = ["a.*", "#", "a.b"];

#[derive(Clone, Debug)]
enum Step {
    /// So many events on a channel; their wake comes whole, without its events, or not at all.
    Publish(usize, usize, u8),
    /// The channel's events up to so many before the head are removed, at once or later.
    Trim(usize, Position, bool),
    /// Someone begins so many events back.
    Open(usize, Position),
    Read(usize, usize),
}

/// A reader, and what it was given and told.
struct Member {
    reader: Reader,
    pattern: Pattern,
    begin: Position,
    seen: Vec<Position>,
    told: Position,
}

impl Member {
    /// Goes on by one chunk; there is something it has not been given.
    async fn read(&mut self, max: usize) {
        match timeout(SOON, self.reader.next(max)).await.expect("something comes in time") {
            Ok(chunk) => self.seen.extend(chunk.events.iter().map(|event| event.position)),
            Err(FeedError::Lost(lost)) => {
                self.told = self.told.max(lost.missing_through());
                self.reader.skip(&lost);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn matches(&self, channel: usize) -> bool {
        self.pattern.matches(&Channel::parse(CHANNELS[channel]).expect("a good name"))
    }

    /// Whether anything for it is still to come: nobody is moved by what does not match.
    fn has_more(&self, log: &[usize]) -> bool {
        log[self.reader.cursor().position as usize..].iter().any(|channel| self.matches(*channel))
    }

    fn check(&self, log: &[usize], trimmed: &[Position; 3]) {
        assert!(self.seen.is_sorted_by(|one, next| one < next), "{:?}", self.seen);
        for position in self.begin + 1..=self.reader.cursor().position {
            let channel = log[position as usize - 1];
            let seen = self.seen.binary_search(&position).is_ok();
            assert!(!seen || self.matches(channel), "{position} is not what was asked for");
            let removed = position <= trimmed[channel] && position <= self.told;
            assert!(seen || removed || !self.matches(channel), "{position} is missing: {:?}", self.seen);
        }
    }
}

async fn run(steps: &[Step]) {
    let node = Node::start().await;
    let (mut log, mut trimmed, mut members) = (Vec::new(), [0; 3], Vec::<Member>::new());
    for step in steps {
        match *step {
            Step::Publish(channel, count, wake) => {
                let events = node.append(CHANNELS[channel], &vec!["1".to_owned(); count]).await;
                log.extend(std::iter::repeat_n(channel, count));
                let whole = Wake::of(events).expect("there are events");
                match wake {
                    0 => {}
                    1 => node.bus.send(Wake { events: Vec::new(), ..whole }),
                    _ => node.bus.send(whole),
                }
            }
            Step::Trim(channel, back, now) => {
                let through = (1..=(log.len() as Position - back).max(0)).rev();
                let Some(mark) = through.into_iter().find(|at| log[*at as usize - 1] == channel) else {
                    continue;
                };
                trimmed[channel] = trimmed[channel].max(mark);
                trim(&node, CHANNELS[channel], mark, now).await;
            }
            Step::Open(pattern, back) => {
                members.push(open(&node, pattern, log.len() as Position, back).await)
            }
            Step::Read(member, max) if !members.is_empty() => {
                let at = member % members.len();
                if members[at].has_more(&log) {
                    members[at].read(max).await;
                }
            }
            Step::Read(..) => {}
        }
    }
    // One more that is for all.
    let last = node.publish("a.b", &["1".to_owned()]).await.remove(0).position;
    log.push(0);
    for member in &mut members {
        while member.reader.cursor().position < last {
            member.read(7).await;
        }
        member.check(&log, &trimmed);
    }
}

async fn trim(node: &Node, channel: &str, mark: Position, now: bool) {
    let project = node.project.id.0;
    let which = format!("project_id = {project} and name = '{channel}'");
    let mut statements = format!(
        "update channels set trimmed_position = greatest(trimmed_position, {mark}) where {which};
         update heads set trims = trims + 1 where project_id = {project};"
    );
    if now {
        statements += &format!(
            "delete from events where position <= {mark} and channel_id = (select id from channels where {which});"
        );
    }
    node.database.run(&statements).await.expect("the database answers");
}

async fn open(node: &Node, pattern: usize, head: Position, back: Position) -> Member {
    let begin = (head - back).max(0);
    let pattern = Pattern::parse(PATTERNS[pattern]).expect("a good pattern");
    let newest = node.app.store.head(node.project.id).await.expect("asked");
    let cursor = nuncio_model::Cursor { project: node.project.id, epoch: newest.epoch, position: begin };
    let (patterns, start): (Arc<[Pattern]>, _) =
        (Arc::new([pattern.clone()]), Start::After(cursor.to_string()));
    let opened = node.app.feeds.open(node.project.id, patterns, &start, OnGap::Skip).await;
    let (reader, gap) = opened.expect("a place, or a gap");
    let told = gap.map_or(0, |gap| gap.to.position);
    Member { reader, pattern, begin, seen: Vec::new(), told }
}

#[test]
fn what_is_missing_was_removed_and_told() {
    let step = prop_oneof![
        4 => (0..3_usize, 1..90_usize, 0..8_u8).prop_map(|(channel, count, wake)| Step::Publish(channel, count, wake)),
        1 => (0..3_usize, 0..150_i64, any::<bool>()).prop_map(|(channel, back, now)| Step::Trim(channel, back, now)),
        2 => (0..3_usize, 0..300_i64).prop_map(|(pattern, back)| Step::Open(pattern, back)),
        4 => (0..6_usize, 1..100_usize).prop_map(|(member, max)| Step::Read(member, max)),
    ];
    let steps = proptest::collection::vec(step, 10..50);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = Config { cases: 10, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps, |steps| {
            runtime.block_on(run(&steps));
            Ok(())
        })
        .expect("nothing is missing in silence");
}
