//! Whoever may have tokens made: administrators, and servers for the users of their own project.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use nuncio_model::{Identity, Rights};
use nuncio_store::{Actor, ActorKind, Project, Store};

use super::{API_KEY, Change, May, bearer, identify};
use crate::app::App;
use crate::error::ApiError;
use crate::problem;

/// Whoever asks for a token, by an admin key that may change things or an API key, in the `Authorization` header.
#[derive(Debug)]
pub(crate) enum Minter {
    /// Any rights may be given.
    Admin(Box<May<Change>>),
    /// Only what the key may do itself may be given. It comes with its name for the audit log.
    Key(Arc<Identity>, Box<Actor>),
}

impl FromRequestParts<Arc<App>> for Minter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let text = bearer::from_header(&parts.headers)?.ok_or_else(bearer::missing)?;
        if text.starts_with(API_KEY) {
            let identity = identify(app, parts, text).await?;
            let known = app
                .directory
                .snapshot()
                .api_key(text)
                .map(|(key, _)| (key.label.clone(), key.prefix.clone()));
            let (name, prefix) = known.unzip();
            let actor = Actor {
                kind: ActorKind::ApiKey,
                name: name.unwrap_or_default(),
                prefix,
                request_id: Some(problem::request_id(&parts.extensions)),
                address: identity.address,
            };
            return Ok(Self::Key(identity, Box::new(actor)));
        }
        May::from_request_parts(parts, app).await.map(Box::new).map(Self::Admin)
    }
}

/// Whether a request carries an API key, good or not.
pub(crate) fn is_api_key(headers: &HeaderMap) -> bool {
    bearer::from_header(headers).ok().flatten().is_some_and(|text| text.starts_with(API_KEY))
}

impl Minter {
    /// The database, changed by whoever is asking.
    pub(crate) fn store(&self, app: &App) -> Store {
        match self {
            Self::Admin(admin) => admin.store(app),
            Self::Key(_, actor) => app.store.acting_as((**actor).clone()),
        }
    }

    /// Refuses rights that are not one's own to give.
    ///
    /// # Errors
    /// `FORBIDDEN`, naming the first of them.
    pub(crate) fn may_give(&self, rights: &Rights) -> Result<(), ApiError> {
        let Self::Key(identity, _) = self else { return Ok(()) };
        match identity.rights.first_beyond(rights) {
            None => Ok(()),
            Some((list, what)) => Err(ApiError::forbidden(format!(
                "this API key may not give the right `{list}` for {what:?}, as it does not have it"
            ))),
        }
    }

    /// An API key's own project, where it has this name.
    pub(crate) fn own_project(&self, app: &App, name: &str) -> Result<Option<Arc<Project>>, ApiError> {
        match self {
            Self::Admin(_) => Ok(None),
            Self::Key(identity, _) if identity.project_name.as_str() == name => {
                app.project(identity).map(Some)
            }
            Self::Key(..) => Err(ApiError::not_found("project")),
        }
    }
}
