//! Makes exchanges and queues as soon as a project exists, whoever will read them, since a publisher may be first; and
//! removes them when it was deleted, so that publishers are refused rather than fill a queue that nobody reads.

use std::collections::HashSet;
use std::time::Duration;

use nuncio_broker::{Broker, Link, reconnect_delays};
use nuncio_model::{ProjectId, ProjectName};
use nuncio_store::{AbandonedTopology, Directory, Store};

use crate::session::Ended;
use crate::topology;

/// The directory learns of a new project within a second; the contract gives two.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Makes and removes the topologies of all projects, until it is dropped. Every worker does so; who comes second finds
/// nothing to do.
pub(crate) async fn run(store: Store, broker: Broker, directory: Directory) {
    let mut delays = reconnect_delays();
    let mut herald = Herald { store, broker, directory, declared: HashSet::new(), looked: None };
    loop {
        match herald.look().await {
            Ok(()) => {
                delays = reconnect_delays();
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not make or remove exchanges and queues"
                );
                tokio::time::sleep(delays.next().unwrap_or_default()).await;
            }
        }
    }
}

struct Herald {
    store: Store,
    broker: Broker,
    directory: Directory,
    /// The projects whose topology was made.
    declared: HashSet<ProjectId>,
    /// The settings under which nothing was left to be removed.
    looked: Option<i64>,
}

impl Herald {
    /// Connects only where something is to be done: projects are made and deleted seldom.
    async fn look(&mut self) -> Result<(), Ended> {
        let version = *self.directory.changes().borrow();
        let abandoned = match self.looked == Some(version) {
            true => Vec::new(),
            false => self.store.abandoned_topologies().await?,
        };
        let new = self.new_projects();
        if !new.is_empty() || !abandoned.is_empty() {
            let link = self.broker.connect("declare").await?;
            self.work(&link, new, abandoned).await?;
            link.close().await;
        }
        self.looked = Some(version);
        Ok(())
    }

    fn new_projects(&self) -> Vec<(ProjectId, ProjectName)> {
        let snapshot = self.directory.snapshot();
        let new = snapshot.projects().filter(|project| !self.declared.contains(&project.id));
        new.map(|project| (project.id, project.name.clone())).collect()
    }

    async fn work(
        &mut self,
        link: &Link,
        new: Vec<(ProjectId, ProjectName)>,
        abandoned: Vec<AbandonedTopology>,
    ) -> Result<(), Ended> {
        for (id, name) in new {
            match topology::declare(&self.store, link, id, &name).await {
                // It was deleted since; the settings will say so.
                Ok(_) | Err(Ended::Gone) => self.declared.insert(id),
                Err(error) => return Err(error),
            };
        }
        for topology in abandoned {
            topology::remove(&self.store, link, &topology).await?;
            tracing::info!(project = %topology.name, "a deleted project has no exchanges and queues any more");
        }
        Ok(())
    }
}
