//! The way out of the log: joins the wake bus, the log and the hub, so that a reader sees every event once, in order.
//!
//! A [`Reader`] holds a place. What is recent it takes from the project's ring in memory, what is older from pages of
//! the log, and between the two it misses nothing and repeats nothing, since both speak in positions. [`Start`] says
//! where a reader begins, and [`FeedError`] why it cannot go on.

mod error;
mod listen;
mod reader;
mod start;

use std::sync::Arc;

use nuncio_broker::WakeBus;
use nuncio_model::{Channel, Pattern, ProjectId};
use nuncio_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::{Hub, Stream};

pub use error::{FeedError, Lost, patiently};
pub use reader::{Chunk, Reader};
pub use start::{Gap, OnGap, Place, Start};

/// How many bytes of recent events of each project with listeners are kept in memory.
const RING_BYTES: usize = 4 << 20;

/// The feeds of all projects on this node.
#[derive(Clone)]
pub struct Feeds(Arc<Inner>);

struct Inner {
    store: Store,
    bus: WakeBus,
    hub: Hub,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Feeds {
    /// Begins to listen on the bus. It ends once `stop` is cancelled and the last reader has left.
    pub fn new(store: Store, bus: WakeBus, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let inner = Arc::new(Inner { store, bus, hub: Hub::new(RING_BYTES), tasks, stop });
        let wakes = inner.bus.receive();
        inner.tasks.spawn(listen::listen(inner.clone(), wakes));
        inner.tasks.spawn(listen::poll(inner.clone()));
        Self(inner)
    }

    /// Opens a reader where `start` says. With [`OnGap::Skip`] a cursor that cannot be honoured is no error: the
    /// reader begins at the oldest place from which nothing more is missing, and the gap is told.
    ///
    /// While the database is away this waits.
    ///
    /// # Errors
    /// [`FeedError::Lost`] where the cursor is invalid or has expired, with [`OnGap::Fail`].
    pub async fn open(
        &self,
        project: ProjectId,
        patterns: Arc<[Pattern]>,
        start: &Start,
        on_gap: OnGap,
    ) -> Result<(Reader, Option<Gap>), FeedError> {
        let store = &self.0.store;
        match patiently(|| start.resolve(store, project, &patterns)).await {
            Ok(place) => Ok((self.subscribe(project, patterns, place), None)),
            Err(FeedError::Lost(lost)) if on_gap == OnGap::Skip => {
                let place = lost.place_after();
                Ok((self.subscribe(project, patterns, place), Some(lost.gap())))
            }
            Err(error) => Err(error),
        }
    }

    /// A reader of all events after a place that match any of the patterns.
    pub fn subscribe(&self, project: ProjectId, patterns: Arc<[Pattern]>, place: Place) -> Reader {
        let seat = self.stream(project).sit(patterns);
        Reader::new(self.0.store.clone(), seat, place)
    }

    /// How many listen to the channel on this node, by whatever pattern.
    pub fn listeners(&self, project: ProjectId, channel: &Channel) -> usize {
        self.0.hub.get(project).map_or(0, |stream| stream.listeners(channel))
    }

    fn stream(&self, project: ProjectId) -> Arc<Stream> {
        let (stream, made) = self.0.hub.open(project);
        if made {
            self.0.bus.bind(project);
        }
        stream
    }
}
