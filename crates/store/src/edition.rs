//! What the credentials of a project are judged by, in one number: so that a change of one project costs what is open in
//! another no more than a compare.

use std::collections::HashMap;

use nuncio_model::ProjectId;

use crate::{ApiKey, Project, Revocation};

/// Names a project's keys, signing keys and revocations as they were at a time. Two that are equal stand for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition(u64);

/// The editions of all projects.
pub(crate) fn editions<'a>(
    projects: impl Iterator<Item = &'a Project>,
    api_keys: &[ApiKey],
    revocations: &[Revocation],
) -> HashMap<ProjectId, Edition> {
    // Of each thing what names it and what changes with it, in an order of their own.
    let mut parts: HashMap<ProjectId, Vec<String>> = projects
        .map(|project| (project.id, project.signing_keys.iter().map(|key| format!("{key:?}")).collect()))
        .collect();
    let mut add = |project, part: String| {
        if let Some(parts) = parts.get_mut(&project) {
            parts.push(part);
        }
    };
    for key in api_keys {
        add(key.project, format!("{} {}", key.prefix, key.version));
    }
    for revocation in revocations {
        // They are never changed.
        add(revocation.project, format!("- {}", revocation.id));
    }
    parts.into_iter().map(|(project, parts)| (project, edition(parts))).collect()
}

fn edition(mut parts: Vec<String>) -> Edition {
    parts.sort_unstable();
    let mut hash = blake3::Hasher::new();
    for part in &parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 8];
    hash.finalize_xof().fill(&mut bytes);
    Edition(u64::from_le_bytes(bytes))
}
