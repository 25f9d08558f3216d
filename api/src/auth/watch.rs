//! What is open for long ends with the credentials that opened it.

use std::sync::Arc;
use std::time::Duration;

use nuncio_model::rights::Proof;
use nuncio_model::{Clock, Identity};
use nuncio_store::{Directory, Snapshot};
use tokio::sync::watch;

use super::Jwks;
use super::token::is_held;
use crate::app::App;

/// The longest time that is slept at once; an end further away is looked at again then.
const LONG: Duration = Duration::from_secs(3_600);

/// Watches over the credentials that a stream or connection was opened with.
#[derive(Debug)]
pub struct Watch {
    identity: Arc<Identity>,
    directory: Directory,
    jwks: Jwks,
    clock: Clock,
    changes: watch::Receiver<i64>,
}

/// Why credentials are no longer good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Their time is over.
    Expired,
    /// The key was revoked or changed, or the project or signing key behind a token is gone.
    Revoked,
}

/// Why the credentials are no longer good, if they are not: for whoever is told when to look.
pub fn lapsed(app: &App, identity: &Identity) -> Option<Lapse> {
    if identity.expires_at.is_some_and(|end| end <= app.clock.now()) {
        return Some(Lapse::Expired);
    }
    (!is_in_force(&app.directory.snapshot(), &app.jwks, identity)).then_some(Lapse::Revoked)
}

impl Watch {
    /// Begins to watch.
    pub fn over(app: &App, identity: Arc<Identity>) -> Self {
        let mut changes = app.directory.changes();
        // They may have been revoked since they were checked.
        changes.mark_changed();
        let (directory, jwks, clock) = (app.directory.clone(), app.jwks.clone(), app.clock.clone());
        Self { identity, directory, jwks, clock, changes }
    }

    /// Waits until they are no longer good: at once when they expire, and within the second in which this node learns
    /// of it when they are revoked. It may be dropped while it waits, and asked again.
    pub async fn lapse(&mut self) -> Lapse {
        loop {
            let left =
                self.identity.expires_at.map(|end| (end - self.clock.now()).to_std().unwrap_or_default());
            if left == Some(Duration::ZERO) {
                return Lapse::Expired;
            }
            tokio::select! {
                biased;
                Ok(()) = self.changes.changed() => {
                    if !is_in_force(&self.directory.snapshot(), &self.jwks, &self.identity) {
                        return Lapse::Revoked;
                    }
                }
                () = tokio::time::sleep(left.map_or(LONG, |left| left.min(LONG))) => {}
            }
        }
    }
}

/// Whether the identity is still what its credentials stand for.
fn is_in_force(snapshot: &Snapshot, jwks: &Jwks, identity: &Identity) -> bool {
    match &identity.proof {
        Proof::ApiKey(prefix) => snapshot.api_key_of_prefix(prefix).is_some_and(|(key, project)| {
            project.id == identity.project
                && key.rights == identity.rights
                && key.expires_at == identity.expires_at
        }),
        Proof::Token(token) => {
            snapshot.project_by_id(identity.project).is_some_and(|project| is_held(jwks, project, token))
        }
    }
}
