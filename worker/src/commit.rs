//! The one place where messages are settled: their events are committed, then the api nodes are woken, then what
//! cannot be events is kept as dead letters. The acknowledgement is the caller's, after that.

use nuncio_broker::{Wake, WakeBus, reconnect_delays};
use nuncio_model::ProjectId;
use nuncio_store::{Error, Meter, Outcome, Store};

use crate::batch::Batch;
use crate::reason::{ID_CONFLICT, NOT_STORABLE, Rejection};

/// Commits the batches of one project.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    pub(crate) store: Store,
    pub(crate) bus: WakeBus,
    pub(crate) meter: Meter,
    pub(crate) project: ProjectId,
}

/// The project was deleted: its messages have nowhere to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Committer {
    /// Settles a batch, however long it takes. Answers with the tag to acknowledge.
    ///
    /// While PostgreSQL is away, the same events are tried again and again, ids included, so that one whose commit
    /// had an unknown outcome is recognised. A message that PostgreSQL refuses for what it holds becomes a dead
    /// letter alone: the batch is then settled message by message.
    pub(crate) async fn settle(&self, mut batch: Batch) -> Result<u64, Gone> {
        let tag = batch.last_tag();
        match self.retry(&mut batch).await? {
            Settled::Done => return Ok(tag),
            Settled::Refused if batch.len() > 1 => {}
            Settled::Refused => {
                self.give_up(&mut batch).await?;
                return Ok(tag);
            }
        }
        for mut single in batch.split() {
            if self.retry(&mut single).await? == Settled::Refused {
                self.give_up(&mut single).await?;
            }
        }
        Ok(tag)
    }

    /// Makes a dead letter of the one message that PostgreSQL refused.
    async fn give_up(&self, single: &mut Batch) -> Result<(), Gone> {
        single.reject(
            0,
            Rejection::new(NOT_STORABLE, "PostgreSQL refused the event; the worker's log says why"),
        );
        self.retry(single).await.map(drop)
    }

    async fn retry(&self, batch: &mut Batch) -> Result<Settled, Gone> {
        let (mut delays, mut appended) = (reconnect_delays(), false);
        loop {
            let error = match self.attempt(batch, &mut appended).await {
                Ok(()) => return Ok(Settled::Done),
                Err(Error::NotFound(_)) => return Err(Gone),
                Err(error) => error,
            };
            if error.is_about_data() && !appended {
                tracing::error!(error = &error as &dyn std::error::Error, "PostgreSQL refused a batch");
                return Ok(Settled::Refused);
            }
            metrics::counter!("nuncio_ingest_retries_total").increment(1);
            tracing::warn!(error = &error as &dyn std::error::Error, "events wait for PostgreSQL");
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
    }

    async fn attempt(&self, batch: &mut Batch, appended: &mut bool) -> Result<(), Error> {
        if !*appended {
            self.append(batch).await?;
            *appended = true;
        }
        let letters = batch.dead_letters();
        if letters.is_empty() {
            return Ok(());
        }
        for letter in &letters {
            metrics::counter!("nuncio_dead_letters_total", "reason" => letter.reason).increment(1);
        }
        self.store.add_dead_letters(self.project, letters).await
    }

    async fn append(&self, batch: &mut Batch) -> Result<(), Error> {
        let entries = batch.take_entries();
        if entries.is_empty() {
            return Ok(());
        }
        let owners: Vec<u32> = entries.iter().map(|entry| entry.batch).collect();
        let appended = self.store.append(self.project, entries).await?;
        metrics::counter!("nuncio_ingested_total").increment(appended.events.len() as u64);
        self.meter.stored(self.project, &appended.events);
        if let Some(wake) = Wake::of(appended.events) {
            self.bus.send(wake);
        }
        for (outcome, owner) in appended.outcomes.iter().zip(owners) {
            if *outcome == Outcome::Conflict {
                let detail = "an event of this channel, source and id was stored before with other data";
                batch.reject(owner as usize, Rejection::new(ID_CONFLICT, detail));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Done,
    Refused,
}
