//! The way out of the log: joins the wake bus, the log and the hub, so that a reader sees every event once, in order.
//!
//! A [`Member`] of a group holds a place. What is recent it takes from the group's line in memory, what is older from
//! pages, and between the two it misses nothing and repeats nothing, since both speak in positions. A [`Reader`] is a
//! member that is given the events as they are. [`Start`] says where one begins, and [`FeedError`] why it cannot go on.

mod error;
mod latest;
mod listen;
mod member;
mod page;
mod reader;
mod start;

use std::collections::HashMap;
use std::sync::Arc;

use nuncio_broker::{Wake, WakeBus};
use nuncio_model::{Channel, Cursor, Pattern, Position, ProjectId};
use nuncio_store::{Head, Store};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::{Bell, Bounds, Content, Group, GroupKey, Hub, Removed, Render, Stream, Tip};
use latest::Latest;

pub use error::{FeedError, Lost, patiently, promptly};
pub use member::{Member, Next};
pub use reader::{Chunk, Reader};
pub use start::{Gap, OnGap, Place, Start};

/// How much of the recent events is kept in memory.
const BOUNDS: Bounds = Bounds { ring_bytes: 4 << 20, line_bytes: 512 << 10, lines_bytes: 32 << 20 };

/// The feeds of all projects on this node.
#[derive(Clone)]
pub struct Feeds(Arc<Inner>);

struct Inner {
    store: Store,
    bus: WakeBus,
    hub: Hub,
    heads: Mutex<HashMap<ProjectId, Arc<Latest<Head>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Feeds {
    /// Begins to listen on the bus. It ends once `stop` is cancelled and the last reader has left.
    pub fn new(store: Store, bus: WakeBus, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (hub, heads) = (Hub::new(BOUNDS), Mutex::default());
        let inner = Arc::new(Inner { store, bus, hub, heads, tasks, stop });
        let wakes = inner.bus.receive();
        inner.tasks.spawn(listen::listen(inner.clone(), wakes));
        inner.tasks.spawn(listen::poll(inner.clone()));
        Self(inner)
    }

    /// Joins the group of this key where `start` says; `render` makes the group where there is none. The bell is rung
    /// with the number when there is something to take, and should be listened to from now on.
    ///
    /// With [`OnGap::Skip`] a cursor that cannot be honoured is no error: the member begins at the oldest place from
    /// which nothing more is missing, and the gap is told. While the database is away this waits.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where the cursor is invalid or has expired, with [`OnGap::Fail`].
    pub async fn join(
        &self,
        project: ProjectId,
        key: &GroupKey,
        render: impl FnOnce() -> Render,
        (start, on_gap): (&Start, OnGap),
        (bell, number): (&Arc<Bell>, u32),
    ) -> Result<(Member, Option<Gap>), FeedError> {
        let stream = self.stream(project);
        // Whoever is counted as a listener is given all that is published from then on.
        let now = match start {
            Start::Now => Some(self.now(&stream).await?),
            _ => None,
        };
        let seat = stream.join(key, render, bell, number);
        if let Some(place) = now {
            return Ok((Member::new(self.clone(), seat, place), None));
        }
        match patiently(|| start.resolve_for(self, &seat)).await {
            Ok(place) => Ok((Member::new(self.clone(), seat, place), None)),
            Err(FeedError::Lost(lost)) if on_gap == OnGap::Skip => {
                Ok((Member::new(self.clone(), seat, lost.place_after()), Some(lost.gap())))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a reader of the events themselves, as [`Self::join`] does.
    ///
    /// # Errors
    /// As those of [`Self::join`].
    pub async fn open(
        &self,
        project: ProjectId,
        patterns: Arc<[Pattern]>,
        start: &Start,
        on_gap: OnGap,
    ) -> Result<(Reader, Option<Gap>), FeedError> {
        let bell = Arc::default();
        let opened = self.join(project, &events_of(patterns), as_they_are, (start, on_gap), (&bell, 0)).await;
        opened.map(|(member, gap)| (Reader::new(member, bell), gap))
    }

    /// A reader of all events after a place that match any of the patterns.
    pub fn subscribe(&self, project: ProjectId, patterns: Arc<[Pattern]>, place: Place) -> Reader {
        let bell = Arc::default();
        let seat = self.stream(project).join(&events_of(patterns), as_they_are, &bell, 0);
        Reader::new(Member::new(self.clone(), seat, place), bell)
    }

    /// How many listen to the channel on this node, by whatever pattern.
    pub fn listeners(&self, project: ProjectId, channel: &Channel) -> usize {
        self.0.hub.get(project).map_or(0, |stream| stream.listeners(channel))
    }

    /// How often something of the project was purged, as far as this node knows; nothing where it knows nothing of it.
    pub fn purges(&self, project: ProjectId) -> Option<i64> {
        Some(self.0.hub.get(project)?.purges()).filter(|purges| *purges >= 0)
    }

    /// Takes the news that something was purged here: this node gives none of it out from now on, and the others look
    /// at once.
    pub fn purged(&self, project: ProjectId, head: Head) {
        let Head { epoch, position, trims, purges, .. } = head;
        if let Some(stream) = self.0.hub.get(project) {
            stream.learn_trims(trims);
            stream.learn_purges(epoch, position, purges);
        }
        self.0.bus.send(Wake { project, epoch, first: position, last: position, events: Vec::new() });
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    /// The place after which everything is still to come. Where the database takes long to tell, events may have come
    /// meanwhile: then it is where the log was last known to end, before it was asked.
    async fn now(&self, stream: &Stream) -> Result<Place, FeedError> {
        let tip = stream.tip();
        let (Head { epoch, position, .. }, late) = promptly(|| self.head(stream)).await?;
        let position = if late && tip.epoch == epoch { tip.position.min(position) } else { position };
        Ok(Place { epoch, position, forgiven: position })
    }

    /// Where the project's log was last known to end; nothing where this node knows nothing of it.
    pub fn tip(&self, project: ProjectId) -> Option<Cursor> {
        let Tip { epoch, position } = self.0.hub.get(project)?.tip();
        (epoch > 0).then_some(Cursor { project, epoch, position })
    }

    /// Where the project's log ends now.
    async fn head(&self, stream: &Stream) -> Result<Head, FeedError> {
        let latest = self.0.heads.lock().entry(stream.project()).or_default().clone();
        let head = latest.get(async || self.0.store.head(stream.project()).await).await?;
        stream.learn_trims(head.trims);
        stream.learn_purges(head.epoch, head.position, head.purges);
        stream.learn_head(head.epoch, head.position);
        // A member that joins must find its group's line begun.
        stream.pump();
        Ok(head)
    }

    /// The position of the newest event that has been removed of what the group reads; 0 where none has.
    async fn removed(&self, stream: &Stream, group: &Group) -> Result<Position, FeedError> {
        let mut removed = group.removed().lock().await;
        let (epoch, trims) = (stream.tip().epoch, stream.trims());
        if let Some(known) = *removed
            && (known.epoch, known.trims) == (epoch, trims)
        {
            return Ok(known.through);
        }
        let found = self.0.store.removed_after(stream.project(), group.patterns(), 0).await?;
        let through = found.unwrap_or(0);
        *removed = Some(Removed { epoch, trims, through });
        Ok(through)
    }

    fn stream(&self, project: ProjectId) -> Arc<Stream> {
        let (stream, made) = self.0.hub.open(project);
        if made {
            self.0.bus.bind(project);
            let pump = listen::pump(self.0.clone(), Arc::downgrade(&stream), stream.advanced());
            self.0.tasks.spawn(pump);
        }
        stream
    }
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").finish_non_exhaustive()
    }
}

/// The group of those who are given the events themselves.
fn events_of(patterns: Arc<[Pattern]>) -> GroupKey {
    GroupKey { patterns, form: "events".into() }
}

fn as_they_are() -> Render {
    Box::new(|event| Some(Content::Event(event.clone())))
}
