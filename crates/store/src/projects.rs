//! Projects, as an administrator sees them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use nuncio_model::{NamespaceSettings, ProjectId, ProjectName};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::closed::settings;
use crate::error::is_unique_violation;
use crate::{Closed, Error, Result, Store};

/// A project to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its name.
    pub name: ProjectName,
    /// The audience its tokens may carry besides `nuncio:<name>`.
    pub audience: Option<String>,
    /// The `iss` that its tokens must carry.
    pub issuer: Option<String>,
    /// Where the public keys of its tokens are published besides its signing keys.
    pub jwks_url: Option<String>,
    /// The origins of the web pages that may use it; `*` is all.
    pub allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    pub defaults: NamespaceSettings,
}

/// What can be changed of a project.
#[derive(Clone, Debug, Default)]
pub struct ProjectChange {
    /// The audience its tokens may carry besides `nuncio:<name>`.
    pub audience: Option<String>,
    /// The `iss` that its tokens must carry.
    pub issuer: Option<String>,
    /// Where the public keys of its tokens are published besides its signing keys.
    pub jwks_url: Option<String>,
    /// The origins of the web pages that may use it.
    pub allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    pub defaults: NamespaceSettings,
}

/// A project as it stands.
#[derive(Clone, Debug)]
pub struct ProjectRow {
    /// Its number.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// The audience its tokens may carry besides `nuncio:<name>`.
    pub audience: Option<String>,
    /// The `iss` that its tokens must carry.
    pub issuer: Option<String>,
    /// Where the public keys of its tokens are published besides its signing keys.
    pub jwks_url: Option<String>,
    /// The origins of the web pages that may use it.
    pub allowed_origins: Vec<String>,
    /// The settings of namespaces that were not made.
    pub defaults: NamespaceSettings,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Raised by every change.
    pub version: i64,
}

#[derive(FromRow)]
struct Raw {
    id: i32,
    name: String,
    audience: Option<String>,
    issuer: Option<String>,
    jwks_url: Option<String>,
    allowed_origins: Vec<String>,
    defaults: String,
    created_at: DateTime<Utc>,
    version: i64,
}

impl TryFrom<Raw> for ProjectRow {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        let name = ProjectName::parse(&raw.name)
            .map_err(|_| Error::Unreadable(format!("project {} has a name that is none", raw.id)))?;
        Ok(Self {
            id: ProjectId(raw.id),
            name,
            audience: raw.audience,
            issuer: raw.issuer,
            jwks_url: raw.jwks_url,
            allowed_origins: raw.allowed_origins,
            defaults: settings(&raw.defaults, || format!("the defaults of project {}", raw.id))?,
            created_at: raw.created_at,
            version: raw.version,
        })
    }
}

macro_rules! columns {
    () => {
        " id, name, audience, issuer, jwks_url, allowed_origins, defaults::text as defaults, created_at, version "
    };
}

const CREATE: &str = concat!(
    "with bumped as (update settings_version set version = version + 1),
     made as (insert into projects (name, audience, allowed_origins, defaults, issuer, jwks_url)
         values ($1, $2, $3, $4, $5, $6) returning *),
     head as (insert into heads (project_id) select id from made)
     select",
    columns!(),
    "from made"
);

const ALL: &str = concat!("select", columns!(), "from projects order by id");

const LIST: &str = concat!(
    "select",
    columns!(),
    "from projects where id > $1 and ($3::text is null or strpos(name, $3) > 0)
         and ($4::integer[] is null or id = any($4)) order by id limit $2"
);

const LOCKED: &str = concat!("select", columns!(), "from projects where id = $1 for no key update");

const UPDATE: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update projects set audience = $2, issuer = $3, jwks_url = $4, allowed_origins = $5, defaults = $6,
         version = version + 1
     where id = $1 returning",
    columns!()
);

const DELETE: &str = "
    with bumped as (update settings_version set version = version + 1),
    deleted as (delete from projects where id = $1 and ($2::bigint is null or version = $2) returning id, name)
    insert into abandoned_topologies (project_id, name) select id, name from deleted";

impl Store {
    /// Makes a project and its empty log.
    ///
    /// # Errors
    /// `Exists` where the name or the audience is taken.
    pub async fn create_project(&self, new: &NewProject) -> Result<ProjectRow> {
        let mut change = self.change().await?;
        let made: Result<Raw, sqlx::Error> = sqlx::query_as(CREATE)
            .bind(new.name.as_str())
            .bind(&new.audience)
            .bind(&new.allowed_origins)
            .bind(Json(&new.defaults))
            .bind(&new.issuer)
            .bind(&new.jwks_url)
            .fetch_one(&mut *change)
            .await;
        let made = made.map_err(name_taken)?;
        change.commit().await?;
        made.try_into()
    }

    /// The projects after this number whose names hold the text; of these alone, where they are named.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_projects(
        &self,
        after: Option<ProjectId>,
        limit: usize,
        name_contains: Option<&str>,
        only: Option<&[ProjectId]>,
    ) -> Result<Vec<ProjectRow>> {
        let rows: Vec<Raw> = sqlx::query_as(LIST)
            .bind(after.map_or(0, |project| project.0))
            .bind(limit as i64)
            .bind(name_contains)
            .bind(only.map(|projects| projects.iter().map(|project| project.0).collect::<Vec<_>>()))
            .fetch_all(&self.append)
            .await?;
        rows.into_iter().map(ProjectRow::try_from).collect()
    }

    /// All projects, each with what is known of it where its row cannot be read.
    pub(crate) async fn all_projects(&self) -> Result<Vec<(ProjectId, Closed, Result<ProjectRow>)>> {
        let rows: Vec<Raw> = sqlx::query_as(ALL).fetch_all(&self.append).await?;
        let read = |raw: Raw| {
            let (name, audience) = (ProjectName::parse(&raw.name).ok(), raw.audience.clone());
            let closed = Closed { name, audience, unreadable: BTreeSet::new() };
            (ProjectId(raw.id), closed, raw.try_into())
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Changes a project to what is made of it as it is; nobody else changes it meanwhile.
    ///
    /// # Errors
    /// `NotFound` where it is gone, `Exists` where the audience is taken, and what `apply` refuses.
    pub async fn update_project<E: From<Error>>(
        &self,
        project: ProjectId,
        apply: impl FnOnce(ProjectRow) -> Result<ProjectChange, E>,
    ) -> Result<ProjectRow, E> {
        let mut change = self.change().await?;
        let query = sqlx::query_as(LOCKED).bind(project.0);
        let row: Option<Raw> = query.fetch_optional(&mut *change).await.map_err(Error::from)?;
        let new = apply(row.ok_or(Error::NotFound("the project"))?.try_into()?)?;
        let row: Raw = sqlx::query_as(UPDATE)
            .bind(project.0)
            .bind(&new.audience)
            .bind(&new.issuer)
            .bind(&new.jwks_url)
            .bind(&new.allowed_origins)
            .bind(Json(&new.defaults))
            .fetch_one(&mut *change)
            .await
            .map_err(name_taken)?;
        change.commit().await.map_err(Error::from)?;
        Ok(row.try_into()?)
    }

    /// Deletes a project with its log, keys and settings, if it still has the expected version. That its exchanges and
    /// queues are to be removed is noted in the same transaction.
    ///
    /// # Errors
    /// `Changed` where the version is another; `NotFound` where none is expected and the project is gone.
    pub async fn delete_project(&self, project: ProjectId, expected_version: Option<i64>) -> Result<()> {
        let query = sqlx::query(DELETE).bind(project.0).bind(expected_version);
        let mut change = self.change().await?;
        let done = query.execute(&mut *change).await?;
        change.commit().await?;
        if done.rows_affected() == 0 { Err(Error::missed("the project", expected_version)) } else { Ok(()) }
    }
}

fn name_taken(error: sqlx::Error) -> Error {
    if is_unique_violation(&error) {
        Error::Exists("a project with this name or audience")
    } else {
        error.into()
    }
}
