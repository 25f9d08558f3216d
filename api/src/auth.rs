//! Who is asking: API keys, tokens and admin keys, and the extractors that handlers name them by.
//!
//! An extractor says who it is. What they may do is a visible line of each handler; of the admin API's it is a part of the
//! extractor, `May`.

mod bearer;
mod jwks;
mod may;
mod minter;
pub(crate) mod public_key;
pub mod standing;
pub(crate) mod token;
mod usage;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use nuncio_model::rights::Proof;
use nuncio_model::{Action, Channel, Identity, Pattern, ProjectId, Secret};
use nuncio_store::{Actor, ActorKind, AdminKey};

use crate::address::ClientAddress;
use crate::app::App;
use crate::cors;
use crate::error::ApiError;
use crate::problem;

pub use jwks::Jwks;
pub(crate) use may::{Change, ChangeAll, DeleteProjects, ManageAdminKeys, May, Permission};
pub(crate) use minter::{Minter, is_api_key};
pub use standing::{Over, Standing};
pub use token::{MintError, mint_token};
pub use usage::Usage;
pub use watch::Watch;

/// What API keys begin with.
const API_KEY: &str = "nk_";
/// What admin keys begin with.
const ADMIN_KEY: &str = "na_";
/// The longest text that is looked at: an ordinary token has some hundred bytes.
pub(crate) const MAX_CREDENTIALS_BYTES: usize = 8_192;

/// Tells who a key (`nk_…`) or a token (JWT) stands for, now, where it is used from this address. It asks nothing of the
/// database, unless it is long ago that this node knew what is in force.
///
/// # Errors
/// `UNAUTHENTICATED` with a sentence that says what is wrong, and never what would be right.
pub async fn authenticate(app: &App, credentials: &str, address: IpAddr) -> Result<Arc<Identity>, ApiError> {
    if credentials.len() > MAX_CREDENTIALS_BYTES {
        return Err(ApiError::unauthenticated("the credentials are longer than 8192 bytes"));
    }
    if credentials.starts_with(ADMIN_KEY) {
        return Err(ApiError::unauthenticated(
            "admin keys open the admin API alone; use an API key or a token",
        ));
    }
    app.catch_up().await;
    if credentials.starts_with(API_KEY) {
        return of_api_key(app, credentials, address).map(Arc::new);
    }
    let identity = token::read(app, credentials).await?;
    let identity = standing::without_revoked(&app.directory.snapshot(), identity, app.clock.now())?;
    Ok(Arc::new(identity))
}

fn of_api_key(app: &App, text: &str, address: IpAddr) -> Result<Identity, ApiError> {
    let refused = || ApiError::unauthenticated("the API key is unknown, revoked or expired");
    let snapshot = app.directory.snapshot();
    if snapshot.closed_by_api_key(text).is_some() {
        return Err(Over::ProjectClosed.into());
    }
    let (key, project) = snapshot.api_key(text).ok_or_else(refused)?;
    if key.expires_at.is_some_and(|end| end <= app.clock.now()) {
        return Err(refused());
    }
    if !key.allows_from(address) {
        return Err(ApiError::unauthenticated(format!("the API key may not be used from {address}")));
    }
    app.usage.note(key.id, app.clock.now());
    Ok(Identity {
        project: project.id,
        project_name: project.name.clone(),
        subject: None,
        rights: key.rights.clone(),
        expires_at: key.expires_at,
        address: Some(address),
        proof: Proof::ApiKey(key.prefix.clone()),
    })
}

/// [`authenticate`], and for browsers the origin of the page.
async fn identify(app: &App, parts: &Parts, credentials: &str) -> Result<Arc<Identity>, ApiError> {
    let identity = authenticate(app, credentials, ClientAddress::of(&parts.extensions)).await?;
    cors::check_origin(&*app.project(&identity)?, &parts.headers)?;
    Ok(identity)
}

/// Whoever asks something of `/v1`, by the `Authorization` header.
#[derive(Debug)]
pub struct Caller(pub Arc<Identity>);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let text = bearer::from_header(&parts.headers)?.ok_or_else(bearer::missing)?;
        identify(app, parts, text).await.map(Self)
    }
}

/// Whoever opens a stream: as [`Caller`], or by `?access_token=`, since a browser's EventSource sets no headers.
#[derive(Debug)]
pub struct StreamCaller(pub Arc<Identity>);

impl FromRequestParts<Arc<App>> for StreamCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let in_header = bearer::from_header(&parts.headers)?.map(str::to_owned);
        let text = match (in_header, bearer::from_query(parts.uri.query())?) {
            (Some(_), Some(_)) => {
                return Err(ApiError::unauthenticated("the request carries two credentials"));
            }
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => return Err(bearer::missing()),
        };
        identify(app, parts, &text).await.map(Self)
    }
}

/// Refuses what the rights do not cover.
///
/// # Errors
/// `FORBIDDEN`, naming the channel.
pub fn require(identity: &Identity, action: Action, channel: &Channel) -> Result<(), ApiError> {
    if identity.rights.allow(action, channel) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("these credentials may not {} {channel}", verb(action))))
}

/// Refuses a pattern wider than the rights; it is never narrowed.
///
/// # Errors
/// `FORBIDDEN`, naming the pattern.
pub fn require_pattern(identity: &Identity, action: Action, pattern: &Pattern) -> Result<(), ApiError> {
    if identity.rights.allow_pattern(action, pattern) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("these credentials may not {} all of {pattern}", verb(action))))
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Subscribe => "read",
        Action::Publish => "publish to",
        Action::Signal => "signal on",
        Action::Presence => "see the presence of",
    }
}

/// Whoever asks something of `/admin/v1`, by an admin key in the `Authorization` header.
#[derive(Debug)]
pub struct Admin {
    /// The key.
    pub key: AdminKey,
    text: Secret,
    request_id: String,
    address: IpAddr,
}

impl Admin {
    /// Whoever is asking, as the audit log names them.
    pub fn actor(&self) -> Actor {
        Actor {
            kind: ActorKind::AdminKey,
            name: self.key.name.clone(),
            prefix: Some(self.key.prefix.clone()),
            request_id: Some(self.request_id.clone()),
            address: Some(self.address),
        }
    }

    /// The key's text, by which what is kept for its holder alone is sealed.
    pub(crate) fn text(&self) -> &Secret {
        &self.text
    }

    /// Whether the key is for this project.
    pub fn is_for(&self, project: ProjectId) -> bool {
        self.key.projects.as_ref().is_none_or(|projects| projects.contains(&project))
    }

    /// Refuses keys that are for some projects alone.
    ///
    /// # Errors
    /// `FORBIDDEN` for them.
    pub fn is_global(&self) -> Result<(), ApiError> {
        match self.key.projects {
            None => Ok(()),
            Some(_) => Err(ApiError::forbidden("this admin key is for some projects, and this concerns all")),
        }
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let text = bearer::from_header(&parts.headers)?.ok_or_else(bearer::missing)?;
        let refused = || {
            ApiError::unauthenticated(
                "an admin key (na_…) that is known and neither revoked nor expired is needed",
            )
        };
        if text.len() > MAX_CREDENTIALS_BYTES {
            return Err(refused());
        }
        app.catch_up().await;
        let key = app.directory.snapshot().admin_key(text).cloned().ok_or_else(refused)?;
        match key.expires_at {
            Some(end) if end <= app.clock.now() => Err(refused()),
            _ => {
                app.usage.note_admin(key.id, app.clock.now());
                let address = ClientAddress::of(&parts.extensions);
                let (text, request_id) = (Secret::new(text), problem::request_id(&parts.extensions));
                Ok(Self { key, text, request_id, address })
            }
        }
    }
}
