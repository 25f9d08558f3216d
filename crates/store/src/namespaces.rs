//! Settings of namespaces that differ from their project's defaults.

use chrono::{DateTime, Utc};
use nuncio_model::{NamespaceSettings, ProjectId};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::closed::settings;
use crate::error::is_unique_violation;
use crate::{Error, Result, Store};

/// A namespace that has settings of its own.
#[derive(Clone, Debug, FromRow)]
pub struct Namespace {
    /// The first segment of its channels.
    pub name: String,
    /// Its settings.
    #[sqlx(json)]
    pub settings: NamespaceSettings,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Raised by every change.
    pub version: i64,
}

const LIST: &str = "
    select name, settings, created_at, version from namespaces
    where project_id = $1 and name > $2 order by name limit $3";

const ONE: &str =
    "select name, settings, created_at, version from namespaces where project_id = $1 and name = $2";

const LOCKED: &str = "select name, settings, created_at, version from namespaces where project_id = $1 and name = $2 for update";

const ALL: &str = "select project_id, name, settings::text from namespaces";

const CREATE: &str = "
    with bumped as (update settings_version set version = version + 1)
    insert into namespaces (project_id, name, settings) values ($1, $2, $3)
    returning name, settings, created_at, version";

const UPDATE: &str = "
    with bumped as (update settings_version set version = version + 1)
    update namespaces set settings = $3, version = version + 1
    where project_id = $1 and name = $2
    returning name, settings, created_at, version";

const DELETE: &str = "
    with bumped as (update settings_version set version = version + 1)
    delete from namespaces where project_id = $1 and name = $2 and ($3::bigint is null or version = $3)";

impl Store {
    /// The namespaces whose names come after this one.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_namespaces(
        &self,
        project: ProjectId,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Namespace>> {
        Ok(sqlx::query_as(LIST)
            .bind(project.0)
            .bind(after)
            .bind(limit as i64)
            .fetch_all(&self.append)
            .await?)
    }

    pub(crate) async fn all_namespaces(&self) -> Result<Vec<(ProjectId, String, Result<NamespaceSettings>)>> {
        let rows: Vec<(i32, String, String)> = sqlx::query_as(ALL).fetch_all(&self.append).await?;
        let read = |(project, name, json): (i32, String, String)| {
            let settings = settings(&json, || format!("the settings of namespace {name}"));
            (ProjectId(project), name, settings)
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// One namespace.
    ///
    /// # Errors
    /// `NotFound` where it was not made.
    pub async fn namespace(&self, project: ProjectId, name: &str) -> Result<Namespace> {
        let row = sqlx::query_as(ONE).bind(project.0).bind(name).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the namespace"))
    }

    /// Gives a namespace settings of its own.
    ///
    /// # Errors
    /// `Exists` where it has some.
    pub async fn create_namespace(
        &self,
        project: ProjectId,
        name: &str,
        settings: &NamespaceSettings,
    ) -> Result<Namespace> {
        let query = sqlx::query_as(CREATE).bind(project.0).bind(name).bind(Json(settings));
        let mut change = self.change().await?;
        let made = query.fetch_one(&mut *change).await.map_err(|error| {
            if is_unique_violation(&error) { Error::Exists("the namespace") } else { error.into() }
        })?;
        change.commit().await?;
        Ok(made)
    }

    /// Changes a namespace's settings to what is made of those that it has; nobody else changes it meanwhile.
    ///
    /// # Errors
    /// `NotFound` where it was not made, and what `apply` refuses.
    pub async fn update_namespace<E: From<Error>>(
        &self,
        project: ProjectId,
        name: &str,
        apply: impl FnOnce(Namespace) -> Result<NamespaceSettings, E>,
    ) -> Result<Namespace, E> {
        let mut change = self.change().await?;
        let query = sqlx::query_as(LOCKED).bind(project.0).bind(name);
        let row = query.fetch_optional(&mut *change).await.map_err(Error::from)?;
        let settings = apply(row.ok_or(Error::NotFound("the namespace"))?)?;
        let query = sqlx::query_as(UPDATE).bind(project.0).bind(name).bind(Json(settings));
        let changed = query.fetch_one(&mut *change).await.map_err(Error::from)?;
        change.commit().await.map_err(Error::from)?;
        Ok(changed)
    }

    /// Takes a namespace's own settings away: the project's defaults hold from then on.
    ///
    /// # Errors
    /// `Changed` where the version is another; `NotFound` where none is expected and the namespace is gone.
    pub async fn delete_namespace(
        &self,
        project: ProjectId,
        name: &str,
        expected_version: Option<i64>,
    ) -> Result<()> {
        let query = sqlx::query(DELETE).bind(project.0).bind(name).bind(expected_version);
        let mut change = self.change().await?;
        let done = query.execute(&mut *change).await?;
        change.commit().await?;
        if done.rows_affected() == 0 { Err(Error::missed("the namespace", expected_version)) } else { Ok(()) }
    }
}
