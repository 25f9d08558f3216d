//! Admin keys and their roles.

use chrono::{DateTime, Utc};
use nuncio_model::{ProjectId, Secret};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::keys::{make_key, prefix_of};
use crate::{Error, Result, Store, crypto};

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
    /// The projects that it is for; none for all.
    pub projects: Option<Vec<ProjectId>>,
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

#[derive(FromRow)]
struct RawAdminKey {
    id: i64,
    prefix: String,
    hash: Vec<u8>,
    name: String,
    role: String,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<RawAdminKey> for AdminKey {
    type Error = Error;

    fn try_from(raw: RawAdminKey) -> Result<Self> {
        let RawAdminKey { id, prefix, hash, name, role, expires_at } = raw;
        let role = Role::parse(&role)
            .ok_or_else(|| Error::Unreadable(format!("admin key {prefix} has an unknown role")))?;
        Ok(Self { id, prefix, name, role, projects: None, expires_at, hash })
    }
}

const CREATE_ADMIN_KEY: &str = "
    with bumped as (update settings_version set version = version + 1)
    insert into admin_keys (prefix, hash, name, role) values ($1, $2, $3, $4)
    on conflict (prefix) do nothing";

const LIVE_ADMIN_KEYS: &str =
    "select id, prefix, hash, name, role, expires_at from admin_keys where revoked_at is null";

impl Store {
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
        let query = sqlx::query(CREATE_ADMIN_KEY).bind(prefix).bind(crypto::hash(key));
        let mut change = self.change().await?;
        query.bind(name).bind(role.as_str()).execute(&mut *change).await?;
        Ok(change.commit().await?)
    }

    pub(crate) async fn live_admin_keys(&self) -> Result<Vec<AdminKey>> {
        let rows: Vec<RawAdminKey> = sqlx::query_as(LIVE_ADMIN_KEYS).fetch_all(&self.append).await?;
        rows.into_iter().map(AdminKey::try_from).collect()
    }
}
