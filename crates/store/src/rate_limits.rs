//! Rate limits: as an administrator sees them, and as every node reckons with them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nuncio_model::gcra::Quota;
use nuncio_model::{Limited, ProjectId, RateLimitSettings, Scope};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::closed::settings;
use crate::{Error, Result, Store};

/// How many limits a project may have: each costs something with every request.
const MOST_OF_A_PROJECT: i64 = 100;

/// A rate limit as it stands.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RateLimit {
    /// Its number.
    pub id: i64,
    /// Its settings.
    #[sqlx(json)]
    pub settings: RateLimitSettings,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Raised by every change.
    pub version: i64,
}

/// A rate limit in the form that is reckoned with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub id: i64,
    /// Its version: a limit that was changed starts anew.
    pub version: i64,
    /// Its name in the fields of HTTP: scope, action and number.
    pub name: String,
    /// What is counted together.
    pub scope: Scope,
    /// The one key, subject or namespace that it is for; none where each has it.
    pub target: Option<String>,
    /// How many there may be in a period.
    pub limit: i64,
    /// The length of a period, in seconds.
    pub period_seconds: i64,
    /// The rate.
    pub quota: Quota,
}

impl Rule {
    /// The rule of these settings.
    pub fn of(id: i64, version: i64, settings: RateLimitSettings) -> Self {
        Self {
            id,
            version,
            name: format!("{}-{}-{id}", settings.scope.as_str(), settings.action.as_str()),
            quota: settings.quota(),
            scope: settings.scope,
            limit: settings.limit,
            period_seconds: settings.period_seconds,
            target: settings.target,
        }
    }

    /// Whether it is for whoever has this name, or for everybody.
    pub fn is_for(&self, name: &str) -> bool {
        self.target.as_deref().is_none_or(|target| target == name)
    }

    /// How many are let through in a second.
    pub fn per_second(&self) -> f64 {
        self.limit as f64 / self.period_seconds as f64
    }
}

/// The limits of a project, by what they count.
#[derive(Clone, Debug, Default)]
pub struct RateLimits([Vec<Arc<Rule>>; Limited::COUNT]);

impl RateLimits {
    /// Those that count this.
    pub fn of(&self, action: Limited) -> &[Arc<Rule>] {
        &self.0[action as usize]
    }

    /// Adds a limit on this.
    pub fn add(&mut self, action: Limited, rule: Rule) {
        self.0[action as usize].push(Arc::new(rule));
    }
}

const LIST: &str = "
    select id, settings, created_at, version from rate_limits where project_id = $1 and id > $2 order by id limit $3";

const ONE: &str =
    "select id, settings, created_at, version from rate_limits where project_id = $1 and id = $2";

const LOCKED: &str =
    "select id, settings, created_at, version from rate_limits where project_id = $1 and id = $2 for update";

const ALL: &str = "select project_id, id, version, settings::text from rate_limits order by id";

const CREATE: &str = "
    with room as (select count(*) < $3 as is_left from rate_limits where project_id = $1),
    bumped as (update settings_version set version = version + 1)
    insert into rate_limits (project_id, settings) select $1, $2 from room where is_left
    returning id, settings, created_at, version";

const UPDATE: &str = "
    with bumped as (update settings_version set version = version + 1)
    update rate_limits set settings = $3, version = version + 1
    where project_id = $1 and id = $2
    returning id, settings, created_at, version";

const DELETE: &str = "
    with bumped as (update settings_version set version = version + 1)
    delete from rate_limits where project_id = $1 and id = $2 and ($3::bigint is null or version = $3)";

impl Store {
    /// The project's rate limits after this number.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_rate_limits(
        &self,
        project: ProjectId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<RateLimit>> {
        let query = sqlx::query_as(LIST).bind(project.0).bind(after).bind(limit as i64);
        Ok(query.fetch_all(&self.append).await?)
    }

    pub(crate) async fn all_rate_limits(&self) -> Result<Vec<(ProjectId, Result<(Limited, Rule)>)>> {
        let rows: Vec<(i32, i64, i64, String)> = sqlx::query_as(ALL).fetch_all(&self.append).await?;
        let read = |(project, id, version, json): (i32, i64, i64, String)| {
            let settings: Result<RateLimitSettings> = settings(&json, || format!("rate limit {id}"));
            (ProjectId(project), settings.map(|read| (read.action, Rule::of(id, version, read))))
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// One rate limit.
    ///
    /// # Errors
    /// `NotFound` where the project has no such limit.
    pub async fn rate_limit(&self, project: ProjectId, id: i64) -> Result<RateLimit> {
        let row = sqlx::query_as(ONE).bind(project.0).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the rate limit"))
    }

    /// Makes a rate limit.
    ///
    /// # Errors
    /// `Refused` where the project has as many as it may have.
    pub async fn create_rate_limit(
        &self,
        project: ProjectId,
        settings: &RateLimitSettings,
    ) -> Result<RateLimit> {
        let query = sqlx::query_as(CREATE).bind(project.0).bind(Json(settings)).bind(MOST_OF_A_PROJECT);
        let mut change = self.change().await?;
        let Some(made) = query.fetch_optional(&mut *change).await? else {
            return Err(Error::Refused("a project has a hundred rate limits at most: delete one first"));
        };
        change.commit().await?;
        Ok(made)
    }

    /// Changes a rate limit to what is made of it as it is; nobody else changes it meanwhile. What was spent of it is
    /// forgotten.
    ///
    /// # Errors
    /// `NotFound` where the project has no such limit, and what `apply` refuses.
    pub async fn update_rate_limit<E: From<Error>>(
        &self,
        project: ProjectId,
        id: i64,
        apply: impl FnOnce(RateLimit) -> Result<RateLimitSettings, E>,
    ) -> Result<RateLimit, E> {
        let mut change = self.change().await?;
        let query = sqlx::query_as(LOCKED).bind(project.0).bind(id);
        let row = query.fetch_optional(&mut *change).await.map_err(Error::from)?;
        let settings = apply(row.ok_or(Error::NotFound("the rate limit"))?)?;
        let query = sqlx::query_as(UPDATE).bind(project.0).bind(id).bind(Json(settings));
        let changed = query.fetch_one(&mut *change).await.map_err(Error::from)?;
        change.commit().await.map_err(Error::from)?;
        Ok(changed)
    }

    /// Takes a rate limit away.
    ///
    /// # Errors
    /// `Changed` where the version is another; `NotFound` where none is expected and the limit is gone.
    pub async fn delete_rate_limit(
        &self,
        project: ProjectId,
        id: i64,
        expected_version: Option<i64>,
    ) -> Result<()> {
        let query = sqlx::query(DELETE).bind(project.0).bind(id).bind(expected_version);
        let mut change = self.change().await?;
        let done = query.execute(&mut *change).await?;
        change.commit().await?;
        if done.rows_affected() == 0 {
            Err(Error::missed("the rate limit", expected_version))
        } else {
            Ok(())
        }
    }
}
