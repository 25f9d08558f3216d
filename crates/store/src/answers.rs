//! Answers to requests that carried an Idempotency-Key: kept for a day, readable by whoever sent them alone.
//!
//! They hold secrets of keys that were just made. Each is encrypted under a key that is derived from the admin key's text
//! and the Idempotency-Key together, of which the database holds neither.

use nuncio_model::Secret;

use crate::{Result, SecretKey, Store, crypto};

/// How long an answer is kept, in seconds.
const KEPT: f64 = 86_400.0;
/// How long a request may be at work before it counts as lost with its node, in seconds: longer than any may take.
const AT_WORK: f64 = 300.0;
/// The most answers of one admin key; over it the oldest are forgotten.
const MAX_ANSWERS: i64 = 10_000;
const ROWS_AT_ONCE: i64 = 10_000;

/// Names the answer to one request of one admin key, and opens it.
#[derive(Clone, Debug)]
pub struct AnswerKey {
    admin_key: i64,
    id: [u8; 32],
    fingerprint: [u8; 32],
    seal: SecretKey,
}

/// What a request finds.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// It is the first: it is to be carried out, and what it holds here ends with [`Store::keep_answer`] or
    /// [`Store::give_up_answer`].
    First(Claim),
    /// The first is still at work.
    AtWork,
    /// The first had another body.
    Another,
    /// The first was answered like this.
    Answered(Secret),
}

/// Held by the one request that is carried out; one that takes over from it has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(i64);

const CLAIM: &str = "
    insert into idempotent_answers as known (admin_key_id, id, fingerprint) values ($1, $2, $3)
    on conflict (admin_key_id, id) do update
    set fingerprint = excluded.fingerprint, claim = known.claim + 1, started_at = clock_timestamp(), answer = null
    where known.started_at < now() - make_interval(secs => case when known.answer is null then $5 else $4 end)
    returning claim";

const KNOWN: &str = "select fingerprint, answer from idempotent_answers where admin_key_id = $1 and id = $2";

const KEEP: &str = "
    update idempotent_answers set answer = $4 where admin_key_id = $1 and id = $2 and claim = $3";

const GIVE_UP: &str = "delete from idempotent_answers where admin_key_id = $1 and id = $2 and claim = $3";

const MAKE_ROOM: &str = "
    delete from idempotent_answers where admin_key_id = $1 and id in (
        select id from idempotent_answers where admin_key_id = $1 order by started_at desc offset $2)";

const SWEEP: &str = "
    delete from idempotent_answers where (admin_key_id, id) in (
        select admin_key_id, id from idempotent_answers
        where started_at < now() - make_interval(secs => $1) order by started_at limit $2)";

impl AnswerKey {
    /// The key of a request: who sends it (the admin key's number and text), to where, under which Idempotency-Key, and
    /// its body.
    pub fn new(admin_key: i64, text: &Secret, [method, path, key]: [&str; 3], body: &[u8]) -> Self {
        let together = Secret::new([text.expose(), "\0", key].concat());
        let bytes = together.expose().as_bytes();
        let names = blake3::derive_key("nuncio 2026-11 names of idempotent answers", bytes);
        let mut id = blake3::Hasher::new_keyed(&names);
        for part in [method, "\0", path] {
            id.update(part.as_bytes());
        }
        Self {
            admin_key,
            id: *id.finalize().as_bytes(),
            fingerprint: *blake3::keyed_hash(&names, body).as_bytes(),
            seal: SecretKey::derive_for("nuncio 2026-11 idempotent answers", &together),
        }
    }

    /// What an answer's encryption is tied to.
    fn owner(&self) -> String {
        format!("{}/{}", self.admin_key, blake3::Hash::from_bytes(self.id).to_hex())
    }
}

impl Store {
    /// Begins a request, unless it has been begun before.
    ///
    /// # Errors
    /// Where the database cannot be asked: nothing was begun.
    pub async fn begin_answer(&self, key: &AnswerKey) -> Result<Attempt> {
        let claimed: Option<i64> = sqlx::query_scalar(CLAIM)
            .bind(key.admin_key)
            .bind(key.id)
            .bind(key.fingerprint)
            .bind(KEPT)
            .bind(AT_WORK)
            .fetch_optional(&self.append)
            .await?;
        if let Some(claim) = claimed {
            sqlx::query(MAKE_ROOM).bind(key.admin_key).bind(MAX_ANSWERS).execute(&self.append).await?;
            return Ok(Attempt::First(Claim(claim)));
        }
        let query = sqlx::query_as(KNOWN).bind(key.admin_key).bind(key.id);
        let known: Option<(Vec<u8>, Option<Vec<u8>>)> = query.fetch_optional(&self.append).await?;
        Ok(match known {
            Some((fingerprint, _)) if !crypto::same(&fingerprint, &key.fingerprint) => Attempt::Another,
            Some((_, Some(sealed))) => Attempt::Answered(key.seal.open(&key.owner(), &sealed)?),
            // Where it is gone, the first has just given up; a repeat will find that out.
            Some((_, None)) | None => Attempt::AtWork,
        })
    }

    /// Keeps the answer for those who ask again.
    ///
    /// # Errors
    /// Where the database refuses: those who ask again are told that the first is at work, until it counts as lost.
    pub async fn keep_answer(&self, key: &AnswerKey, claim: Claim, answer: &Secret) -> Result<()> {
        let sealed = key.seal.seal(&key.owner(), answer)?;
        let query = sqlx::query(KEEP).bind(key.admin_key).bind(key.id).bind(claim.0).bind(sealed);
        query.execute(&self.append).await?;
        Ok(())
    }

    /// Lets the request be carried out again: it did nothing.
    ///
    /// # Errors
    /// As for [`Self::keep_answer`].
    pub async fn give_up_answer(&self, key: &AnswerKey, claim: Claim) -> Result<()> {
        sqlx::query(GIVE_UP).bind(key.admin_key).bind(key.id).bind(claim.0).execute(&self.append).await?;
        Ok(())
    }

    /// Removes the answers that have been kept long enough.
    ///
    /// # Errors
    /// Where the database refuses; the next sweep goes on.
    pub async fn sweep_answers(&self) -> Result<()> {
        let sweep = || sqlx::query(SWEEP).bind(KEPT).bind(ROWS_AT_ONCE).execute(&self.append);
        while sweep().await?.rows_affected() > 0 {}
        Ok(())
    }
}
