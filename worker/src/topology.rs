//! The exchanges and queues of a project: made while it is there, removed when it was deleted.
//!
//! A project's name may be given again, and then the same exchanges and queues are another's. What decides is what
//! PostgreSQL says while the broker's claim is held, and never what a node remembers.

use nuncio_broker::{Link, Names};
use nuncio_model::{ProjectId, ProjectName};
use nuncio_store::{AbandonedTopology, Fate, Store};

use crate::session::Ended;

/// Makes what is missing, unless the project was deleted: whoever removes its topology would not come again.
pub(crate) async fn declare(
    store: &Store,
    link: &Link,
    project: ProjectId,
    name: &ProjectName,
) -> Result<Names, Ended> {
    let claim = link.claim(name).await?;
    if !store.has_project(project).await? {
        claim.release().await?;
        return Err(Ended::Gone);
    }
    let names = claim.declare().await?;
    claim.release().await?;
    Ok(names)
}

/// Removes what a deleted project has left, messages included; where a new project has its name it is that one's, with
/// whatever is in it: what was published before and after cannot be told apart.
///
/// The entrance is closed first, and only then it is decided. So nothing can have come for a project that is made later:
/// its entrance is opened by whoever has the claim after this.
pub(crate) async fn remove(store: &Store, link: &Link, topology: &AbandonedTopology) -> Result<(), Ended> {
    let claim = link.claim(&topology.name).await?;
    if store.fate_of(topology).await? == Fate::Remove {
        claim.close_entrance().await?;
        match store.fate_of(topology).await? {
            Fate::Remove => claim.remove().await?,
            Fate::Inherited => drop(claim.declare().await?),
            Fate::Settled => {}
        }
    }
    store.forget_topology(topology.project).await?;
    claim.release().await?;
    Ok(())
}
