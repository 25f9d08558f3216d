//! Administrators who may do what a handler does. Each is an extractor, which stands before that of the body: whoever may
//! not is refused before anything is read of what they sent.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use nuncio_store::{Role, Store};

use super::Admin;
use crate::app::App;
use crate::error::ApiError;

/// Whoever asks, where they may do this. Changes are made by [`May::store`], which an [`Admin`] alone has not: none can be
/// made without a permission in the handler's signature.
#[derive(Debug)]
pub(crate) struct May<P>(Admin, PhantomData<P>);

/// What an administrator may be asked to have.
pub(crate) trait Permission {
    /// Refuses those who do not have it.
    ///
    /// # Errors
    /// `FORBIDDEN`.
    fn check(admin: &Admin) -> Result<(), ApiError>;
}

/// To change what belongs to a project: admins and owners have it.
#[derive(Debug)]
pub(crate) struct Change;

/// To change what concerns all projects: admins and owners for all projects have it.
#[derive(Debug)]
pub(crate) struct ChangeAll;

/// To delete projects: owners have it.
#[derive(Debug)]
pub(crate) struct DeleteProjects;

/// To manage admin keys: owners for all projects have it. Whoever could make a key that may more than their own would be
/// one.
#[derive(Debug)]
pub(crate) struct ManageAdminKeys;

impl Permission for Change {
    fn check(admin: &Admin) -> Result<(), ApiError> {
        match admin.key.role {
            Role::Owner | Role::Admin => Ok(()),
            Role::Viewer => {
                Err(ApiError::forbidden("this admin key may look and not change: its role is viewer"))
            }
        }
    }
}

impl Permission for ChangeAll {
    fn check(admin: &Admin) -> Result<(), ApiError> {
        Change::check(admin)?;
        admin.is_global()
    }
}

impl Permission for DeleteProjects {
    fn check(admin: &Admin) -> Result<(), ApiError> {
        match admin.key.role {
            Role::Owner => Ok(()),
            Role::Admin | Role::Viewer => {
                Err(ApiError::forbidden("only an admin key with the role owner may do this"))
            }
        }
    }
}

impl Permission for ManageAdminKeys {
    fn check(admin: &Admin) -> Result<(), ApiError> {
        DeleteProjects::check(admin)?;
        admin.is_global()
    }
}

impl<P> May<P> {
    /// The database, changed by whoever is asking.
    pub(crate) fn store(&self, app: &App) -> Store {
        app.store.acting_as(self.0.actor())
    }
}

impl<P> Deref for May<P> {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.0
    }
}

impl<P: Permission> FromRequestParts<Arc<App>> for May<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let admin = Admin::from_request_parts(parts, app).await?;
        P::check(&admin)?;
        Ok(Self(admin, PhantomData))
    }
}
