//! Admin keys and their roles.

use chrono::{DateTime, Utc};
use nuncio_model::{ProjectId, Secret};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;

use crate::keys::{make_key, prefix_of};
use crate::{Error, Result, Rotation, Store, crypto};

/// What an admin key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything.
    Viewer,
    /// Change everything but admin keys, and delete no project.
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

/// An admin key to be made, or what can be changed of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAdminKey {
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The projects that it is for; none for all.
    pub projects: Option<Vec<ProjectId>>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewAdminKey {
    /// A key for all projects, without an end.
    pub fn new(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, projects: None, expires_at: None }
    }

    /// Whether it may manage admin keys.
    fn is_owner_of_all(&self) -> bool {
        self.role == Role::Owner && self.projects.is_none()
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
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The number of the key that it takes the place of.
    pub rotated_from: Option<i64>,
    /// Whether it was given by the configuration.
    pub configured: bool,
    /// Raised by every change.
    pub version: i64,
    hash: Vec<u8>,
}

impl AdminKey {
    /// What is compared with the hash of a text.
    pub(crate) fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// What of it can be changed.
    pub fn settings(&self) -> NewAdminKey {
        let Self { name, role, projects, expires_at, .. } = self.clone();
        NewAdminKey { name, role, projects, expires_at }
    }
}

#[derive(FromRow)]
struct RawAdminKey {
    id: i64,
    prefix: String,
    hash: Vec<u8>,
    name: String,
    role: String,
    projects: Option<Vec<i32>>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    rotated_from: Option<i64>,
    configured: bool,
    version: i64,
}

impl TryFrom<RawAdminKey> for AdminKey {
    type Error = Error;

    fn try_from(raw: RawAdminKey) -> Result<Self> {
        let role = Role::parse(&raw.role)
            .ok_or_else(|| Error::Unreadable(format!("admin key {} has an unknown role", raw.prefix)))?;
        Ok(Self {
            id: raw.id,
            prefix: raw.prefix,
            name: raw.name,
            role,
            projects: raw.projects.map(|projects| projects.into_iter().map(ProjectId).collect()),
            created_at: raw.created_at,
            expires_at: raw.expires_at,
            revoked_at: raw.revoked_at,
            last_used_at: raw.last_used_at,
            rotated_from: raw.rotated_from,
            configured: raw.configured,
            version: raw.version,
            hash: raw.hash,
        })
    }
}

macro_rules! admin_key_columns {
    () => {
        " id, prefix, hash, name, role, projects, created_at, expires_at, revoked_at, last_used_at, rotated_from,
          configured, version "
    };
}

const CREATE_ADMIN_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     insert into admin_keys (prefix, hash, name, role, projects, expires_at, rotated_from, configured)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (prefix) do nothing returning",
    admin_key_columns!()
);

const LIVE_ADMIN_KEYS: &str =
    concat!("select", admin_key_columns!(), "from admin_keys where revoked_at is null");

const LIST_ADMIN_KEYS: &str = concat!(
    "select",
    admin_key_columns!(),
    "from admin_keys where id > $1 and ($3::bigint is null or id = $3) order by id limit $2"
);

const ONE_ADMIN_KEY: &str = concat!("select", admin_key_columns!(), "from admin_keys where id = $1");

const OF_PREFIX: &str = concat!("select", admin_key_columns!(), "from admin_keys where prefix = $1");

const UPDATE_ADMIN_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update admin_keys set name = $2, role = $3, projects = $4, expires_at = $5, version = version + 1
     where id = $1 returning",
    admin_key_columns!()
);

/// The one in force that has taken this one's place.
const SUCCESSOR: &str = "
    select id, prefix from admin_keys where rotated_from = $1 and revoked_at is null
        and (expires_at is null or expires_at > $2) limit 1";

const REVOKE_ADMIN_KEY: &str = concat!(
    "with bumped as (update settings_version set version = version + 1)
     update admin_keys set revoked_at = coalesce(revoked_at, now()),
         version = version + case when revoked_at is null then 1 else 0 end
     where id = $1 returning",
    admin_key_columns!()
);

const REVOKE_CONFIGURED: &str = "
    update admin_keys set revoked_at = now(), version = version + 1
    where configured and revoked_at is null and id <> $1";

/// Two who each take away the last owner but one would leave none: one waits for the other.
const ONE_AT_A_TIME: &str = "lock table admin_keys in share row exclusive mode";

const OTHER_OWNERS: &str = "
    select exists (select from admin_keys where id <> $1 and role = 'owner' and projects is null
        and revoked_at is null and (expires_at is null or expires_at > $2))";

const TOUCH_ADMIN_KEYS: &str = "
    update admin_keys set last_used_at = greatest(last_used_at, t.used_at)
    from unnest($1::bigint[], $2::timestamptz[]) as t(id, used_at) where admin_keys.id = t.id";

/// What is left must be able to make admin keys.
const LAST_OWNER: Error = Error::Refused(
    "this is the last usable admin key with the role owner for all projects, without which nobody could manage admin \
     keys: make another one first",
);

impl Store {
    /// Makes an admin key for all projects, without an end; its text is told this once.
    ///
    /// # Errors
    /// Where the database refuses.
    pub async fn create_admin_key(&self, name: &str, role: Role) -> Result<Secret> {
        Ok(self.make_admin_key(&NewAdminKey::new(name, role)).await?.1)
    }

    /// Makes an admin key; its text is told this once.
    ///
    /// # Errors
    /// Where the database refuses; nothing is stored then.
    pub async fn make_admin_key(&self, new: &NewAdminKey) -> Result<(AdminKey, Secret)> {
        let mut change = self.change().await?;
        let made = insert(&mut change, new, None).await?;
        change.commit().await?;
        Ok(made)
    }

    /// Makes sure that this admin key exists, for unattended installs. It takes the place of the one that was given in
    /// this way before. One that has been revoked stays so.
    ///
    /// # Errors
    /// `Unreadable` where the text has not the form of an admin key, or begins like another one; `Refused` where it has
    /// been revoked.
    pub async fn ensure_admin_key(&self, text: &Secret, name: &str, role: Role) -> Result<()> {
        let key = text.expose();
        let prefix =
            prefix_of(key).filter(|_| key.starts_with("na_") && key.len() >= 40).ok_or_else(|| {
                Error::Unreadable("an admin key begins with na_ and has at least 40 characters".to_owned())
            })?;
        let mut change = self.change().await?;
        sqlx::query(ONE_AT_A_TIME).execute(&mut *change).await?;
        let known: Option<RawAdminKey> =
            sqlx::query_as(OF_PREFIX).bind(prefix).fetch_optional(&mut *change).await?;
        if let Some(known) = known {
            return is_still_good(&known, key);
        }
        let new = NewAdminKey::new(name, role);
        let made = insert_text(&mut change, &new, (key, prefix), None, true).await?;
        sqlx::query(REVOKE_CONFIGURED).bind(made.id).execute(&mut *change).await?;
        Ok(change.commit().await?)
    }

    pub(crate) async fn live_admin_keys(&self) -> Result<Vec<AdminKey>> {
        let rows: Vec<RawAdminKey> = sqlx::query_as(LIVE_ADMIN_KEYS).fetch_all(&self.append).await?;
        let read = rows.into_iter().map(AdminKey::try_from);
        // One that cannot be read opens nothing, and keeps no other from being read.
        let told = |error: &Error| {
            tracing::warn!(error = error as &dyn std::error::Error, "an admin key is left out")
        };
        Ok(read.filter_map(|key| key.inspect_err(told).ok()).collect())
    }

    /// The admin keys after this number, revoked ones included; one of them alone, where it is named.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn list_admin_keys(
        &self,
        after: i64,
        limit: usize,
        only: Option<i64>,
    ) -> Result<Vec<AdminKey>> {
        let query = sqlx::query_as(LIST_ADMIN_KEYS).bind(after).bind(limit as i64).bind(only);
        let rows: Vec<RawAdminKey> = query.fetch_all(&self.append).await?;
        rows.into_iter().map(AdminKey::try_from).collect()
    }

    /// One admin key.
    ///
    /// # Errors
    /// `NotFound` where there is none of this number.
    pub async fn admin_key(&self, id: i64) -> Result<AdminKey> {
        let row: Option<RawAdminKey> =
            sqlx::query_as(ONE_ADMIN_KEY).bind(id).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the admin key"))?.try_into()
    }

    /// The admin key that is named by this prefix.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn admin_key_of_prefix(&self, prefix: &str) -> Result<AdminKey> {
        let row: Option<RawAdminKey> =
            sqlx::query_as(OF_PREFIX).bind(prefix).fetch_optional(&self.append).await?;
        row.ok_or(Error::NotFound("the admin key"))?.try_into()
    }

    /// Changes an admin key to what is made of it as it is; nobody else changes it meanwhile.
    ///
    /// # Errors
    /// `NotFound`, and what `apply` refuses; `Refused` where nobody could manage admin keys any more after it.
    pub async fn update_admin_key<E: From<Error>>(
        &self,
        id: i64,
        now: DateTime<Utc>,
        apply: impl FnOnce(&AdminKey) -> Result<NewAdminKey, E>,
    ) -> Result<AdminKey, E> {
        let mut change = self.change().await?;
        let key = alone(&mut change, id).await?;
        let new = apply(&key)?;
        match new.expires_at {
            _ if !new.is_owner_of_all() => spare_the_last_owner(&mut change, &key, now, now).await?,
            Some(end) => spare_the_last_owner(&mut change, &key, now, end).await?,
            None => {}
        }
        let changed = update(&mut change, id, &new).await?;
        change.commit().await.map_err(Error::from)?;
        Ok(changed)
    }

    /// Makes a key that takes this one's place; this one goes on for as long as `overlap` says, and no longer than it
    /// would have.
    ///
    /// # Errors
    /// `NotFound`; `Refused` where it has been revoked or has ended; `Rotated` where one in force has its place already.
    pub async fn rotate_admin_key(&self, id: i64, rotation: &Rotation) -> Result<(AdminKey, Secret)> {
        let mut change = self.change().await?;
        let old = alone(&mut change, id).await?;
        rotation.check(old.revoked_at, old.expires_at)?;
        let query = sqlx::query_as(SUCCESSOR).bind(id).bind(rotation.now);
        let successor: Option<(i64, String)> = query.fetch_optional(&mut *change).await?;
        if let Some((id, prefix)) = successor {
            return Err(Error::Rotated(format!("admin key {id} ({prefix})")));
        }
        let new = NewAdminKey { expires_at: rotation.end_of_new(old.expires_at), ..old.settings() };
        if let Some(end) = new.expires_at.filter(|end| old.expires_at.is_none_or(|before| *end < before))
            && new.is_owner_of_all()
            && !others_are_usable(&mut change, id, end).await?
        {
            return Err(LAST_OWNER);
        }
        let made = insert(&mut change, &new, Some(id)).await?;
        let ended = NewAdminKey { expires_at: Some(rotation.end_of_old(old.expires_at)), ..old.settings() };
        update(&mut change, id, &ended).await?;
        change.commit().await?;
        Ok(made)
    }

    /// Revokes an admin key for good. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Refused` where nobody could manage admin keys any more after it.
    pub async fn revoke_admin_key(&self, id: i64, now: DateTime<Utc>) -> Result<AdminKey> {
        let mut change = self.change().await?;
        let key = alone(&mut change, id).await?;
        spare_the_last_owner(&mut change, &key, now, now).await?;
        let revoked = revoke(&mut change, id).await?;
        change.commit().await?;
        Ok(revoked)
    }

    /// Revokes an admin key for good, be it the last owner: for whoever is at the database itself, and can make others.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_any_admin_key(&self, id: i64) -> Result<AdminKey> {
        let mut change = self.change().await?;
        let revoked = revoke(&mut change, id).await?;
        change.commit().await?;
        Ok(revoked)
    }

    /// Notes when admin keys were last used, many at a time.
    ///
    /// # Errors
    /// Where the database cannot be asked; nothing that matters is lost.
    pub async fn touch_admin_keys(&self, used: &[(i64, DateTime<Utc>)]) -> Result<()> {
        let (ids, times): (Vec<i64>, Vec<DateTime<Utc>>) = used.iter().copied().unzip();
        sqlx::query(TOUCH_ADMIN_KEYS).bind(ids).bind(times).execute(&self.append).await?;
        Ok(())
    }
}

/// The key. Others who change admin keys are held off until the transaction ends.
async fn alone(change: &mut PgConnection, id: i64) -> Result<AdminKey> {
    sqlx::query(ONE_AT_A_TIME).execute(&mut *change).await?;
    let row: Option<RawAdminKey> = sqlx::query_as(ONE_ADMIN_KEY).bind(id).fetch_optional(change).await?;
    row.ok_or(Error::NotFound("the admin key"))?.try_into()
}

async fn update(change: &mut PgConnection, id: i64, new: &NewAdminKey) -> Result<AdminKey> {
    let row: RawAdminKey = sqlx::query_as(UPDATE_ADMIN_KEY)
        .bind(id)
        .bind(&new.name)
        .bind(new.role.as_str())
        .bind(numbers(new))
        .bind(new.expires_at)
        .fetch_one(change)
        .await?;
    row.try_into()
}

async fn revoke(change: &mut PgConnection, id: i64) -> Result<AdminKey> {
    let row: Option<RawAdminKey> = sqlx::query_as(REVOKE_ADMIN_KEY).bind(id).fetch_optional(change).await?;
    row.ok_or(Error::NotFound("the admin key"))?.try_into()
}

fn numbers(new: &NewAdminKey) -> Option<Vec<i32>> {
    new.projects.as_ref().map(|projects| projects.iter().map(|project| project.0).collect())
}

async fn insert(
    change: &mut PgConnection,
    new: &NewAdminKey,
    rotated_from: Option<i64>,
) -> Result<(AdminKey, Secret)> {
    let text = make_key("na_");
    let prefix = prefix_of(&text).unwrap_or_default();
    let key = insert_text(change, new, (&text, prefix), rotated_from, false).await?;
    Ok((key, Secret::new(text)))
}

async fn insert_text(
    change: &mut PgConnection,
    new: &NewAdminKey,
    (text, prefix): (&str, &str),
    rotated_from: Option<i64>,
    configured: bool,
) -> Result<AdminKey> {
    let row: Option<RawAdminKey> = sqlx::query_as(CREATE_ADMIN_KEY)
        .bind(prefix)
        .bind(crypto::hash(text))
        .bind(&new.name)
        .bind(new.role.as_str())
        .bind(numbers(new))
        .bind(new.expires_at)
        .bind(rotated_from)
        .bind(configured)
        .fetch_optional(change)
        .await?;
    row.ok_or(Error::Exists("an admin key with this prefix"))?.try_into()
}

/// Whether the key that the configuration gives is the one that is known by its prefix, and in force.
fn is_still_good(known: &RawAdminKey, text: &str) -> Result<()> {
    if !crypto::same(&known.hash, &crypto::hash(text)) {
        return Err(Error::Unreadable(format!(
            "another admin key begins with {}: its first 11 characters must be unlike those of other keys",
            known.prefix
        )));
    }
    match known.revoked_at {
        None => Ok(()),
        Some(_) => Err(Error::Refused("this admin key has been revoked, and stays so: choose another one")),
    }
}

/// Refuses where no usable owner for all projects would be left when this key is none any more; where it is none itself, or
/// ends sooner anyway, nothing is lost with it.
async fn spare_the_last_owner(
    change: &mut PgConnection,
    key: &AdminKey,
    now: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<()> {
    let is_usable = key.revoked_at.is_none() && key.expires_at.is_none_or(|ends| ends > now && ends > end);
    if !(is_usable && key.settings().is_owner_of_all()) {
        return Ok(());
    }
    if others_are_usable(change, key.id, end).await? { Ok(()) } else { Err(LAST_OWNER) }
}

/// Whether there are other owners for all projects who are usable then.
async fn others_are_usable(change: &mut PgConnection, id: i64, then: DateTime<Utc>) -> Result<bool> {
    Ok(sqlx::query_scalar(OTHER_OWNERS).bind(id).bind(then).fetch_one(change).await?)
}
