//! API keys, admin keys and signing keys.

use chrono::{DateTime, Utc};
use nuncio_model::rights::RightsText;
use nuncio_model::{ProjectId, Rights, Secret, ids};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::error::is_unique_violation;
use crate::{Error, Result, Store, crypto};

/// The letters of a key that name it: `nk_` or `na_` and the eight that follow.
const PREFIX_LENGTH: usize = 11;

/// The letters of a key that are secret; 40 of 62 kinds are some 238 bits.
const SECRET_LENGTH: usize = 40;

/// An API key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub rights: RightsText,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API key, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its number.
    pub id: i64,
    /// Its project.
    pub project: ProjectId,
    /// The letters that name it.
    pub prefix: String,
    /// What it is for.
    pub label: String,
    /// What it may do, as it was written.
    pub rights_text: RightsText,
    /// What it may do.
    pub rights: Rights,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Raised by every change.
    pub version: i64,
    hash: Vec<u8>,
}

impl ApiKey {
    /// Whether this is the text of the key; takes the same time whatever differs.
    pub(crate) fn is(&self, text: &str) -> bool {
        crypto::same(&crypto::hash(text), &self.hash)
    }
}

/// What an admin key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything.
    Viewer,
    /// Change everything but admin keys.
    Admin,
    /// Everything.
    Owner,
}

impl Role {
    /// The role's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Reads a role's word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Admin, Self::Owner].into_iter().find(|role| role.as_str() == text)
    }
}

/// An admin key, without its secret.
#[derive(Clone, Debug)]
pub struct AdminKey {
    /// Its number.
    pub id: i64,
    /// The letters that name it.
    pub prefix: String,
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    hash: Vec<u8>,
}

impl AdminKey {
    /// Whether this is the text of the key; takes the same time whatever differs.
    pub(crate) fn is(&self, text: &str) -> bool {
        crypto::same(&crypto::hash(text), &self.hash)
    }
}

/// The letters of a key that name it, where the text can be a key at all.
pub(crate) fn prefix_of(text: &str) -> Option<&str> {
    text.get(..PREFIX_LENGTH).filter(|_| text.len() <= 200)
}

#[derive(FromRow)]
struct RawApiKey {
    id: i64,
    project_id: i32,
    prefix: String,
    hash: Vec<u8>,
    label: String,
    rights: Json<RightsText>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    version: i64,
}

impl TryFrom<RawApiKey> for ApiKey {
    type Error = Error;

    fn try_from(raw: RawApiKey) -> Result<Self> {
        let rights = Rights::parse(&raw.rights.0)
            .map_err(|error| Error::Unreadable(format!("the rights of key {}: {error}", raw.prefix)))?;
        Ok(Self {
            id: raw.id,
            project: ProjectId(raw.project_id),
            prefix: raw.prefix,
            label: raw.label,
            rights_text: raw.rights.0,
            rights,
            created_at: raw.created_at,
            expires_at: raw.expires_at,
            revoked_at: raw.revoked_at,
            last_used_at: raw.last_used_at,
            version: raw.version,
            hash: raw.hash,
        })
    }
}

macro_rules! api_key_columns {
    () => {
        " id, project_id, prefix, hash, label, rights, created_at, expires_at, revoked_at, last_used_at, version "
    };
}

const CREATE_API_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     insert into api_keys (project_id, prefix, hash, label, rights, expires_at) values ($1, $2, $3, $4, $5, $6)
     returning",
    api_key_columns!()
);

const LIVE_API_KEYS: &str = concat!("select", api_key_columns!(), "from api_keys where revoked_at is null");

const LIST_API_KEYS: &str = concat!(
    "select",
    api_key_columns!(),
    "from api_keys where project_id = $1 and id > $2 order by id limit $3"
);

const ONE_API_KEY: &str =
    concat!("select", api_key_columns!(), "from api_keys where project_id = $1 and id = $2");

const UPDATE_API_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update api_keys set label = $4, rights = $5, expires_at = $6, version = version + 1
     where project_id = $1 and id = $2 and ($3::bigint is null or version = $3) returning",
    api_key_columns!()
);

const REVOKE_API_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update api_keys set revoked_at = coalesce(revoked_at, now()), version = version + 1
     where project_id = $1 and id = $2 returning",
    api_key_columns!()
);

const TOUCH_API_KEYS: &str = "
    update api_keys set last_used_at = greatest(last_used_at, t.used_at)
    from unnest($1::bigint[], $2::timestamptz[]) as t(id, used_at) where api_keys.id = t.id";

const CREATE_SIGNING_KEY: &str = "
    with bumped as (update settings_version set version = version + 1)
    insert into signing_keys (project_id, kid, algorithm, secret) values ($1, $2, $3, $4)";

const LIVE_SIGNING_KEYS: &str =
    "select project_id, kid, algorithm, secret from signing_keys where revoked_at is null order by id";

const CREATE_ADMIN_KEY: &str = "
    with bumped as (update settings_version set version = version + 1)
    insert into admin_keys (prefix, hash, name, role) values ($1, $2, $3, $4)
    on conflict (prefix) do nothing";

const LIVE_ADMIN_KEYS: &str =
    "select id, prefix, hash, name, role, expires_at from admin_keys where revoked_at is null";

impl Store {
    /// Makes an API key; its text is told this once.
    ///
    /// # Errors
    /// Where the database refuses; nothing is stored then.
    pub async fn create_api_key(&self, project: ProjectId, new: &NewApiKey) -> Result<(ApiKey, Secret)> {
        let text = make_key("nk_");
        let raw: RawApiKey = sqlx::query_as(CREATE_API_KEY)
            .bind(project.0)
            .bind(&text[..PREFIX_LENGTH])
            .bind(crypto::hash(&text))
            .bind(&new.label)
            .bind(Json(&new.rights))
            .bind(new.expires_at)
            .fetch_one(&self.append)
            .await?;
        Ok((raw.try_into()?, Secret::new(text)))
    }

    /// The project's API keys after this number, revoked ones included.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_api_keys(&self, project: ProjectId, after: i64, limit: usize) -> Result<Vec<ApiKey>> {
        let query = sqlx::query_as(LIST_API_KEYS).bind(project.0).bind(after).bind(limit as i64);
        let rows: Vec<RawApiKey> = query.fetch_all(&self.append).await?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    pub(crate) async fn live_api_keys(&self) -> Result<Vec<ApiKey>> {
        let rows: Vec<RawApiKey> = sqlx::query_as(LIVE_API_KEYS).fetch_all(&self.append).await?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    /// One API key.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key.
    pub async fn api_key(&self, project: ProjectId, id: i64) -> Result<ApiKey> {
        let row: Option<RawApiKey> =
            sqlx::query_as(ONE_API_KEY).bind(project.0).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the key"))?.try_into()
    }

    /// Changes an API key's label, rights and end, if it still has the expected version.
    ///
    /// # Errors
    /// `Changed` where the version is another or the key is gone.
    pub async fn update_api_key(
        &self,
        project: ProjectId,
        id: i64,
        expected_version: Option<i64>,
        new: &NewApiKey,
    ) -> Result<ApiKey> {
        let row: Option<RawApiKey> = sqlx::query_as(UPDATE_API_KEY)
            .bind(project.0)
            .bind(id)
            .bind(expected_version)
            .bind(&new.label)
            .bind(Json(&new.rights))
            .bind(new.expires_at)
            .fetch_optional(&self.append)
            .await?;
        row.ok_or(Error::Changed("the key"))?.try_into()
    }

    /// Revokes an API key for good. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key.
    pub async fn revoke_api_key(&self, project: ProjectId, id: i64) -> Result<ApiKey> {
        let row: Option<RawApiKey> =
            sqlx::query_as(REVOKE_API_KEY).bind(project.0).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the key"))?.try_into()
    }

    /// Notes when API keys were last used, many at a time.
    ///
    /// # Errors
    /// Where the database cannot be asked; nothing that matters is lost.
    pub async fn touch_api_keys(&self, used: &[(i64, DateTime<Utc>)]) -> Result<()> {
        let (ids, times): (Vec<i64>, Vec<DateTime<Utc>>) = used.iter().copied().unzip();
        sqlx::query(TOUCH_API_KEYS).bind(ids).bind(times).execute(&self.append).await?;
        Ok(())
    }

    /// Stores a key that tokens are signed with, encrypted.
    ///
    /// # Errors
    /// `Exists` where the project has a key of this id, `Unreadable` without `NUNCIO_SECRET_KEY`.
    pub async fn create_signing_key(
        &self,
        project: ProjectId,
        kid: &str,
        algorithm: &str,
        secret: &Secret,
    ) -> Result<()> {
        let sealed = self.secret_key()?.seal(&owner(project.0, kid), secret)?;
        let query = sqlx::query(CREATE_SIGNING_KEY).bind(project.0).bind(kid).bind(algorithm).bind(sealed);
        query.execute(&self.append).await.map_err(|error| {
            if is_unique_violation(&error) { Error::Exists("a signing key of this id") } else { error.into() }
        })?;
        Ok(())
    }

    /// All signing keys in force: project, key id, algorithm, secret. Those that cannot be decrypted are left out.
    pub(crate) async fn live_signing_keys(&self) -> Result<Vec<(i32, String, String, Secret)>> {
        let rows: Vec<(i32, String, String, Vec<u8>)> =
            sqlx::query_as(LIVE_SIGNING_KEYS).fetch_all(&self.append).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for (project, kid, algorithm, sealed) in rows {
            match self.secret_key().and_then(|key| key.open(&owner(project, &kid), &sealed)) {
                Ok(secret) => keys.push((project, kid, algorithm, secret)),
                // One key of one project must not keep all others from being read.
                Err(error) => tracing::warn!(project, kid, %error, "a signing key is left out"),
            }
        }
        Ok(keys)
    }

    /// Makes an admin key; its text is told this once.
    ///
    /// # Errors
    /// Where the database refuses.
    pub async fn create_admin_key(&self, name: &str, role: Role) -> Result<Secret> {
        let text = Secret::new(make_key("na_"));
        self.ensure_admin_key(&text, name, role).await?;
        Ok(text)
    }

    /// Makes sure that this admin key exists, for unattended installs.
    ///
    /// # Errors
    /// `Unreadable` where the text has not the form of an admin key.
    pub async fn ensure_admin_key(&self, text: &Secret, name: &str, role: Role) -> Result<()> {
        let key = text.expose();
        let prefix =
            prefix_of(key).filter(|_| key.starts_with("na_") && key.len() >= 40).ok_or_else(|| {
                Error::Unreadable("an admin key begins with na_ and has at least 40 characters".to_owned())
            })?;
        sqlx::query(CREATE_ADMIN_KEY)
            .bind(prefix)
            .bind(crypto::hash(key))
            .bind(name)
            .bind(role.as_str())
            .execute(&self.append)
            .await?;
        Ok(())
    }

    pub(crate) async fn live_admin_keys(&self) -> Result<Vec<AdminKey>> {
        let rows: Vec<(i64, String, Vec<u8>, String, String, Option<DateTime<Utc>>)> =
            sqlx::query_as(LIVE_ADMIN_KEYS).fetch_all(&self.append).await?;
        rows.into_iter()
            .map(|(id, prefix, hash, name, role, expires_at)| {
                let role = Role::parse(&role)
                    .ok_or_else(|| Error::Unreadable(format!("admin key {prefix} has an unknown role")))?;
                Ok(AdminKey { id, prefix, name, role, expires_at, hash })
            })
            .collect()
    }
}

/// What a signing key's encryption is tied to.
fn owner(project: i32, kid: &str) -> String {
    format!("{project}/{kid}")
}

fn make_key(kind: &str) -> String {
    format!("{kind}{}_{}", ids::random_text(PREFIX_LENGTH - kind.len()), ids::random_text(SECRET_LENGTH))
}
