//! Makes exchanges and queues as soon as a project exists, whoever will read them: a publisher may be first.

use std::collections::HashSet;
use std::time::Duration;

use nuncio_broker::{Broker, Error, reconnect_delays};
use nuncio_model::{ProjectId, ProjectName};
use nuncio_store::Directory;

/// The directory learns of a new project within a second; the contract gives two.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Declares the topology of every project that comes up, until it is dropped.
pub(crate) async fn run(broker: Broker, directory: Directory) {
    let mut delays = reconnect_delays();
    let mut declared = HashSet::new();
    loop {
        match declare(&broker, &directory, &mut declared).await {
            Ok(()) => {
                delays = reconnect_delays();
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not declare exchanges and queues"
                );
                tokio::time::sleep(delays.next().unwrap_or_default()).await;
            }
        }
    }
}

/// Connects only where something is to be done: projects are made seldom.
async fn declare(
    broker: &Broker,
    directory: &Directory,
    declared: &mut HashSet<ProjectId>,
) -> Result<(), Error> {
    let snapshot = directory.snapshot();
    let new: Vec<(ProjectId, ProjectName)> = snapshot
        .projects()
        .filter(|project| !declared.contains(&project.id))
        .map(|project| (project.id, project.name.clone()))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let link = broker.connect("declare").await?;
    for (id, name) in new {
        link.declare_project(&name).await?;
        declared.insert(id);
    }
    link.close().await;
    Ok(())
}
