//! Whoever makes or removes a project's topology does so alone.

use std::time::Duration;

use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use nuncio_model::ProjectName;
use tokio::time::{Instant, sleep};

use crate::topology::{self, Names, short};
use crate::{Error, Link};

/// How long to wait for another who has the claim. One that is lost frees it when the broker has missed its heartbeats.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The sole right to make and to remove a project's exchanges and queues.
///
/// It is an exclusive queue of the broker's. So it ends with its connection, and whoever has lost it without knowing (a
/// process that was frozen, say) can do no more harm: what is sent on a connection that has ended is not heard.
/// Dropped without [`Claim::release`], it stays until the connection ends.
#[derive(Debug)]
pub struct Claim {
    channel: Channel,
    queue: String,
    names: Names,
}

impl Link {
    /// Waits for the sole right to a project's topology.
    ///
    /// # Errors
    /// Where the connection is lost, or somebody else keeps it for long.
    pub async fn claim(&self, project: &ProjectName) -> Result<Claim, Error> {
        let (names, queue) = (Names::of(project), format!("nuncio.claim.{project}"));
        let end = Instant::now() + PATIENCE;
        loop {
            // A refusal closes the channel.
            let channel = self.new_channel().await?;
            let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
            let declared = channel.queue_declare(short(&queue), options, FieldTable::default()).await;
            match declared.map_err(Error::amqp("claim a project's exchanges and queues")) {
                Ok(_) => return Ok(Claim { channel, queue, names }),
                Err(error) if error.is_locked() && Instant::now() < end => sleep(AGAIN_AFTER).await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Claim {
    /// Makes what is missing of the exchanges and queues, in the safe order.
    ///
    /// # Errors
    /// Where the connection is lost, or one of them exists with other arguments.
    pub async fn declare(&self) -> Result<Names, Error> {
        topology::declare(&self.channel, &self.names).await?;
        Ok(self.names.clone())
    }

    /// Removes the exchange that is published to: from then on publishers are refused, and nothing more comes.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn close_entrance(&self) -> Result<(), Error> {
        topology::delete_exchange(&self.channel, &self.names.exchange).await
    }

    /// Removes the rest, with all messages. The entrance has to be closed before.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn remove(&self) -> Result<(), Error> {
        topology::delete(&self.channel, &self.names).await
    }

    /// Lets others have it.
    ///
    /// # Errors
    /// Where the connection is lost, and the claim with it.
    pub async fn release(self) -> Result<(), Error> {
        let deleted = self.channel.queue_delete(short(&self.queue), QueueDeleteOptions::default()).await;
        deleted.map_err(Error::amqp("release a project's exchanges and queues"))?;
        self.channel.close(200, "done".into()).await.map_err(Error::amqp("close a channel"))
    }
}
