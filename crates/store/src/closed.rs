//! Projects with settings that cannot be read. What they allow is not known, so that they are closed; all others go on.

use std::collections::{BTreeSet, HashMap};

use nuncio_model::{ProjectId, ProjectName};
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A project in which nothing may be done until all its settings can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name; none where that is what cannot be read.
    pub name: Option<ProjectName>,
    /// The audience its tokens may carry besides `nuncio:<name>`.
    pub audience: Option<String>,
    /// The rows that cannot be read, each with what is wrong with it.
    pub unreadable: BTreeSet<String>,
}

/// Reads settings that are stored as JSON.
///
/// # Errors
/// `Unreadable`, naming the row.
pub(crate) fn settings<T: DeserializeOwned>(json: &str, row: impl FnOnce() -> String) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::Unreadable(format!("{}: {error}", row())))
}

/// The rows that could not be read, gathered while all settings are.
#[derive(Debug, Default)]
pub(crate) struct Doubts(HashMap<ProjectId, BTreeSet<String>>);

impl Doubts {
    /// What was read of a project, where it could be; else a reason to close it.
    pub(crate) fn sift<T>(&mut self, project: ProjectId, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.0.entry(project).or_default().insert(error.to_string())).ok()
    }

    /// All that there are, by project.
    pub(crate) fn into_inner(self) -> HashMap<ProjectId, BTreeSet<String>> {
        self.0
    }
}

/// Says what cannot be read, each row once and not with every look.
pub(crate) fn tell(closed: &HashMap<ProjectId, Closed>, before: &HashMap<ProjectId, Closed>) {
    for (id, project) in closed {
        let known = before.get(id).map(|before| &before.unreadable);
        for row in project.unreadable.iter().filter(|row| !known.is_some_and(|known| known.contains(*row))) {
            tracing::error!(
                project = id.0,
                name = project.name.as_ref().map(ProjectName::as_str),
                row,
                "a project is closed, as a row of its settings cannot be read: mend the row or delete it"
            );
        }
    }
    for id in before.keys().filter(|id| !closed.contains_key(id)) {
        tracing::info!(project = id.0, "a project is no longer closed");
    }
}
