//! Publishing with confirms.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, PublisherConfirm};

use crate::topology::short;
use crate::{Error, Properties};

/// Publishes on a channel of its own; messages keep the order in which they were handed in.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
}

/// The broker's answer to come.
#[derive(Debug)]
pub struct Confirm(PublisherConfirm);

impl Publisher {
    pub(crate) async fn start(channel: Channel) -> Result<Self, Error> {
        let selected = channel.confirm_select(ConfirmSelectOptions::default()).await;
        selected.map_err(Error::amqp("ask for confirms"))?;
        Ok(Self { channel })
    }

    /// Sends a message, which is persistent; the answer is waited for apart, so that many can be under way.
    ///
    /// # Errors
    /// Where the connection is lost, or the routing key has more than 255 bytes.
    pub async fn send(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: Properties,
        body: &[u8],
    ) -> Result<Confirm, Error> {
        let key = ShortString::try_new(routing_key).map_err(|_| Error::RoutingKey)?;
        let options = BasicPublishOptions::default();
        let sent =
            self.channel.basic_publish(short(exchange), key, options, body, properties.persistent()).await;
        sent.map(Confirm).map_err(Error::amqp("publish a message"))
    }

    /// Sends a message and waits until the broker has it safe.
    ///
    /// # Errors
    /// As [`Publisher::send`] and [`Confirm::wait`].
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: Properties,
        body: &[u8],
    ) -> Result<(), Error> {
        self.send(exchange, routing_key, properties, body).await?.wait().await
    }
}

impl Confirm {
    /// Waits until the broker has the message safe.
    ///
    /// # Errors
    /// Where it refuses, or the connection is lost first: whether it has the message is then unknown.
    pub async fn wait(self) -> Result<(), Error> {
        match self.0.await.map_err(Error::amqp("wait for a confirm"))? {
            Confirmation::Ack(_) => Ok(()),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Refused),
        }
    }
}
