//! What `nuncio doctor` asks of a broker.

use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use nuncio_model::ids;

use crate::topology::short;
use crate::{Error, Link, Properties};

/// How long a broker may take to confirm one message.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// One was taken and confirmed.
    Open,
    /// The broker blocks publishers, since it is short of memory or of disk.
    Blocked,
    /// It says nothing.
    Silent,
}

impl Link {
    /// Makes an exchange and a queue with names of their own, publishes one message through them, and removes both: what
    /// a node's user must be allowed to do.
    ///
    /// # Errors
    /// Where the connection is lost, or the user may not.
    pub async fn rehearse(&self) -> Result<Intake, Error> {
        let (channel, name) = (self.channel(), format!("nuncio.doctor.{}", ids::random_text(12)));
        // They go with this connection, also where it ends before they are removed.
        let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let passing = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        let none = FieldTable::default;
        let queue = channel.queue_declare(short(&name), exclusive, none()).await;
        queue.map_err(Error::amqp("declare a queue"))?;
        let exchange = channel.exchange_declare(short(&name), ExchangeKind::Fanout, passing, none()).await;
        exchange.map_err(Error::amqp("declare an exchange"))?;
        let bind =
            channel.queue_bind(short(&name), short(&name), short(""), QueueBindOptions::default(), none());
        bind.await.map_err(Error::amqp("bind a queue"))?;
        let publisher = self.publisher().await?;
        let publish = publisher.publish(&name, "", Properties::default(), b"{}");
        let intake = match tokio::time::timeout(PATIENCE, publish).await {
            Ok(published) => published.map(|()| Intake::Open)?,
            // A blocked broker reads nothing more of this connection: what was made goes with it.
            Err(_) if self.is_blocked() => return Ok(Intake::Blocked),
            Err(_) => return Ok(Intake::Silent),
        };
        let deleted = channel.queue_delete(short(&name), QueueDeleteOptions::default()).await;
        deleted.map_err(Error::amqp("delete a queue"))?;
        // It went with its only binding; where that is not so, it goes now.
        let _ = channel.exchange_delete(short(&name), ExchangeDeleteOptions::default()).await;
        Ok(intake)
    }
}
