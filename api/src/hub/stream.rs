//! One project's ring with the bell that wakes its readers, and the table of all such projects.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nuncio_model::{Channel, Epoch, Pattern, Position, ProjectId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{Accepted, Read, Ring, Segment};

/// How far a project's ring reaches: readers wait for this to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// The epoch; 0 before anything is known.
    pub epoch: Epoch,
    /// The place up to which everything is known.
    pub position: Position,
}

/// A project's ring, and the bell that is rung when it reaches further.
#[derive(Debug)]
pub struct Stream {
    project: ProjectId,
    ring: RwLock<Ring>,
    tip: watch::Sender<Tip>,
    filling: AtomicBool,
    seats: Mutex<HashMap<Arc<[Pattern]>, usize>>,
}

/// A reader's place among those who listen to a project; left when it is dropped.
#[derive(Debug)]
pub struct Seat {
    stream: Arc<Stream>,
    patterns: Arc<[Pattern]>,
}

impl Stream {
    fn new(project: ProjectId, ring_bytes: usize) -> Self {
        Self {
            project,
            ring: RwLock::new(Ring::new(ring_bytes)),
            tip: watch::Sender::new(Tip::default()),
            filling: AtomicBool::new(false),
            seats: Mutex::default(),
        }
    }

    /// The project all this belongs to.
    pub fn project(&self) -> ProjectId {
        self.project
    }

    /// Takes a stretch of the log and wakes the readers.
    pub fn accept(&self, segment: Segment) -> Accepted {
        self.change(|ring| ring.accept(segment))
    }

    /// Takes the news of how far the log reaches, and wakes the readers where the epoch changed.
    pub fn learn_head(&self, epoch: Epoch, head: Position) -> Accepted {
        self.change(|ring| ring.learn_head(epoch, head))
    }

    /// The next matching events after a place of this epoch; see [`Ring::read`]. Places of another epoch are not here.
    pub fn read(&self, epoch: Epoch, after: Position, patterns: &[Pattern], max_events: usize) -> Read {
        let ring = self.ring.read();
        if ring.epoch() == epoch { ring.read(after, patterns, max_events) } else { Read::NotHere }
    }

    /// What is known to exist and is not in the ring, with its epoch.
    pub fn hole(&self) -> Option<(Epoch, Position, Position)> {
        let ring = self.ring.read();
        ring.hole().map(|(after, through)| (ring.epoch(), after, through))
    }

    /// The bell: marked as changed whenever the ring reaches further.
    pub fn bell(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// Takes the task of filling the hole; false where somebody has it already.
    pub fn start_filling(&self) -> bool {
        !self.filling.swap(true, Ordering::AcqRel)
    }

    /// Gives the task of filling back.
    pub fn stop_filling(&self) {
        self.filling.store(false, Ordering::Release);
    }

    /// Joins those who listen to channels that match.
    pub fn sit(self: &Arc<Self>, patterns: Arc<[Pattern]>) -> Seat {
        *self.seats.lock().entry(patterns.clone()).or_default() += 1;
        Seat { stream: self.clone(), patterns }
    }

    /// How many listen to the channel now, by whatever pattern.
    pub fn listeners(&self, channel: &Channel) -> usize {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(channel));
        self.seats.lock().iter().filter(|(patterns, _)| matches(patterns)).map(|(_, count)| count).sum()
    }

    fn change(&self, change: impl FnOnce(&mut Ring) -> Accepted) -> Accepted {
        let (accepted, tip) = {
            let mut ring = self.ring.write();
            let accepted = change(&mut ring);
            (accepted, Tip { epoch: ring.epoch(), position: ring.tail() })
        };
        // Two writers may come here in either order; an older tip never replaces a newer one.
        self.tip.send_if_modified(|old| {
            let newer = (tip.epoch, tip.position) > (old.epoch, old.position);
            if newer {
                *old = tip;
            }
            newer
        });
        accepted
    }
}

impl Seat {
    /// The stream sat in.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// What is listened to: channels that match any of these.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.stream.seats.lock();
        if let Some(count) = seats.get_mut(&self.patterns) {
            *count -= 1;
            if *count == 0 {
                seats.remove(&self.patterns);
            }
        }
    }
}

/// All projects that have readers on this node, or had some a moment ago.
#[derive(Debug)]
pub struct Hub {
    ring_bytes: usize,
    streams: Mutex<HashMap<ProjectId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    stream: Arc<Stream>,
    idle_sweeps: u32,
}

impl Hub {
    /// A hub without projects; each ring holds events of about so many bytes.
    pub fn new(ring_bytes: usize) -> Self {
        Self { ring_bytes, streams: Mutex::default() }
    }

    /// The project's stream, made where there is none yet; the flag tells that it was made now.
    pub fn open(&self, project: ProjectId) -> (Arc<Stream>, bool) {
        let mut streams = self.streams.lock();
        let made = !streams.contains_key(&project);
        let entry = streams.entry(project).or_insert_with(|| Entry {
            stream: Arc::new(Stream::new(project, self.ring_bytes)),
            idle_sweeps: 0,
        });
        entry.idle_sweeps = 0;
        (entry.stream.clone(), made)
    }

    /// The project's stream, if it has one.
    pub fn get(&self, project: ProjectId) -> Option<Arc<Stream>> {
        self.streams.lock().get(&project).map(|entry| entry.stream.clone())
    }

    /// Whether anybody reads anything.
    pub fn is_read(&self) -> bool {
        self.streams.lock().values().any(|entry| !entry.stream.seats.lock().is_empty())
    }

    /// The projects that have a stream now.
    pub fn active(&self) -> Vec<ProjectId> {
        self.streams.lock().keys().copied().collect()
    }

    /// Lets go of the projects that nobody has held a stream of for so many sweeps on end; tells which.
    ///
    /// A reader that comes back within that time finds the recent events still in memory.
    pub fn sweep(&self, idle_sweeps: u32) -> Vec<ProjectId> {
        let mut gone = Vec::new();
        self.streams.lock().retain(|project, entry| {
            let idle = Arc::strong_count(&entry.stream) == 1;
            entry.idle_sweeps = if idle { entry.idle_sweeps + 1 } else { 0 };
            let keep = entry.idle_sweeps < idle_sweeps;
            if !keep {
                gone.push(*project);
            }
            keep
        });
        gone
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use nuncio_model::{Channel, Data, Draft, Event};

    use super::*;

    /// An event of about a hundred bytes on channel `a.b`.
    pub(in crate::hub) fn event(epoch: Epoch, position: Position) -> Arc<Event> {
        let draft = Draft {
            channel: Channel::parse("a.b").expect("a good name"),
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

    fn segment(epoch: Epoch, after: Position, through: Position) -> Segment {
        Segment { epoch, after, through, events: (after + 1..=through).map(|p| event(epoch, p)).collect() }
    }

    #[tokio::test]
    async fn the_bell_rings_when_the_ring_reaches_further() {
        let hub = Hub::new(1 << 20);
        let (stream, made) = hub.open(ProjectId(1));
        assert!(made && !hub.open(ProjectId(1)).1);
        let mut bell = stream.bell();
        stream.accept(segment(1, 0, 2));
        bell.changed().await.expect("the stream lives");
        assert_eq!(*bell.borrow_and_update(), Tip { epoch: 1, position: 2 });
        stream.accept(segment(1, 0, 2));
        assert!(!bell.has_changed().expect("the stream lives"), "a repeat wakes nobody");
    }

    #[test]
    fn idle_projects_leave_memory_after_a_while() {
        let hub = Hub::new(1 << 20);
        let (held, _) = hub.open(ProjectId(1));
        drop(hub.open(ProjectId(2)));
        assert!(hub.sweep(2).is_empty());
        assert_eq!(hub.sweep(2), [ProjectId(2)]);
        drop(held);
        assert!(hub.sweep(2).is_empty(), "it counts from when the last reader left");
        assert_eq!(hub.sweep(2), [ProjectId(1)]);
        assert!(hub.active().is_empty());
    }

    #[test]
    fn listeners_are_counted_by_what_they_match() {
        let (stream, _) = Hub::new(1).open(ProjectId(1));
        let patterns =
            |texts: &[&str]| texts.iter().map(|t| Pattern::parse(t).expect("a good pattern")).collect();
        let name = |text| Channel::parse(text).expect("a good name");
        let all = stream.sit(patterns(&["#"]));
        let (one, two) = (stream.sit(patterns(&["a.*", "a.b"])), stream.sit(patterns(&["a.*", "a.b"])));
        assert_eq!((stream.listeners(&name("a.b")), stream.listeners(&name("x"))), (3, 1));
        drop((all, one, two));
        assert_eq!((stream.listeners(&name("a.b")), stream.seats.lock().len()), (0, 0));
    }

    #[test]
    fn one_fills_a_hole_at_a_time() {
        let (stream, _) = Hub::new(1).open(ProjectId(1));
        assert!(stream.start_filling() && !stream.start_filling());
        stream.stop_filling();
        assert!(stream.start_filling());
    }
}
