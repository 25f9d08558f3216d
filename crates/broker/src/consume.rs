//! Reading a queue.

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use crate::hold::Hold;
use crate::topology::short;
use crate::{Error, Link, Message};

/// A consumer of one queue. What it has handed out stays unacknowledged until `Link::ack_through`.
#[derive(Debug)]
pub struct Consumer {
    queue: String,
    channel: Channel,
    stream: lapin::Consumer,
    hold: Hold,
}

impl Consumer {
    pub(crate) async fn start(link: &Link, queue: &str, prefetch: u16) -> Result<Self, Error> {
        let (channel, hold) = (link.channel(), link.hold().clone());
        let failed = Error::amqp("consume a queue");
        // Without a prefetch, lapin's own queue would take whatever the broker has.
        channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await.map_err(&failed)?;
        let options = BasicConsumeOptions::default();
        let stream = channel.basic_consume(short(queue), short(""), options, FieldTable::default()).await;
        let (queue, channel) = (queue.to_owned(), channel.clone());
        Ok(Self { queue, channel, stream: stream.map_err(&failed)?, hold })
    }

    /// Another hold on it: while there is one, it is not cancelled by being dropped.
    pub(crate) fn handle(&self) -> lapin::Consumer {
        self.stream.clone()
    }

    /// Waits for the next message. Dropping the future loses none.
    ///
    /// # Errors
    /// Where the connection is lost or the broker ended the consumer; there is nothing more to come then.
    pub async fn next(&mut self) -> Result<Message, Error> {
        let next = self.stream.next().await;
        self.read(next)
    }

    /// The next message, if it has arrived already.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn ready(&mut self) -> Result<Option<Message>, Error> {
        match self.stream.next().now_or_never() {
            Some(next) => self.read(next).map(Some),
            None => Ok(None),
        }
    }

    /// Stops the flow; what was handed out can still be acknowledged.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn cancel(self) -> Result<(), Error> {
        let cancelled = self.channel.basic_cancel(self.stream.tag(), BasicCancelOptions::default()).await;
        cancelled.map_err(Error::amqp("stop consuming"))
    }

    fn read(&self, next: Option<lapin::Result<lapin::message::Delivery>>) -> Result<Message, Error> {
        match next {
            Some(Ok(delivery)) => Ok(Message::of(delivery, self.hold.take())),
            Some(Err(error)) => Err(Error::amqp("consume a queue")(error)),
            None => Err(Error::Cancelled { queue: self.queue.clone() }),
        }
    }
}
