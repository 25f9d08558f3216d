//! Keys that tokens are signed with. Secrets are kept encrypted, as they must be read back; public keys as they are.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nuncio_model::{ProjectId, Secret};
use sqlx::{FromRow, PgConnection};

use crate::error::is_unique_violation;
use crate::{Error, Result, Rotation, SigningKey, Store};

/// What tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// The secret of HS256: it also signs.
    Secret(Secret),
    /// A public key: `SubjectPublicKeyInfo` (RFC 5280) in DER.
    Public(Arc<[u8]>),
}

impl From<&Secret> for KeyMaterial {
    fn from(secret: &Secret) -> Self {
        Self::Secret(secret.clone())
    }
}

/// A signing key as it stands, without its secret.
#[derive(Clone, Debug, FromRow)]
pub struct SigningKeyRow {
    /// Its number.
    pub id: i64,
    /// The id that a token's header names.
    pub kid: String,
    /// The one algorithm it is used with.
    pub algorithm: String,
    /// The public key in DER; none where it is a secret.
    pub public_key: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When a token was last checked with it, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Raised by every change.
    pub version: i64,
}

/// A signing key to be made.
#[derive(Clone, Debug)]
pub struct NewSigningKey {
    /// The id that a token's header names.
    pub kid: String,
    /// The one algorithm it is used with.
    pub algorithm: String,
    /// Its secret or public key.
    pub material: KeyMaterial,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    () => {
        " id, kid, algorithm, public_key, created_at, expires_at, revoked_at, last_used_at, version "
    };
}

const CREATE: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     insert into signing_keys (project_id, kid, algorithm, secret, public_key, expires_at, rotated_from)
     values ($1, $2, $3, $4, $5, $6, $7) returning",
    columns!()
);

/// What has ended is left out by the database's clock; the api compares with its own as well.
const LIVE: &str = "
    select id, project_id, kid, algorithm, secret, public_key, expires_at from signing_keys
    where revoked_at is null and (expires_at is null or expires_at > now()) order by id";

const ENDED: &str =
    "select project_id, kid from signing_keys where revoked_at is null and expires_at <= now()";

const LIST: &str =
    concat!("select", columns!(), "from signing_keys where project_id = $1 and id > $2 order by id limit $3");

const ONE: &str = concat!("select", columns!(), "from signing_keys where project_id = $1 and kid = $2");

const LOCKED: &str =
    concat!("select", columns!(), "from signing_keys where project_id = $1 and kid = $2 for update");

const UPDATE: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update signing_keys set expires_at = $3, version = version + 1
     where project_id = $1 and kid = $2 returning",
    columns!()
);

const REVOKE: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update signing_keys set revoked_at = coalesce(revoked_at, now()), version = version + 1
     where project_id = $1 and kid = $2 returning",
    columns!()
);

const END: &str = "
    update signing_keys set expires_at = $3, version = version + 1 where project_id = $1 and kid = $2";

/// The one in force that has taken this one's place.
const SUCCESSOR: &str = "
    select kid from signing_keys where project_id = $1 and rotated_from = $2 and revoked_at is null
        and (expires_at is null or expires_at > $3) limit 1";

const TOUCH: &str = "
    update signing_keys set last_used_at = greatest(last_used_at, t.used_at)
    from unnest($1::bigint[], $2::timestamptz[]) as t(id, used_at) where signing_keys.id = t.id";

#[derive(FromRow)]
struct RawLive {
    id: i64,
    project_id: i32,
    kid: String,
    algorithm: String,
    secret: Option<Vec<u8>>,
    public_key: Option<Vec<u8>>,
    expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Stores a key that tokens are signed with; a secret is encrypted.
    ///
    /// # Errors
    /// `Exists` where the project has a key of this id, `Unreadable` for a secret without `NUNCIO_SECRET_KEY`.
    pub async fn create_signing_key(
        &self,
        project: ProjectId,
        kid: &str,
        algorithm: &str,
        material: impl Into<KeyMaterial>,
    ) -> Result<SigningKeyRow> {
        let (kid, algorithm, material) = (kid.to_owned(), algorithm.to_owned(), material.into());
        self.add_signing_key(project, &NewSigningKey { kid, algorithm, material, expires_at: None }).await
    }

    /// [`Store::create_signing_key`], with all that can be said of a key.
    ///
    /// # Errors
    /// The same.
    pub async fn add_signing_key(&self, project: ProjectId, new: &NewSigningKey) -> Result<SigningKeyRow> {
        let mut change = self.change().await?;
        let row = self.insert_signing_key(&mut change, project, new, None).await?;
        change.commit().await?;
        Ok(row)
    }

    /// Stores a key that takes the place of another, which goes on for as long as `rotation` says, and no longer than it
    /// would have.
    ///
    /// # Errors
    /// As [`Store::create_signing_key`]; `NotFound` where there is no such old key, `Refused` where it has been revoked or
    /// has ended, `Rotated` where one in force has its place already.
    pub async fn rotate_signing_key(
        &self,
        project: ProjectId,
        old: &str,
        rotation: &Rotation,
        new: &NewSigningKey,
    ) -> Result<SigningKeyRow> {
        let mut change = self.change().await?;
        let SigningKeyRow { revoked_at, expires_at, .. } = locked(&mut change, project, old).await?;
        rotation.check(revoked_at, expires_at)?;
        let query = sqlx::query_scalar(SUCCESSOR).bind(project.0).bind(old).bind(rotation.now);
        let successor: Option<String> = query.fetch_optional(&mut *change).await?;
        if let Some(kid) = successor {
            return Err(Error::Rotated(format!("signing key {kid}")));
        }
        let end = sqlx::query(END).bind(project.0).bind(old).bind(rotation.end_of_old(expires_at));
        end.execute(&mut *change).await?;
        let row = self.insert_signing_key(&mut change, project, new, Some(old)).await?;
        change.commit().await?;
        Ok(row)
    }

    async fn insert_signing_key(
        &self,
        change: &mut PgConnection,
        project: ProjectId,
        new: &NewSigningKey,
        rotated_from: Option<&str>,
    ) -> Result<SigningKeyRow> {
        let (secret, public_key) = match &new.material {
            KeyMaterial::Secret(secret) => {
                (Some(self.secret_key()?.seal(&owner(project.0, &new.kid), secret)?), None)
            }
            KeyMaterial::Public(der) => (None, Some(&**der)),
        };
        let made = sqlx::query_as(CREATE)
            .bind(project.0)
            .bind(&new.kid)
            .bind(&new.algorithm)
            .bind(secret)
            .bind(public_key)
            .bind(new.expires_at)
            .bind(rotated_from)
            .fetch_one(change)
            .await;
        made.map_err(|error| {
            if is_unique_violation(&error) { Error::Exists("a signing key of this id") } else { error.into() }
        })
    }

    /// The project's signing keys after this number, revoked ones and those that have ended included.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_signing_keys(
        &self,
        project: ProjectId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<SigningKeyRow>> {
        let query = sqlx::query_as(LIST).bind(project.0).bind(after).bind(limit as i64);
        Ok(query.fetch_all(&self.append).await?)
    }

    /// One signing key.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key.
    pub async fn signing_key(&self, project: ProjectId, kid: &str) -> Result<SigningKeyRow> {
        let row = sqlx::query_as(ONE).bind(project.0).bind(kid).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the signing key"))
    }

    /// Sets a signing key's end to what is made of the key as it is; nobody else changes it meanwhile.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key, and what `apply` refuses.
    pub async fn update_signing_key<E: From<Error>>(
        &self,
        project: ProjectId,
        kid: &str,
        apply: impl FnOnce(SigningKeyRow) -> Result<Option<DateTime<Utc>>, E>,
    ) -> Result<SigningKeyRow, E> {
        let mut change = self.change().await?;
        let expires_at = apply(locked(&mut change, project, kid).await?)?;
        let query = sqlx::query_as(UPDATE).bind(project.0).bind(kid).bind(expires_at);
        let row = query.fetch_one(&mut *change).await.map_err(Error::from)?;
        change.commit().await.map_err(Error::from)?;
        Ok(row)
    }

    /// Revokes a signing key for good. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key.
    pub async fn revoke_signing_key(&self, project: ProjectId, kid: &str) -> Result<SigningKeyRow> {
        let mut change = self.change().await?;
        let row = sqlx::query_as(REVOKE).bind(project.0).bind(kid).fetch_optional(&mut *change).await?;
        change.commit().await?;
        row.ok_or(Error::NotFound("the signing key"))
    }

    /// Notes when signing keys were last used, many at a time.
    ///
    /// # Errors
    /// Where the database cannot be asked; nothing that matters is lost.
    pub async fn touch_signing_keys(&self, used: &[(i64, DateTime<Utc>)]) -> Result<()> {
        let (ids, times): (Vec<i64>, Vec<DateTime<Utc>>) = used.iter().copied().unzip();
        sqlx::query(TOUCH).bind(ids).bind(times).execute(&self.append).await?;
        Ok(())
    }

    /// The ids of the signing keys that have ended, and were not revoked.
    pub(crate) async fn ended_signing_keys(&self) -> Result<Vec<(i32, String)>> {
        Ok(sqlx::query_as(ENDED).fetch_all(&self.append).await?)
    }

    /// All signing keys in force, each with its project. Secrets that cannot be decrypted are left out.
    pub(crate) async fn live_signing_keys(&self) -> Result<Vec<(ProjectId, SigningKey)>> {
        let rows: Vec<RawLive> = sqlx::query_as(LIVE).fetch_all(&self.append).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let RawLive { id, project_id: project, kid, algorithm, secret, public_key, expires_at } = row;
            let open = |sealed: &[u8]| self.secret_key()?.open(&owner(project, &kid), sealed);
            let material = match (secret, public_key) {
                (Some(sealed), _) => open(&sealed).map(KeyMaterial::Secret),
                (None, der) => Ok(KeyMaterial::Public(der.unwrap_or_default().into())),
            };
            match material {
                Ok(material) => {
                    let key = SigningKey { id, kid, algorithm, material, expires_at };
                    keys.push((ProjectId(project), key));
                }
                // One key of one project must not keep all others from being read.
                Err(error) => tracing::warn!(project, kid, %error, "a signing key is left out"),
            }
        }
        Ok(keys)
    }
}

/// The key, which nobody else changes until the transaction ends.
async fn locked(change: &mut PgConnection, project: ProjectId, kid: &str) -> Result<SigningKeyRow> {
    let row = sqlx::query_as(LOCKED).bind(project.0).bind(kid).fetch_optional(change).await?;
    row.ok_or(Error::NotFound("the signing key"))
}

/// What a signing key's encryption is tied to.
pub(crate) fn owner(project: i32, kid: &str) -> String {
    format!("{project}/{kid}")
}
