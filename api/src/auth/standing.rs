//! What credentials are worth after they were believed: what is open with them ends, or goes on with less or more.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nuncio_model::revocation::Ended;
use nuncio_model::rights::{Proof, TokenProof};
use nuncio_model::{Action, Clock, Identity, Pattern, ProjectId};
use nuncio_store::{Edition, Snapshot};

use super::Jwks;
use super::token::is_held;
use crate::app::App;
use crate::error::ApiError;

/// Why credentials are worth nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The token's `exp` has come.
    TokenExpired,
    /// The token's `jti` was revoked.
    TokenRevoked,
    /// The tokens of this `sub` that were made before a time were revoked.
    SubjectRevoked,
    /// The end of the key that signed the token has come.
    SigningKeyExpired,
    /// The key that signed the token is gone.
    SigningKeyRevoked,
    /// The end of the API key has come.
    KeyExpired,
    /// The API key was revoked.
    KeyRevoked,
    /// The API key may not be used from this address any more.
    AddressRefused,
    /// The project is gone.
    ProjectDeleted,
    /// Settings of the project cannot be read: what the credentials are worth is not known until they are mended.
    ProjectClosed,
}

impl Over {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// What a WebSocket is closed with: the name, and what to do; at most 123 bytes.
    pub fn close_text(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::TokenExpired => ("TOKEN_EXPIRED", "TOKEN_EXPIRED: connect again with a new token"),
            Self::TokenRevoked => ("TOKEN_REVOKED", "TOKEN_REVOKED: connect again with a new token"),
            Self::SubjectRevoked => ("SUBJECT_REVOKED", "SUBJECT_REVOKED: connect again with a new token"),
            Self::SigningKeyExpired => {
                ("SIGNING_KEY_EXPIRED", "SIGNING_KEY_EXPIRED: connect again with a token of another key")
            }
            Self::SigningKeyRevoked => {
                ("SIGNING_KEY_REVOKED", "SIGNING_KEY_REVOKED: connect again with a token of another key")
            }
            Self::KeyExpired => ("KEY_EXPIRED", "KEY_EXPIRED: connect again with another API key"),
            Self::KeyRevoked => ("KEY_REVOKED", "KEY_REVOKED: connect again with another API key"),
            Self::AddressRefused => {
                ("ADDRESS_REFUSED", "ADDRESS_REFUSED: the API key may not be used from here any more")
            }
            Self::ProjectDeleted => {
                ("PROJECT_DELETED", "PROJECT_DELETED: the project does not exist any more")
            }
            Self::ProjectClosed => ("PROJECT_CLOSED", "PROJECT_CLOSED: try again later"),
        }
    }

    /// What has happened, as a sentence about the credentials.
    pub fn detail(self) -> &'static str {
        match self {
            Self::TokenExpired => "the token has expired",
            Self::TokenRevoked => "the token was revoked",
            Self::SubjectRevoked => "the tokens of this subject that were made until then were revoked",
            Self::SigningKeyExpired => "the key that signed the token has ended",
            Self::SigningKeyRevoked => "the key that signed the token was revoked",
            Self::KeyExpired => "the API key has expired",
            Self::KeyRevoked => "the API key was revoked",
            Self::AddressRefused => "the API key may not be used from this address any more",
            Self::ProjectDeleted => "the project of these credentials does not exist any more",
            Self::ProjectClosed => {
                "the project is closed until its settings, which cannot be read, are mended"
            }
        }
    }
}

impl From<Over> for ApiError {
    fn from(over: Over) -> Self {
        let error = match over {
            Over::ProjectClosed => Self::unavailable(over.detail()),
            _ => Self::unauthenticated(over.detail()),
        };
        error.with("reason", over.name())
    }
}

/// The credentials that something is open with.
#[derive(Debug)]
pub struct Standing {
    identity: Arc<Identity>,
    /// What they were last judged by. As long as that is the same, they need not be judged again.
    edition: Option<Edition>,
}

impl Standing {
    /// Credentials that were believed a moment ago. They may have been revoked since: look once more when what they open
    /// listens to changes.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self { identity, edition: None }
    }

    /// Whoever they stand for, with the rights of the last look.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whether their time has come. It needs no look at the settings.
    ///
    /// # Errors
    /// With the reason, once it has.
    pub fn check_end(&self, clock: &Clock) -> Result<(), Over> {
        // Most keys have no end, and those who deliver ask in every turn: they need not look at the clock.
        let over = self.identity.expires_at.is_some_and(|end| end <= clock.now());
        if !over {
            return Ok(());
        }
        Err(match self.identity.proof {
            Proof::ApiKey(_) => Over::KeyExpired,
            Proof::Token(_) => Over::TokenExpired,
        })
    }

    /// Looks what they are worth now; whether they stand for other rights or another end than before.
    ///
    /// Everything that is open does so after every change of any settings: where those of its own project are the same,
    /// nothing is compared but a number.
    ///
    /// # Errors
    /// With the reason, where they are worth nothing.
    pub fn look(&mut self, app: &App) -> Result<bool, Over> {
        self.check_end(&app.clock)?;
        let snapshot = app.directory.snapshot();
        check_open(&snapshot, self.identity.project)?;
        check_key(&snapshot, &app.jwks, &self.identity)?;
        let edition = snapshot.edition(self.identity.project).ok_or(Over::ProjectDeleted)?;
        if self.edition == Some(edition) {
            return Ok(false);
        }
        self.edition = Some(edition);
        let Some(changed) = judge(&snapshot, &self.identity, app.clock.now())? else { return Ok(false) };
        self.identity = Arc::new(changed);
        self.check_end(&app.clock)?;
        Ok(true)
    }
}

/// Refuses everything in a project whose settings cannot be read.
pub(super) fn check_open(snapshot: &Snapshot, project: ProjectId) -> Result<(), Over> {
    snapshot.closed(project).map_or(Ok(()), |_| Err(Over::ProjectClosed))
}

/// What is left of an identity; none where nothing has changed.
fn judge(snapshot: &Snapshot, identity: &Identity, now: DateTime<Utc>) -> Result<Option<Identity>, Over> {
    match &identity.proof {
        Proof::ApiKey(prefix) => {
            let key = snapshot.api_key_of_prefix(prefix);
            let (key, _) =
                key.filter(|(_, project)| project.id == identity.project).ok_or(Over::KeyRevoked)?;
            if !identity.address.is_none_or(|address| key.allows_from(address)) {
                return Err(Over::AddressRefused);
            }
            if key.rights == identity.rights && key.expires_at == identity.expires_at {
                return Ok(None);
            }
            let (rights, expires_at) = (key.rights.clone(), key.expires_at);
            Ok(Some(Identity { rights, expires_at, ..identity.clone() }))
        }
        Proof::Token(token) => less_revoked(snapshot, identity, token, now),
    }
}

/// Refuses a token whose key is no longer one of its project's. Which keys a project publishes is no setting, and so has
/// no part in an edition.
fn check_key(snapshot: &Snapshot, jwks: &Jwks, identity: &Identity) -> Result<(), Over> {
    let Proof::Token(token) = &identity.proof else { return Ok(()) };
    let project = snapshot.project_by_id(identity.project).ok_or(Over::ProjectDeleted)?;
    if is_held(jwks, project, token) {
        return Ok(());
    }
    let has_ended = !token.published && snapshot.signing_key_has_ended(project.id, &token.kid);
    Err(if has_ended { Over::SigningKeyExpired } else { Over::SigningKeyRevoked })
}

/// An identity that a token has just proved, without what was revoked: for whoever reads tokens.
///
/// # Errors
/// With the reason, where the token is worth nothing.
pub fn without_revoked(
    snapshot: &Snapshot,
    identity: Identity,
    now: DateTime<Utc>,
) -> Result<Identity, Over> {
    // It may have been closed since the token was read, and what it has revoked is then not known.
    check_open(snapshot, identity.project)?;
    let less = match &identity.proof {
        Proof::Token(token) => less_revoked(snapshot, &identity, token, now)?,
        Proof::ApiKey(_) => None,
    };
    Ok(less.unwrap_or(identity))
}

fn less_revoked(
    snapshot: &Snapshot,
    identity: &Identity,
    token: &TokenProof,
    now: DateTime<Utc>,
) -> Result<Option<Identity>, Over> {
    let Some(revocations) = snapshot.revocations(identity.project) else {
        let restored = !identity.rights.denied().is_empty();
        let granted = || Identity { rights: identity.rights.denying(Vec::new()), ..identity.clone() };
        return Ok(restored.then(granted));
    };
    let subject = identity.subject.as_deref().unwrap_or_default();
    match revocations.ended(subject, token, now) {
        Some(Ended::Token) => return Err(Over::TokenRevoked),
        Some(Ended::Subject) => return Err(Over::SubjectRevoked),
        None => {}
    }
    let known = identity.rights.denied().iter().map(|(action, pattern)| (*action, pattern));
    if revocations.denied(subject, token, now).eq(known) {
        return Ok(None);
    }
    let denied = revocations.denied(subject, token, now).map(|(action, pattern)| (action, pattern.clone()));
    Ok(Some(Identity { rights: identity.rights.denying(denied.collect()), ..identity.clone() }))
}

/// What whoever is told whose operation has lost its right; none where the rights still cover all of this.
pub fn lost<'a>(
    identity: &Identity,
    needs: impl IntoIterator<Item = (Action, &'a Pattern)>,
) -> Option<ApiError> {
    let mut needs = needs.into_iter();
    let (action, pattern) =
        needs.find(|(action, pattern)| !identity.rights.allow_pattern(*action, pattern))?;
    let detail = format!("the right to {} {pattern} was taken away", super::verb(action));
    Some(ApiError::forbidden(detail).with("reason", RIGHT_REVOKED))
}

/// The name of why an operation has ended whose credentials are still good for others.
pub const RIGHT_REVOKED: &str = "RIGHT_REVOKED";
