//! Appending to the log: one short transaction of four statements under the project's lock, whatever the batch's size.
//!
//! `position` and `sequence` are assigned under the lock of the project's row in `heads`, which is held to the commit:
//! commit order is position order, and there are no holes. As that lock admits one writer at a time, a repeat is found
//! by a plain look-up before a plain insert.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::{Data, Draft, Epoch, Event, NamespaceSettings, Position, ProjectId};
use sqlx::PgTransaction;
use uuid::Uuid;

use crate::{Error, Result, Store, partitions};

/// What the namespace says about keeping an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    dedupe_seconds: i64,
    class: i16,
}

impl Policy {
    /// The policy of a namespace with these settings.
    pub fn of(settings: &NamespaceSettings) -> Self {
        Self {
            dedupe_seconds: settings.dedupe_seconds,
            class: partitions::class_of(settings.retention_seconds),
        }
    }
}

/// An event to be appended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The checked event.
    pub draft: Draft,
    /// How it is kept.
    pub policy: Policy,
    /// Entries with the same number are stored all or none; numbers never descend.
    pub batch: u32,
}

/// Where an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the project's total order.
    pub position: Position,
    /// In the channel.
    pub sequence: i64,
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log now.
    Stored(Place),
    /// It had been stored before, here.
    Duplicate(Place),
    /// Its `(channel, source, id)` was stored before with other data.
    Conflict,
    /// Another entry of its batch conflicts.
    Withheld,
}

/// What an append did.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The epoch of all positions here.
    pub epoch: Epoch,
    /// One for each entry, in their order.
    pub outcomes: Vec<Outcome>,
    /// The events that are new in the log: contiguous positions, in order.
    pub events: Vec<Arc<Event>>,
}

const LOCK_HEAD: &str = "
    select position, epoch, greatest(clock_timestamp(), stored_at) as now
    from heads where project_id = $1 for update";

/// Both bounds of the time are there for the planner: partitions of the past and of the days to come are not looked at.
const FIND_REPEATS: &str = "
    select identity, position, sequence, digest, stored_at from dedupe
    where identity = any($1) and stored_at > $2 and stored_at <= $3";

const ADVANCE_CHANNELS: &str = "
    insert into channels (project_id, name, namespace, sequence, position, first_event_at, last_event_at)
    select $1, t.name, split_part(t.name, '.', 1), t.count, t.position, $2, $2
    from unnest($3::text[], $4::bigint[], $5::bigint[]) as t(name, count, position)
    on conflict (project_id, name) do update set
        sequence = channels.sequence + excluded.sequence,
        position = excluded.position,
        first_event_at =
            case when channels.deleted_at is null then channels.first_event_at else excluded.first_event_at end,
        last_event_at = excluded.last_event_at,
        deleted_at = null
    returning name, id, sequence";

const INSERT: &str = "
    with head as (
        update heads set position = $2 + cardinality($4), stored_at = $3 where project_id = $1
    ), seen as (
        insert into dedupe (identity, position, sequence, digest, stored_at)
        select t.identity, $2 + t.n, t.sequence, t.digest, $3
        from unnest($4::uuid[], $5::bigint[], $6::bigint[]) with ordinality as t(identity, digest, sequence, n)
    )
    insert into events (project_id, position, channel_id, sequence, stored_at, time, class, kind, id, source, type,
                        subject, content_type, extensions, data)
    select $1, $2 + t.n, t.channel_id, t.sequence, $3, t.time, t.class, t.kind, t.id, t.source, t.type,
           t.subject, t.content_type, t.extensions, t.data
    from unnest($7::bigint[], $6::bigint[], $8::timestamptz[], $9::smallint[], $10::smallint[], $11::text[],
                $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bytea[])
         with ordinality as t(channel_id, sequence, time, class, kind, id, source, type, subject, content_type,
                              extensions, data, n)";

impl Store {
    /// Appends the entries in their order: each once, whole batches or nothing, one commit.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether the commit took place: appending the same entries again is safe, as
    /// their ids tell. `NotFound` where the project is gone.
    pub async fn append(&self, project: ProjectId, entries: Vec<Entry>) -> Result<Appended> {
        let keys: Vec<Key> = entries.iter().map(|entry| Key::of(project, entry)).collect();
        let decided = match self.try_append(project, &entries, &keys).await {
            Err(Error::Statement(error)) if partitions::is_missing(&error) => {
                self.maintain_partitions().await?;
                self.try_append(project, &entries, &keys).await?
            }
            outcome => outcome?,
        };
        Ok(decided.into_appended(project, entries))
    }

    async fn try_append(&self, project: ProjectId, entries: &[Entry], keys: &[Key]) -> Result<Decided> {
        let mut transaction = self.append.begin().await?;
        let head: Option<(Position, Epoch, DateTime<Utc>)> =
            sqlx::query_as(LOCK_HEAD).bind(project.0).fetch_optional(&mut *transaction).await?;
        let (position, epoch, now) = head.ok_or(Error::NotFound("the project"))?;
        let known = find_repeats(&mut transaction, entries, keys, now).await?;
        let verdicts = decide(entries, keys, &known, now);
        let fresh: Vec<usize> = (0..entries.len()).filter(|i| verdicts[*i] == Verdict::Fresh).collect();
        let mut decided = Decided { epoch, position, now, verdicts, fresh, sequences: Vec::new() };
        if decided.fresh.is_empty() {
            transaction.rollback().await?;
            return Ok(decided);
        }
        let channels = advance_channels(&mut transaction, project, entries, &mut decided).await?;
        insert(&mut transaction, project, entries, keys, &channels, &decided).await?;
        transaction.commit().await?;
        Ok(decided)
    }
}

/// By what an entry is recognised.
struct Key {
    identity: Uuid,
    digest: i64,
}

impl Key {
    fn of(project: ProjectId, entry: &Entry) -> Self {
        Self {
            identity: Uuid::from_bytes(entry.draft.identity(project)),
            digest: i64::from_le_bytes(entry.draft.digest()),
        }
    }
}

/// What is known of a `(channel, source, id)` that was stored before.
struct Known {
    place: Place,
    digest: i64,
    stored_at: DateTime<Utc>,
}

async fn find_repeats(
    transaction: &mut PgTransaction<'_>,
    entries: &[Entry],
    keys: &[Key],
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, Known>> {
    let window = entries.iter().map(|entry| entry.policy.dedupe_seconds).max().unwrap_or(0);
    let identities: Vec<Uuid> = keys.iter().map(|key| key.identity).collect();
    let rows: Vec<(Uuid, Position, i64, i64, DateTime<Utc>)> = sqlx::query_as(FIND_REPEATS)
        .bind(identities)
        .bind(now - TimeDelta::seconds(window))
        .bind(now)
        .fetch_all(&mut **transaction)
        .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for (identity, position, sequence, digest, stored_at) in rows {
        // Where a window had ended before the repeat came, the id is there twice; the later one is the one to find.
        let found = Known { place: Place { position, sequence }, digest, stored_at };
        match known.entry(identity) {
            Slot::Vacant(slot) => drop(slot.insert(found)),
            Slot::Occupied(mut slot) if slot.get().place.position < position => drop(slot.insert(found)),
            Slot::Occupied(_) => {}
        }
    }
    Ok(known)
}

/// What is to be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Store it.
    Fresh,
    /// It repeats the entry with this index, which is being stored.
    Repeats(usize),
    /// It repeats what was stored before.
    Known(Place),
    Conflict,
    Withheld,
}

/// Judges each entry: by what is stored, and by the entries before it that are to be.
fn decide(entries: &[Entry], keys: &[Key], known: &HashMap<Uuid, Known>, now: DateTime<Utc>) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(entries.len());
    let mut fresh: HashMap<Uuid, usize> = HashMap::with_capacity(entries.len());
    for batch in entries.chunk_by(|a, b| a.batch == b.batch) {
        let start = verdicts.len();
        for entry in batch {
            let i = verdicts.len();
            let Key { identity, digest } = &keys[i];
            let window = entry.policy.dedupe_seconds;
            let before = known.get(identity).filter(|k| k.stored_at > now - TimeDelta::seconds(window));
            let beside = fresh.get(identity).filter(|_| window > 0);
            verdicts.push(match (before, beside) {
                (Some(old), _) if old.digest == *digest => Verdict::Known(old.place),
                (None, Some(first)) if keys[*first].digest == *digest => Verdict::Repeats(*first),
                (None, None) => {
                    fresh.insert(*identity, i);
                    Verdict::Fresh
                }
                _ => Verdict::Conflict,
            });
        }
        if verdicts[start..].contains(&Verdict::Conflict) {
            withhold(start, &mut verdicts, keys, &mut fresh);
        }
    }
    verdicts
}

/// Takes back the batch that begins at `start`: one of its entries conflicts.
fn withhold(start: usize, verdicts: &mut [Verdict], keys: &[Key], fresh: &mut HashMap<Uuid, usize>) {
    for i in start..verdicts.len() {
        if verdicts[i] == Verdict::Fresh {
            fresh.remove(&keys[i].identity);
        }
        if verdicts[i] != Verdict::Conflict {
            verdicts[i] = Verdict::Withheld;
        }
    }
}

/// An append in the making.
struct Decided {
    epoch: Epoch,
    /// The head before.
    position: Position,
    now: DateTime<Utc>,
    verdicts: Vec<Verdict>,
    /// The indices of the entries to be stored; the n-th gets `position + 1 + n`.
    fresh: Vec<usize>,
    /// The sequence of each entry to be stored, in the order of `fresh`.
    sequences: Vec<i64>,
}

impl Decided {
    fn into_appended(self, project: ProjectId, entries: Vec<Entry>) -> Appended {
        let mut places = vec![None; entries.len()];
        for (n, (i, sequence)) in self.fresh.iter().zip(&self.sequences).enumerate() {
            places[*i] = Some(Place { position: self.position + 1 + n as i64, sequence: *sequence });
        }
        let place = |i: usize| places[i].expect("every entry that is stored was given a place");
        let outcomes = self.verdicts.iter().enumerate().map(|(i, verdict)| match verdict {
            Verdict::Fresh => Outcome::Stored(place(i)),
            Verdict::Repeats(first) => Outcome::Duplicate(place(*first)),
            Verdict::Known(place) => Outcome::Duplicate(*place),
            Verdict::Conflict => Outcome::Conflict,
            Verdict::Withheld => Outcome::Withheld,
        });
        let outcomes = outcomes.collect();
        let events = entries.into_iter().zip(&places).filter_map(|(entry, place)| {
            let Place { position, sequence } = (*place)?;
            let (epoch, stored_at) = (self.epoch, self.now);
            Some(Arc::new(Event { project, epoch, position, sequence, stored_at, draft: entry.draft }))
        });
        Appended { epoch: self.epoch, outcomes, events: events.collect() }
    }
}

/// Moves the channels' heads on, makes those that are new, and gives each entry its sequence; returns the channels' ids.
async fn advance_channels<'e>(
    transaction: &mut PgTransaction<'_>,
    project: ProjectId,
    entries: &'e [Entry],
    decided: &mut Decided,
) -> Result<HashMap<&'e str, i64>> {
    let mut counts: HashMap<&str, (i64, Position)> = HashMap::new();
    for (position, i) in (decided.position + 1..).zip(&decided.fresh) {
        let (count, last) = counts.entry(entries[*i].draft.channel.as_str()).or_default();
        *count += 1;
        *last = position;
    }
    // Rows are locked in the order of names, so that two appends can never wait for each other.
    let mut names: Vec<&str> = counts.keys().copied().collect();
    names.sort_unstable();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(ADVANCE_CHANNELS)
        .bind(project.0)
        .bind(decided.now)
        .bind(&names)
        .bind(names.iter().map(|name| counts[name].0).collect::<Vec<_>>())
        .bind(names.iter().map(|name| counts[name].1).collect::<Vec<_>>())
        .fetch_all(&mut **transaction)
        .await?;
    let heads: HashMap<&str, (i64, i64)> =
        rows.iter().map(|(name, id, head)| (name.as_str(), (*id, *head))).collect();
    let mut next: HashMap<&str, i64> =
        names.iter().map(|name| (*name, heads[name].1 - counts[name].0)).collect();
    decided.sequences.extend(decided.fresh.iter().map(|i| {
        let sequence = next.get_mut(entries[*i].draft.channel.as_str()).expect("every channel was advanced");
        *sequence += 1;
        *sequence
    }));
    Ok(names.into_iter().map(|name| (name, heads[name].0)).collect())
}

async fn insert(
    transaction: &mut PgTransaction<'_>,
    project: ProjectId,
    entries: &[Entry],
    keys: &[Key],
    channels: &HashMap<&str, i64>,
    decided: &Decided,
) -> Result<()> {
    let fresh = || decided.fresh.iter().map(|i| &entries[*i]);
    let drafts = || fresh().map(|entry| &entry.draft);
    let fresh_keys = || decided.fresh.iter().map(|i| &keys[*i]);
    let extensions = drafts().map(write_extensions).collect::<Result<Vec<_>>>()?;
    sqlx::query(INSERT)
        .bind(project.0)
        .bind(decided.position)
        .bind(decided.now)
        .bind(fresh_keys().map(|key| key.identity).collect::<Vec<_>>())
        .bind(fresh_keys().map(|key| key.digest).collect::<Vec<_>>())
        .bind(&decided.sequences)
        .bind(drafts().map(|draft| channels[draft.channel.as_str()]).collect::<Vec<_>>())
        .bind(drafts().map(|draft| draft.time).collect::<Vec<_>>())
        .bind(fresh().map(|entry| entry.policy.class).collect::<Vec<_>>())
        .bind(drafts().map(|draft| kind_of(&draft.data)).collect::<Vec<_>>())
        .bind(drafts().map(|draft| draft.id.as_str()).collect::<Vec<_>>())
        .bind(drafts().map(|draft| draft.source.as_str()).collect::<Vec<_>>())
        .bind(drafts().map(|draft| draft.r#type.as_str()).collect::<Vec<_>>())
        .bind(drafts().map(|draft| draft.subject.as_deref()).collect::<Vec<_>>())
        .bind(drafts().map(|draft| draft.content_type.as_deref()).collect::<Vec<_>>())
        .bind(extensions)
        .bind(drafts().map(|draft| draft.data.bytes()).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// The number that stands for the kind of data in `events.kind`; [`crate::read`] reads it back.
fn kind_of(data: &Data) -> i16 {
    match data {
        Data::None => 0,
        Data::Json(_) => 1,
        Data::Binary(_) => 2,
    }
}

fn write_extensions(draft: &Draft) -> Result<Option<String>> {
    if draft.extensions.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(&draft.extensions)
        .map_err(|error| Error::Unreadable(format!("the extension attributes cannot be written: {error}")))?;
    Ok(Some(text))
}
