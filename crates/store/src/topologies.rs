//! What deleted projects have left in RabbitMQ, until a worker has removed it.

use nuncio_model::{ProjectId, ProjectName};

use crate::{Error, Result, Store};

const ABANDONED: &str = "select project_id, name from abandoned_topologies order by project_id";

const FATE: &str = "
    select exists (select from abandoned_topologies where project_id = $1),
           exists (select from projects where name = $2)";

/// Exchanges and queues of a project that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonedTopology {
    /// The project's number, which no other will have.
    pub project: ProjectId,
    /// Its name, which another may have by now.
    pub name: ProjectName,
}

/// What is to be done with an abandoned topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has a use for it.
    Remove,
    /// A new project has the same name, and so the same exchanges and queues.
    Inherited,
    /// It was seen to already.
    Settled,
}

impl Store {
    /// The topologies that are still to be removed, in the order in which their projects were made.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn abandoned_topologies(&self) -> Result<Vec<AbandonedTopology>> {
        let rows: Vec<(i32, String)> = sqlx::query_as(ABANDONED).fetch_all(&self.append).await?;
        let read = |(id, name): (i32, String)| {
            let name = ProjectName::parse(&name).map_err(|_| {
                Error::Unreadable(format!("the deleted project {id} had a name that is none"))
            })?;
            Ok(AbandonedTopology { project: ProjectId(id), name })
        };
        rows.into_iter().map(read).collect()
    }

    /// What is to be done with an abandoned topology now.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn fate_of(&self, topology: &AbandonedTopology) -> Result<Fate> {
        let query = sqlx::query_as(FATE).bind(topology.project.0).bind(topology.name.as_str());
        let (is_left, is_named): (bool, bool) = query.fetch_one(&self.append).await?;
        Ok(match (is_left, is_named) {
            (false, _) => Fate::Settled,
            (true, true) => Fate::Inherited,
            (true, false) => Fate::Remove,
        })
    }

    /// Forgets a topology that was seen to.
    ///
    /// # Errors
    /// Where the database cannot be asked; it is then seen to once more, which does no harm.
    pub async fn forget_topology(&self, project: ProjectId) -> Result<()> {
        let query = sqlx::query("delete from abandoned_topologies where project_id = $1").bind(project.0);
        query.execute(&self.append).await?;
        Ok(())
    }

    /// Whether the project is there, by the database itself and not by what a node knows of it.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn has_project(&self, project: ProjectId) -> Result<bool> {
        let query = sqlx::query_scalar("select exists (select from projects where id = $1)").bind(project.0);
        Ok(query.fetch_one(&self.append).await?)
    }
}
