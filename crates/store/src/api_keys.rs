//! API keys: made, changed and revoked by administrators, and told apart by their hashes.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use nuncio_model::rights::RightsText;
use nuncio_model::{ProjectId, Rights, Secret};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use crate::closed::settings;
use crate::keys::{make_key, prefix_of};
use crate::{Error, Result, Rotation, Store, crypto};

/// An API key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewApiKey {
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub rights: RightsText,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// The networks that it may be used from; with none, from everywhere.
    pub allowed_networks: Vec<IpNet>,
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
    /// The networks that it may be used from; with none, from everywhere.
    pub allowed_networks: Vec<IpNet>,
    /// The number of the key that it takes the place of.
    pub rotated_from: Option<i64>,
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
    /// What is compared with the hash of a text.
    pub(crate) fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// Whether it may be used from this address.
    pub fn allows_from(&self, address: IpAddr) -> bool {
        let networks = &self.allowed_networks;
        networks.is_empty() || networks.iter().any(|network| network.contains(&address))
    }
}

/// What an API key is told by, without anything that it may do.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) project: ProjectId,
    pub(crate) prefix: String,
    hash: Vec<u8>,
}

impl KnownKey {
    /// What is compared with the hash of a text.
    pub(crate) fn hash(&self) -> &[u8] {
        &self.hash
    }
}

#[derive(FromRow)]
struct RawApiKey {
    id: i64,
    project_id: i32,
    prefix: String,
    hash: Vec<u8>,
    label: String,
    rights: String,
    allowed_networks: Vec<String>,
    rotated_from: Option<i64>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    version: i64,
}

impl TryFrom<RawApiKey> for ApiKey {
    type Error = Error;

    fn try_from(raw: RawApiKey) -> Result<Self> {
        let rights_text: RightsText = settings(&raw.rights, || format!("the rights of key {}", raw.prefix))?;
        let rights = Rights::parse(&rights_text)
            .map_err(|error| Error::Unreadable(format!("the rights of key {}: {error}", raw.prefix)))?;
        let networks: Result<Vec<IpNet>, _> = raw.allowed_networks.iter().map(|text| text.parse()).collect();
        // One that cannot be read must not turn into none, which would be all.
        let allowed_networks = networks
            .map_err(|_| Error::Unreadable(format!("the networks of key {} cannot be read", raw.prefix)))?;
        Ok(Self {
            id: raw.id,
            project: ProjectId(raw.project_id),
            prefix: raw.prefix,
            label: raw.label,
            rights_text,
            rights,
            allowed_networks,
            rotated_from: raw.rotated_from,
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
        " id, project_id, prefix, hash, label, rights::text as rights, allowed_networks, rotated_from, created_at,
          expires_at, revoked_at, last_used_at, version "
    };
}

const CREATE_API_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     insert into api_keys (project_id, prefix, hash, label, rights, expires_at, allowed_networks, rotated_from)
     values ($1, $2, $3, $4, $5, $6, $7, $8) returning",
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

const LOCKED_API_KEY: &str =
    concat!("select", api_key_columns!(), "from api_keys where project_id = $1 and id = $2 for update");

/// The one in force that has taken this one's place.
const SUCCESSOR: &str = "
    select id, prefix from api_keys where project_id = $1 and rotated_from = $2 and revoked_at is null
        and (expires_at is null or expires_at > $3) limit 1";

const END_API_KEY: &str = "
    update api_keys set expires_at = $3, version = version + 1 where project_id = $1 and id = $2";

const UPDATE_API_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update api_keys set label = $3, rights = $4, expires_at = $5, allowed_networks = $6, version = version + 1
     where project_id = $1 and id = $2 returning",
    api_key_columns!()
);

const REVOKE_API_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update api_keys set revoked_at = coalesce(revoked_at, now()),
         version = version + case when revoked_at is null then 1 else 0 end
     where project_id = $1 and id = $2 returning",
    api_key_columns!()
);

const TOUCH_API_KEYS: &str = "
    update api_keys set last_used_at = greatest(last_used_at, t.used_at)
    from unnest($1::bigint[], $2::timestamptz[]) as t(id, used_at) where api_keys.id = t.id";

impl Store {
    /// Makes an API key; its text is told this once.
    ///
    /// # Errors
    /// Where the database refuses; nothing is stored then.
    pub async fn create_api_key(&self, project: ProjectId, new: &NewApiKey) -> Result<(ApiKey, Secret)> {
        let mut change = self.change().await?;
        let made = insert(&mut change, project, new, None).await?;
        change.commit().await?;
        Ok(made)
    }

    /// Makes a key that takes this one's place, with the same label, rights and networks; this one goes on for as long as
    /// `rotation` says, and no longer than it would have.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key; `Refused` where it has been revoked or has ended; `Rotated` where one
    /// in force has its place already.
    pub async fn rotate_api_key(
        &self,
        project: ProjectId,
        id: i64,
        rotation: &Rotation,
    ) -> Result<(ApiKey, Secret)> {
        let mut change = self.change().await?;
        let old = locked(&mut change, project, id).await?;
        rotation.check(old.revoked_at, old.expires_at)?;
        let query = sqlx::query_as(SUCCESSOR).bind(project.0).bind(id).bind(rotation.now);
        let successor: Option<(i64, String)> = query.fetch_optional(&mut *change).await?;
        if let Some((id, prefix)) = successor {
            return Err(Error::Rotated(format!("key {id} ({prefix})")));
        }
        let settings = NewApiKey {
            label: old.label,
            rights: old.rights_text,
            expires_at: rotation.end_of_new(old.expires_at),
            allowed_networks: old.allowed_networks,
        };
        let made = insert(&mut change, project, &settings, Some(id)).await?;
        sqlx::query(END_API_KEY)
            .bind(project.0)
            .bind(id)
            .bind(rotation.end_of_old(old.expires_at))
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(made)
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

    /// All API keys that were not revoked, each with what tells it, and where it can be read, all of it.
    pub(crate) async fn live_api_keys(&self) -> Result<Vec<(KnownKey, Result<ApiKey>)>> {
        let rows: Vec<RawApiKey> = sqlx::query_as(LIVE_API_KEYS).fetch_all(&self.append).await?;
        let read = |raw: RawApiKey| {
            let (prefix, hash) = (raw.prefix.clone(), raw.hash.clone());
            (KnownKey { project: ProjectId(raw.project_id), prefix, hash }, raw.try_into())
        };
        Ok(rows.into_iter().map(read).collect())
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

    /// Changes an API key's label, rights, networks and end to what is made of those that it has; nobody else changes it
    /// meanwhile.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key, and what `apply` refuses.
    pub async fn update_api_key<E: From<Error>>(
        &self,
        project: ProjectId,
        id: i64,
        apply: impl FnOnce(ApiKey) -> Result<NewApiKey, E>,
    ) -> Result<ApiKey, E> {
        let mut change = self.change().await?;
        let new = apply(locked(&mut change, project, id).await?)?;
        let row: RawApiKey = sqlx::query_as(UPDATE_API_KEY)
            .bind(project.0)
            .bind(id)
            .bind(&new.label)
            .bind(Json(&new.rights))
            .bind(new.expires_at)
            .bind(texts(&new.allowed_networks))
            .fetch_one(&mut *change)
            .await
            .map_err(Error::from)?;
        change.commit().await.map_err(Error::from)?;
        Ok(row.try_into()?)
    }

    /// Revokes an API key for good. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the project has no such key.
    pub async fn revoke_api_key(&self, project: ProjectId, id: i64) -> Result<ApiKey> {
        let query = sqlx::query_as(REVOKE_API_KEY).bind(project.0).bind(id);
        let mut change = self.change().await?;
        let row: Option<RawApiKey> = query.fetch_optional(&mut *change).await?;
        change.commit().await?;
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
}

/// The key, which nobody else changes until the transaction ends.
async fn locked(change: &mut PgConnection, project: ProjectId, id: i64) -> Result<ApiKey> {
    let query = sqlx::query_as(LOCKED_API_KEY).bind(project.0).bind(id);
    let row: Option<RawApiKey> = query.fetch_optional(change).await?;
    row.ok_or(Error::NotFound("the key"))?.try_into()
}

fn texts(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(IpNet::to_string).collect()
}

async fn insert(
    change: &mut PgConnection,
    project: ProjectId,
    new: &NewApiKey,
    rotated_from: Option<i64>,
) -> Result<(ApiKey, Secret)> {
    let text = make_key("nk_");
    let raw: RawApiKey = sqlx::query_as(CREATE_API_KEY)
        .bind(project.0)
        .bind(prefix_of(&text))
        .bind(crypto::hash(&text))
        .bind(&new.label)
        .bind(Json(&new.rights))
        .bind(new.expires_at)
        .bind(texts(&new.allowed_networks))
        .bind(rotated_from)
        .fetch_one(change)
        .await?;
    Ok((raw.try_into()?, Secret::new(text)))
}
