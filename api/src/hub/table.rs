//! The table of all projects that have readers on this node.

use std::collections::HashMap;
use std::sync::Arc;

use nuncio_model::ProjectId;
use parking_lot::Mutex;

use super::{Bounds, Stream};

/// All projects that have readers on this node, or had some a moment ago.
#[derive(Debug)]
pub struct Hub {
    bounds: Bounds,
    streams: Mutex<HashMap<ProjectId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    stream: Arc<Stream>,
    idle_sweeps: u32,
}

impl Hub {
    /// A hub without projects.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, streams: Mutex::default() }
    }

    /// The project's stream, made where there is none yet; the flag tells that it was made now.
    pub fn open(&self, project: ProjectId) -> (Arc<Stream>, bool) {
        let mut streams = self.streams.lock();
        let made = !streams.contains_key(&project);
        let entry = streams
            .entry(project)
            .or_insert_with(|| Entry { stream: Arc::new(Stream::new(project, self.bounds)), idle_sweeps: 0 });
        entry.idle_sweeps = 0;
        (entry.stream.clone(), made)
    }

    /// The project's stream, if it has one.
    pub fn get(&self, project: ProjectId) -> Option<Arc<Stream>> {
        self.streams.lock().get(&project).map(|entry| entry.stream.clone())
    }

    /// Whether anybody reads anything.
    pub fn is_read(&self) -> bool {
        self.streams.lock().values().any(|entry| entry.stream.is_read())
    }

    /// Lets go of pages that nobody needs any more.
    pub fn tidy(&self) {
        self.streams.lock().values().for_each(|entry| entry.stream.tidy());
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
mod tests {
    use super::*;

    #[test]
    fn idle_projects_leave_memory_after_a_while() {
        let hub = Hub::new(Bounds { ring_bytes: 1 << 20, line_bytes: 1 << 20, lines_bytes: 1 << 20 });
        let (held, _) = hub.open(ProjectId(1));
        drop(hub.open(ProjectId(2)));
        assert!(hub.sweep(2).is_empty());
        assert_eq!(hub.sweep(2), [ProjectId(2)]);
        drop(held);
        assert!(hub.sweep(2).is_empty(), "it counts from when the last reader left");
        assert_eq!(hub.sweep(2), [ProjectId(1)]);
        assert!(hub.active().is_empty());
    }
}
