//! How far clients are known to have received, for those that come back with a resume id.

use nuncio_model::{Cursor, Epoch, Position, ProjectId, ResumeKey};
use sqlx::FromRow;

use crate::{Result, Store};

/// How many ids are remembered of one subject; those that were seen longest ago are forgotten first. An API key may be
/// the subject of many clients.
const MOST_OF_A_SUBJECT: i64 = 10_000;

const CLAIM: &str = "
    insert into resumes (project_id, key, owner) values ($1, $2, $3)
    on conflict (project_id, key)
    do update set claim = resumes.claim + 1, claimed_at = now(), seen_at = now()
    returning claim, epoch, position";

/// One that is in use is noted once an hour, so that what was not seen for two is not in use.
const CROWD_OUT: &str = "
    delete from resumes where project_id = $1 and key in (
        select key from resumes where project_id = $1 and owner = $2 order by seen_at desc offset $3)
    and seen_at < now() - interval '2 hours'";

/// Takes a new id back where its subject has too many that are in use.
const TURN_AWAY: &str = "
    delete from resumes where project_id = $1 and key = $4 and claim = 1
        and (select count(*) from resumes where project_id = $1 and owner = $2) > $3";

/// What was claimed by somebody else since is left as it is.
const SAVE: &str = "
    update resumes r set epoch = p.epoch, position = p.position,
        seen_at = case when r.seen_at < now() - interval '1 hour' then now() else r.seen_at end
    from unnest($1::int[], $2::bytea[], $3::bigint[], $4::int[], $5::bigint[])
        as p (project_id, key, claim, epoch, position)
    where r.project_id = p.project_id and r.key = p.key and r.claim = p.claim
    returning r.project_id, r.key, r.claim";

/// Looks back further than any statement may take, so that none is committed too late to be seen.
const RECENT: &str = "
    select project_id, key, claim from resumes where claim > 1 and claimed_at > now() - interval '30 seconds'";

const FORGET: &str = "delete from resumes where seen_at < now() - interval '25 hours'";

/// An id that was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Counts who has taken it up; whoever has a lower number has lost it.
    pub number: i64,
    /// How far the client is known to have received; none where the id is new.
    pub place: Option<Cursor>,
}

/// How far a client is known to have received, by whoever claimed its id under this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The id.
    pub key: ResumeKey,
    /// The number of the claim.
    pub claim: i64,
    /// The place.
    pub place: Cursor,
}

/// Which id is claimed under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claimed {
    /// The project.
    pub project: ProjectId,
    /// The key of the id.
    pub key: [u8; 16],
    /// The number.
    pub claim: i64,
}

type ClaimedRow = (i32, [u8; 16], i64);

impl Claimed {
    fn of((project, key, claim): ClaimedRow) -> Self {
        Self { project: ProjectId(project), key, claim }
    }
}

#[derive(FromRow)]
struct ClaimRow {
    claim: i64,
    epoch: Option<Epoch>,
    position: Option<Position>,
}

impl Store {
    /// Takes an id up: whoever had it before has lost it. None where it is new, and its subject has too many in use.
    ///
    /// # Errors
    /// Where the database cannot be asked. It may then have been taken up all the same; doing it again is right.
    pub async fn claim_resume(&self, key: &ResumeKey) -> Result<Option<Claim>> {
        let ResumeKey { project, owner, key } = key;
        let row: ClaimRow =
            sqlx::query_as(CLAIM).bind(project.0).bind(key).bind(owner).fetch_one(&self.append).await?;
        if row.claim == 1 {
            let bounded =
                |statement| sqlx::query(statement).bind(project.0).bind(owner).bind(MOST_OF_A_SUBJECT);
            bounded(CROWD_OUT).execute(&self.append).await?;
            if bounded(TURN_AWAY).bind(key).execute(&self.append).await?.rows_affected() > 0 {
                return Ok(None);
            }
        }
        let place = row.epoch.zip(row.position);
        let place = place.map(|(epoch, position)| Cursor { project: *project, epoch, position });
        Ok(Some(Claim { number: row.claim, place }))
    }

    /// Notes places; answers for which of the ids that was done. The others belong to somebody else by now.
    ///
    /// # Errors
    /// Where the database cannot be asked. Doing it again is right.
    pub async fn save_resumes(&self, known: &[Known]) -> Result<Vec<Claimed>> {
        let saved = sqlx::query_as::<_, ClaimedRow>(SAVE)
            .bind(known.iter().map(|known| known.key.project.0).collect::<Vec<_>>())
            .bind(known.iter().map(|known| known.key.key.to_vec()).collect::<Vec<_>>())
            .bind(known.iter().map(|known| known.claim).collect::<Vec<_>>())
            .bind(known.iter().map(|known| known.place.epoch).collect::<Vec<_>>())
            .bind(known.iter().map(|known| known.place.position).collect::<Vec<_>>());
        Ok(saved.fetch_all(&self.append).await?.into_iter().map(Claimed::of).collect())
    }

    /// The ids that were taken up again in the last half minute, by whichever node.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn recent_resumes(&self) -> Result<Vec<Claimed>> {
        let recent = sqlx::query_as::<_, ClaimedRow>(RECENT).fetch_all(&self.append).await?;
        Ok(recent.into_iter().map(Claimed::of).collect())
    }

    /// Forgets the ids that nobody has used for a day. One that is in use is noted once an hour, so that a day may be
    /// an hour longer.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn forget_resumes(&self) -> Result<()> {
        sqlx::query(FORGET).execute(&self.append).await?;
        Ok(())
    }
}
