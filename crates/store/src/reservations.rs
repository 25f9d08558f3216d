//! Streams of GraphQL over SSE that many requests share, whichever nodes these come to.
//!
//! A client reserves a stream, opens it at one node, and asks for operations at any. A reservation answers only to
//! whoever made it. What it is named by is kept as a hash: whoever reads the database cannot open a stream.

use std::time::Duration;

use nuncio_model::ProjectId;
use sqlx::FromRow;

use crate::{Result, Store};

/// How long a reservation waits for its stream.
const WAIT: Duration = Duration::from_secs(60);

/// After how long without a sign of life the streams of a node are gone. It is longer than most times in which the
/// database is away: a node that comes back to it finds its streams still there.
const HOLDER_GONE: Duration = Duration::from_secs(120);

/// How many operations are taken at once.
const MOST_TAKEN: i64 = 500;

/// What a reservation is known by: a hash of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReservationKey([u8; 32]);

impl ReservationKey {
    /// That of the reservation with this token.
    pub fn of(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()).into())
    }
}

/// A reservation, as a request names it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket<'a> {
    /// Which one.
    pub key: ReservationKey,
    /// All that makes whoever asks the same as whoever made it.
    pub owner: &'a str,
}

/// How much of all this there may be.
#[derive(Clone, Copy, Debug)]
pub struct ReservationLimits {
    /// Reservations of one owner that wait for their stream.
    pub waiting_of_owner: usize,
    /// Reservations of a project that wait for their stream.
    pub waiting: usize,
    /// Operations of a stream.
    pub operations: usize,
    /// Bytes of the requests of a stream that have not been taken.
    pub bytes: usize,
}

/// What became of a stream that was to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    Now,
    /// It was open already.
    Before,
    /// There is no such reservation, or it is somebody else's.
    Unknown,
}

/// What became of an operation that was to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is started as soon as the stream's holder has taken it.
    Yes,
    /// There is no such reservation, or it is somebody else's.
    Unknown,
    /// An operation of this id has not ended.
    Exists,
    /// The stream has as many operations as it may.
    TooMany,
}

/// Something that a stream's holder is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// On which stream.
    pub key: ReservationKey,
    /// Under which id.
    pub id: String,
    /// The request of the operation to start; none where it is to be stopped.
    pub request: Option<Vec<u8>>,
}

const RESERVE: &str = "
    with waiting as (
        select owner from reservations
        where project_id = $1 and holder is null and made_at > now() - make_interval(secs => $4) limit $6)
    insert into reservations (key, project_id, owner)
    select $2, $1, $3 where (select count(*) from waiting where owner = $3) < $5 and (select count(*) from waiting) < $6";

const OPEN: &str = "
    with here as (
        insert into stream_holders (id) values ($5) on conflict (id) do nothing
    ), found as (
        select 1 from reservations where key = $2 and project_id = $1 and owner = $3
            and (holder is not null or made_at > now() - make_interval(secs => $4))
    ), opened as (
        update reservations set holder = $5
        where key = $2 and project_id = $1 and owner = $3 and holder is null
            and made_at > now() - make_interval(secs => $4) returning 1)
    select exists (select from found), exists (select from opened)";

const KNOWN: &str = "
    select exists (select 1 from reservations where key = $2 and project_id = $1 and owner = $3
        and (holder is not null or made_at > now() - make_interval(secs => $4)))";

/// The count may be passed by as many as are added at the same moment.
const ADD: &str = "
    with stream as (
        select key from reservations where key = $2 and project_id = $1 and owner = $3
            and (holder is not null or made_at > now() - make_interval(secs => $4))
    ), room as (
        select count(*) < $7 and coalesce(sum(octet_length(request)), 0) + octet_length($6) <= $8 as enough
        from reserved_operations where reservation = $2
    ), added as (
        insert into reserved_operations (reservation, id, request)
        select stream.key, $5, $6 from stream, room where room.enough
        on conflict (reservation, id) do nothing returning 1)
    select exists (select from stream), (select enough from room), exists (select from added)";

const STOP: &str = "
    with stream as (
        select key from reservations where key = $2 and project_id = $1 and owner = $3
            and (holder is not null or made_at > now() - make_interval(secs => $4))
    ), stopped as (
        update reserved_operations o set stopped = true from stream where o.reservation = stream.key and o.id = $5)
    select exists (select from stream)";

const TAKE: &str = "
    with due as (
        select o.reservation, o.id, o.number, o.request, o.stopped
        from reserved_operations o join reservations r on r.key = o.reservation
        where (o.request is not null or o.stopped) and r.holder = $1
        order by o.number limit $2 for update of o skip locked
    ), taken as (
        update reserved_operations o set request = null
        from due where o.reservation = due.reservation and o.id = due.id and not due.stopped
    ), stopped as (
        delete from reserved_operations o
        using due where o.reservation = due.reservation and o.id = due.id and due.stopped)
    select reservation, id, case when not stopped then request end as request from due order by number";

const END: &str = "
    delete from reserved_operations o using unnest($1::bytea[], $2::bytea[]) as ended (reservation, id)
    where o.reservation = ended.reservation and o.id = ended.id";

const CLOSE: &str = "delete from reservations where key = any($1) and holder = $2";

const BEAT: &str = "update stream_holders set seen_at = now() where id = $1";

const EXPIRE: &str =
    "delete from reservations where holder is null and made_at <= now() - make_interval(secs => $1)";

const FORGET: &str = "delete from stream_holders where seen_at <= now() - make_interval(secs => $1)";

const PASS_ON: &str = "update reservations set owner = $3 where key = $2 and project_id = $1";

impl Store {
    /// Makes a reservation; whether there was room for it. It waits 60 seconds for its stream.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether it was made; it is then forgotten by itself.
    pub async fn reserve_stream(
        &self,
        project: ProjectId,
        ticket: Ticket<'_>,
        limits: ReservationLimits,
    ) -> Result<bool> {
        let query = sqlx::query(RESERVE).bind(project.0).bind(ticket.key.0).bind(owner(ticket));
        let query = query.bind(WAIT.as_secs_f64());
        let query = query.bind(limits.waiting_of_owner as i64).bind(limits.waiting as i64);
        Ok(query.execute(&self.append).await?.rows_affected() > 0)
    }

    /// Says that the stream is open and who holds it from now on. Only one can.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether it counts as open.
    pub async fn open_stream(&self, project: ProjectId, ticket: Ticket<'_>, holder: &str) -> Result<Opened> {
        let query = sqlx::query_as(OPEN).bind(project.0).bind(ticket.key.0).bind(owner(ticket));
        let query = query.bind(WAIT.as_secs_f64()).bind(holder);
        Ok(match query.fetch_one(&self.append).await? {
            (_, true) => Opened::Now,
            (true, false) => Opened::Before,
            (false, false) => Opened::Unknown,
        })
    }

    /// Whether there is such a reservation, and it is whoever's who asks.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn has_stream(&self, project: ProjectId, ticket: Ticket<'_>) -> Result<bool> {
        let query = sqlx::query_scalar(KNOWN).bind(project.0).bind(ticket.key.0).bind(owner(ticket));
        Ok(query.bind(WAIT.as_secs_f64()).fetch_one(&self.append).await?)
    }

    /// Asks for an operation on the stream, which need not be open yet.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether it is carried out.
    pub async fn add_operation(
        &self,
        project: ProjectId,
        ticket: Ticket<'_>,
        (id, request): (&str, &[u8]),
        limits: ReservationLimits,
    ) -> Result<Added> {
        let query = sqlx::query_as(ADD).bind(project.0).bind(ticket.key.0).bind(owner(ticket));
        let query = query.bind(WAIT.as_secs_f64()).bind(id.as_bytes()).bind(request);
        let query = query.bind(limits.operations as i64).bind(limits.bytes as i64);
        Ok(match query.fetch_one(&self.append).await? {
            (false, _, _) => Added::Unknown,
            (true, _, true) => Added::Yes,
            (true, true, false) => Added::Exists,
            (true, false, false) => Added::TooMany,
        })
    }

    /// Asks for the end of an operation, if it has not ended; whether there is such a stream.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whether it ends.
    pub async fn stop_operation(&self, project: ProjectId, ticket: Ticket<'_>, id: &str) -> Result<bool> {
        let query = sqlx::query_scalar(STOP).bind(project.0).bind(ticket.key.0).bind(owner(ticket));
        Ok(query.bind(WAIT.as_secs_f64()).bind(id.as_bytes()).fetch_one(&self.append).await?)
    }

    /// Gives a reservation another owner: its client has other credentials from now on. Whether there is such a one.
    ///
    /// # Errors
    /// `Unavailable` leaves it unknown whose it is.
    pub async fn pass_on_stream(&self, project: ProjectId, to: Ticket<'_>) -> Result<bool> {
        let query = sqlx::query(PASS_ON).bind(project.0).bind(to.key.0).bind(owner(to));
        Ok(query.execute(&self.append).await?.rows_affected() > 0)
    }

    /// Takes what is to be done on the streams of this holder, in the order in which it was asked for. Each order is
    /// given out once.
    ///
    /// # Errors
    /// Where the database cannot be asked. Where its answer is lost, orders may be lost with it.
    pub async fn take_orders(&self, holder: &str) -> Result<Vec<Order>> {
        let query = sqlx::query_as(TAKE).bind(holder).bind(MOST_TAKEN);
        let rows: Vec<OrderRow> = query.fetch_all(&self.append).await?;
        Ok(rows.into_iter().filter_map(OrderRow::read).collect())
    }

    /// Forgets operations that have ended, so that their ids can be used again.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn end_operations(&self, ended: &[(ReservationKey, String)]) -> Result<()> {
        let (keys, ids): (Vec<_>, Vec<_>) =
            ended.iter().map(|(key, id)| (key.0.to_vec(), id.as_bytes().to_vec())).unzip();
        sqlx::query(END).bind(keys).bind(ids).execute(&self.append).await?;
        Ok(())
    }

    /// Forgets streams that this holder has closed.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn close_streams(&self, holder: &str, closed: &[ReservationKey]) -> Result<()> {
        let keys: Vec<_> = closed.iter().map(|key| key.0.to_vec()).collect();
        sqlx::query(CLOSE).bind(keys).bind(holder).execute(&self.append).await?;
        Ok(())
    }

    /// Says that this holder is alive. Where it is not known any more, its streams are not either.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn heartbeat_holder(&self, holder: &str) -> Result<bool> {
        Ok(sqlx::query(BEAT).bind(holder).execute(&self.append).await?.rows_affected() > 0)
    }

    /// Forgets reservations that waited too long for their stream, and the streams of holders that are gone.
    ///
    /// # Errors
    /// Where the database cannot be asked; the next sweep goes on.
    pub async fn sweep_reservations(&self) -> Result<()> {
        sqlx::query(EXPIRE).bind(WAIT.as_secs_f64()).execute(&self.append).await?;
        sqlx::query(FORGET).bind(HOLDER_GONE.as_secs_f64()).execute(&self.append).await?;
        Ok(())
    }
}

/// What is kept of an owner.
fn owner(ticket: Ticket<'_>) -> [u8; 32] {
    blake3::hash(ticket.owner.as_bytes()).into()
}

#[derive(FromRow)]
struct OrderRow {
    reservation: Vec<u8>,
    id: Vec<u8>,
    request: Option<Vec<u8>>,
}

impl OrderRow {
    /// Nothing where a row was not written by this module.
    fn read(self) -> Option<Order> {
        let key = ReservationKey(self.reservation.try_into().ok()?);
        Some(Order { key, id: String::from_utf8(self.id).ok()?, request: self.request })
    }
}
