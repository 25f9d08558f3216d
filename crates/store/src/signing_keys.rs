//! Keys that tokens are signed with: kept encrypted, as they must be read back.

use nuncio_model::{ProjectId, Secret};

use crate::error::is_unique_violation;
use crate::{Error, Result, Store};

const CREATE_SIGNING_KEY: &str = "
    with bumped as (update settings_version set version = version + 1)
    insert into signing_keys (project_id, kid, algorithm, secret) values ($1, $2, $3, $4)";

const LIVE_SIGNING_KEYS: &str =
    "select project_id, kid, algorithm, secret from signing_keys where revoked_at is null order by id";

impl Store {
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
        let mut change = self.change().await?;
        query.execute(&mut *change).await.map_err(|error| {
            if is_unique_violation(&error) { Error::Exists("a signing key of this id") } else { error.into() }
        })?;
        Ok(change.commit().await?)
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
}

/// What a signing key's encryption is tied to.
pub(crate) fn owner(project: i32, kid: &str) -> String {
    format!("{project}/{kid}")
}
