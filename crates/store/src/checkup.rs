//! What `nuncio doctor` asks of a database.

use sqlx::FromRow;

use crate::signing_keys::owner;
use crate::{Result, Store};

/// How many connections a server has, and may have, and what this user may do there.
#[derive(Clone, Debug, FromRow)]
pub struct Capacity {
    /// Whether it is a copy that nothing can be written to.
    pub standby: bool,
    /// How many connections it takes, those for its superusers apart.
    pub connections: i32,
    /// How many of those nobody has.
    pub free: i32,
    /// Whether this user may make tables, as partitions are.
    pub may_create: bool,
}

/// What is in a database that Nuncio has made.
#[derive(Clone, Debug, FromRow)]
pub struct Contents {
    /// Whether this user owns the tables, so that it may drop partitions.
    pub owns_tables: bool,
    /// How many admin keys are in force with the role owner, for all projects.
    pub owners: i64,
}

/// The signing keys in force whose secrets have to be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How many there are.
    pub all: usize,
    /// How many of them cannot be decrypted.
    pub unreadable: usize,
}

const CAPACITY: &str = "
    with server as (
        select current_setting('max_connections')::int
                   - current_setting('superuser_reserved_connections')::int as connections,
               (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as used)
    select pg_is_in_recovery() as standby, connections, greatest(0, connections - used) as free,
           coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create
    from server";

const CONTENTS: &str = "
    select (select pg_has_role(relowner, 'usage') from pg_class where oid = 'events'::regclass) as owns_tables,
           (select count(*) from admin_keys where role = 'owner' and projects is null and revoked_at is null
                and (expires_at is null or expires_at > now())) as owners";

const SEALED: &str =
    "select project_id, kid, secret from signing_keys where revoked_at is null and secret is not null";

impl Store {
    /// How much room the server has, and what this user may do there.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn capacity(&self) -> Result<Capacity> {
        Ok(sqlx::query_as(CAPACITY).fetch_one(&self.append).await?)
    }

    /// What is in a database whose schema is this program's.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn contents(&self) -> Result<Contents> {
        Ok(sqlx::query_as(CONTENTS).fetch_one(&self.append).await?)
    }

    /// Tries to decrypt the secrets of all signing keys in force.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn sealed_keys(&self) -> Result<Sealed> {
        let rows: Vec<(i32, String, Vec<u8>)> = sqlx::query_as(SEALED).fetch_all(&self.append).await?;
        let is_unreadable = |(project, kid, sealed): &&(i32, String, Vec<u8>)| {
            self.secret_key().and_then(|key| key.open(&owner(*project, kid), sealed)).is_err()
        };
        Ok(Sealed { all: rows.len(), unreadable: rows.iter().filter(is_unreadable).count() })
    }
}
