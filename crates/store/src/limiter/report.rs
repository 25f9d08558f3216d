//! Sharing with the other nodes: what was spent here goes to the database, and what all have spent comes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_model::ProjectId;
use nuncio_model::gcra::{Spent, Tick};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Limiter;
use super::buckets::Buckets;
use crate::{Result, Store};

/// How often.
const EVERY: Duration = Duration::from_millis(100);
/// How often idle buckets are forgotten, here and in the database.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The most buckets of a statement.
const MOST: usize = 2_000;
/// No debt is longer, in seconds: ten periods of a day, and some outages. A time beyond what the database knows would make
/// a whole statement fail.
const LONGEST: f64 = 1e7;

/// Whatever is spent one after the other moves the time on by the sum, from the time of the first at the earliest; the
/// times of the writer are told as lengths from now. One row cannot be met twice: the names of buckets differ.
const SHARE: &str = "
    insert into rate_buckets as b (key, tat, spent)
    select key, now() + floor * interval '1 second', sum
    from unnest($1::bytea[], $2::float8[], $3::float8[]) as s (key, sum, floor)
    on conflict (key) do update
    set tat = greatest(b.tat + excluded.spent * interval '1 second', excluded.tat), spent = excluded.spent
    returning key, extract(epoch from tat - now())::float8";

/// Rows that somebody is writing are not idle.
const FORGET: &str = "
    delete from rate_buckets where key in (
        select key from rate_buckets where tat < now() - interval '1 minute' limit 10000 for update skip locked)";

/// What is reported of one bucket.
struct Line {
    buckets: Arc<Mutex<Buckets>>,
    number: u32,
    name: [u8; 16],
    spent: Spent,
}

impl Limiter {
    /// Shares with the other nodes until told to stop.
    pub async fn keep(self, store: Store, stop: CancellationToken) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut swept, mut is_away) = (Instant::now(), false);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let shared = self.share(&store).await;
            if let Err(error) = &shared
                && !is_away
            {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "rate limits are not shared with other nodes for now; this one goes by its own"
                );
            }
            is_away = shared.is_err();
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                self.sweep();
                // Whatever is left of it is forgotten the next time.
                let _ = store.forget_rate_buckets().await;
            }
        }
        // What was spent last counts for those who go on.
        let _ = self.share(&store).await;
    }

    /// Tells the database what was spent since the last time, and learns what all nodes have spent.
    ///
    /// # Errors
    /// Where the database cannot be asked; what was spent is then told the next time.
    pub async fn share(&self, store: &Store) -> Result<()> {
        let _alone = self.0.sharing.lock().await;
        let mut lines = self.lines();
        // All writers lock the rows in one order.
        lines.sort_unstable_by_key(|line| line.name);
        let mut outcome = Ok(());
        for lines in lines.chunks(MOST) {
            if outcome.is_err() {
                lines.iter().for_each(Line::take_back);
                continue;
            }
            let sent_at = self.now();
            match store.share_rate_buckets(lines, sent_at).await {
                // The way there is as long for what is told as for what is learned, so that it cancels out.
                Ok(known) => lines.iter().for_each(|line| match known.get(&line.name) {
                    Some(ahead) => line.learn(sent_at.plus(Tick::from_seconds(*ahead))),
                    None => line.take_back(),
                }),
                Err(error) => {
                    lines.iter().for_each(Line::take_back);
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn lines(&self) -> Vec<Line> {
        let of = |buckets: Arc<Mutex<Buckets>>| {
            let report = buckets.lock().report();
            report.into_iter().map(move |(number, name, spent)| Line {
                buckets: buckets.clone(),
                number,
                name,
                spent,
            })
        };
        self.all().into_iter().map(|(_, buckets)| buckets).flat_map(of).collect()
    }

    fn all(&self) -> Vec<(ProjectId, Arc<Mutex<Buckets>>)> {
        self.0.projects.read().iter().map(|(project, buckets)| (*project, buckets.clone())).collect()
    }

    /// Forgets what is as good as new.
    pub(super) fn sweep(&self) {
        let now = self.now();
        for (project, buckets) in self.all() {
            let mut locked = buckets.lock();
            locked.sweep(now);
            let is_empty = locked.len() == 0;
            drop(locked);
            drop(buckets);
            if is_empty {
                // Whoever has just taken it up keeps it.
                let mut projects = self.0.projects.write();
                let is_ours = projects
                    .get(&project)
                    .is_some_and(|buckets| Arc::strong_count(buckets) == 1 && buckets.lock().len() == 0);
                if is_ours {
                    projects.remove(&project);
                }
            }
        }
    }
}

impl Line {
    fn learn(&self, known: Tick) {
        self.buckets.lock().learn(self.number, known);
    }

    fn take_back(&self) {
        self.buckets.lock().take_back(self.number);
    }
}

impl Store {
    /// Adds what was spent of each bucket; how far ahead of now each of them is after that, in seconds.
    async fn share_rate_buckets(&self, lines: &[Line], sent_at: Tick) -> Result<HashMap<[u8; 16], f64>> {
        let floor = |spent: &Spent| spent.floor.map_or(0.0, |floor| floor.since(sent_at).as_seconds());
        let rows = sqlx::query_as::<_, ([u8; 16], f64)>(SHARE)
            .bind(lines.iter().map(|line| line.name.to_vec()).collect::<Vec<_>>())
            .bind(lines.iter().map(|line| line.spent.sum.as_seconds().min(LONGEST)).collect::<Vec<_>>())
            .bind(lines.iter().map(|line| floor(&line.spent).clamp(-LONGEST, LONGEST)).collect::<Vec<_>>())
            .fetch_all(&self.append)
            .await?;
        Ok(rows.into_iter().collect())
    }

    async fn forget_rate_buckets(&self) -> Result<()> {
        sqlx::query(FORGET).execute(&self.append).await?;
        Ok(())
    }
}
