//! Revocations: made and forgotten by administrators, and known to every node by heart.

use chrono::{DateTime, Utc};
use nuncio_model::{Action, Pattern, ProjectId, Revoked};
use sqlx::FromRow;

use crate::{Error, Result, Store};

/// The most revocations in force that a project may have: each node keeps them in memory.
pub const MAX_REVOCATIONS: i64 = 10_000;

/// A revocation to be made.
#[derive(Clone, Debug)]
pub struct NewRevocation {
    /// What it takes away.
    pub revoked: Revoked,
    /// Why, for whoever reads the list; empty where nothing was said.
    pub reason: String,
    /// When it is over.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A revocation.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Its number.
    pub id: i64,
    /// Its project.
    pub project: ProjectId,
    /// What it takes away.
    pub revoked: Revoked,
    /// Why, for whoever reads the list; empty where nothing was said.
    pub reason: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it is over.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Which revocations of a list are wanted; what is none is any.
#[derive(Clone, Debug, Default)]
pub struct RevocationFilter {
    /// `jti`, `subject` or `right`.
    pub kind: Option<String>,
    /// Those of this subject.
    pub subject: Option<String>,
    /// Those of the token with this id.
    pub jti: Option<String>,
}

#[derive(FromRow)]
struct RawRevocation {
    id: i64,
    project_id: i32,
    kind: String,
    jti: Option<String>,
    subject: Option<String>,
    action: Option<String>,
    pattern: Option<String>,
    issued_before: Option<DateTime<Utc>>,
    reason: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<RawRevocation> for Revocation {
    type Error = Error;

    fn try_from(raw: RawRevocation) -> Result<Self> {
        let unreadable = || Error::Unreadable(format!("revocation {} cannot be read", raw.id));
        let issued_before = raw.issued_before;
        let revoked = match raw.kind.as_str() {
            "jti" => raw.jti.map(|jti| Revoked::Token { jti }),
            "subject" => raw
                .subject
                .zip(issued_before)
                .map(|(subject, issued_before)| Revoked::Subject { subject, issued_before }),
            _ => {
                let action = raw.action.as_deref().and_then(Action::parse);
                let pattern = raw.pattern.as_deref().and_then(|text| Pattern::parse(text).ok());
                action.zip(pattern).zip(issued_before).map(|((action, pattern), issued_before)| {
                    Revoked::Right { action, pattern, subject: raw.subject, issued_before }
                })
            }
        };
        Ok(Self {
            id: raw.id,
            project: ProjectId(raw.project_id),
            revoked: revoked.ok_or_else(unreadable)?,
            reason: raw.reason,
            created_at: raw.created_at,
            expires_at: raw.expires_at,
        })
    }
}

macro_rules! revocation_columns {
    () => {
        " id, project_id, kind, jti, subject, action, pattern, issued_before, reason, created_at, expires_at "
    };
}

/// Those that have been over for a month are forgotten with the next one.
const CREATE_REVOCATION: &str = concat!(
    "with swept as (
         delete from revocations where project_id = $1 and expires_at < now() - interval '30 days'
     ), room as (
         select 1 from revocations where project_id = $1 and (expires_at is null or expires_at > now())
         having count(*) < $10
     ), made as (
         insert into revocations
             (project_id, kind, jti, subject, action, pattern, issued_before, reason, expires_at)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9 from room returning",
    revocation_columns!(),
    "), bumped as (update settings_version set version = version + 1 where exists (select 1 from made))
     select",
    revocation_columns!(),
    "from made"
);

const LIVE_REVOCATIONS: &str = concat!(
    "select",
    revocation_columns!(),
    "from revocations where expires_at is null or expires_at > now()"
);

const LIST_REVOCATIONS: &str = concat!(
    "select",
    revocation_columns!(),
    "from revocations where project_id = $1 and id > $2 and ($4::text is null or kind = $4)
         and ($5::text is null or subject = $5) and ($6::text is null or jti = $6)
     order by id limit $3"
);

const ONE_REVOCATION: &str =
    concat!("select", revocation_columns!(), "from revocations where project_id = $1 and id = $2");

const DELETE_REVOCATION: &str = "
    with bumped as (update settings_version set version = version + 1)
    delete from revocations where project_id = $1 and id = $2";

impl Store {
    /// Makes a revocation; none where the project has as many as it may.
    ///
    /// # Errors
    /// Where the database refuses; nothing is stored then.
    pub async fn create_revocation(
        &self,
        project: ProjectId,
        new: &NewRevocation,
    ) -> Result<Option<Revocation>> {
        let (kind, jti, subject, action, pattern, issued_before) = match &new.revoked {
            Revoked::Token { jti } => ("jti", Some(jti), None, None, None, None),
            Revoked::Subject { subject, issued_before } => {
                ("subject", None, Some(subject), None, None, Some(issued_before))
            }
            Revoked::Right { action, pattern, subject, issued_before } => {
                let (action, pattern) = (Some(action.as_str()), Some(pattern.as_str()));
                ("right", None, subject.as_ref(), action, pattern, Some(issued_before))
            }
        };
        let mut change = self.change().await?;
        let row: Option<RawRevocation> = sqlx::query_as(CREATE_REVOCATION)
            .bind(project.0)
            .bind(kind)
            .bind(jti)
            .bind(subject)
            .bind(action)
            .bind(pattern)
            .bind(issued_before)
            .bind(&new.reason)
            .bind(new.expires_at)
            .bind(MAX_REVOCATIONS)
            .fetch_optional(&mut *change)
            .await?;
        change.commit().await?;
        row.map(Revocation::try_from).transpose()
    }

    /// The project's revocations after this number, those that are over included.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_revocations(
        &self,
        project: ProjectId,
        after: i64,
        limit: usize,
        filter: &RevocationFilter,
    ) -> Result<Vec<Revocation>> {
        let rows: Vec<RawRevocation> = sqlx::query_as(LIST_REVOCATIONS)
            .bind(project.0)
            .bind(after)
            .bind(limit as i64)
            .bind(&filter.kind)
            .bind(&filter.subject)
            .bind(&filter.jti)
            .fetch_all(&self.append)
            .await?;
        rows.into_iter().map(Revocation::try_from).collect()
    }

    pub(crate) async fn live_revocations(&self) -> Result<Vec<(ProjectId, Result<Revocation>)>> {
        let rows: Vec<RawRevocation> = sqlx::query_as(LIVE_REVOCATIONS).fetch_all(&self.append).await?;
        Ok(rows.into_iter().map(|raw| (ProjectId(raw.project_id), raw.try_into())).collect())
    }

    /// One revocation.
    ///
    /// # Errors
    /// `NotFound` where the project has no such revocation.
    pub async fn revocation(&self, project: ProjectId, id: i64) -> Result<Revocation> {
        let row: Option<RawRevocation> =
            sqlx::query_as(ONE_REVOCATION).bind(project.0).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the revocation"))?.try_into()
    }

    /// Takes a revocation back.
    ///
    /// # Errors
    /// `NotFound` where the project has no such revocation.
    pub async fn delete_revocation(&self, project: ProjectId, id: i64) -> Result<()> {
        let mut change = self.change().await?;
        let done = sqlx::query(DELETE_REVOCATION).bind(project.0).bind(id).execute(&mut *change).await?;
        change.commit().await?;
        if done.rows_affected() == 0 { Err(Error::NotFound("the revocation")) } else { Ok(()) }
    }
}
