//! Connections to the broker.

use std::str::FromStr;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use lapin::options::{BasicAckOptions, QueueDeclareOptions};
use lapin::tcp::{AMQPUriTcpExt, TLSConfig};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use nuncio_model::{ProjectName, Secret};
use parking_lot::Mutex;

use crate::guard::{self, Guarded, Socket};
use crate::hold::Hold;
use crate::topology::{Names, short};
use crate::{Consumer, Error, MAX_HELD_BYTES, Publisher};

/// Where the URL names no heartbeat: either side notices a dead peer within 10 seconds.
const HEARTBEAT_SECONDS: u16 = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(2);

/// Where the broker is, and how this process calls itself there. Opens connections; holds none.
#[derive(Clone, Debug)]
pub struct Broker {
    url: Secret,
    name: String,
}

impl Broker {
    /// A broker at this URL; `name` stands before the purpose of each connection in RabbitMQ's lists.
    pub fn new(url: Secret, name: impl Into<String>) -> Self {
        Self { url, name: name.into() }
    }

    /// Opens a connection. It does not mend itself: when it is lost, every operation on it fails, and the caller
    /// starts over, so that nothing is ever resumed in the middle.
    ///
    /// # Errors
    /// Where the broker cannot be reached within ten seconds, or refuses.
    pub async fn connect(&self, purpose: &str) -> Result<Link, Error> {
        // The library's own error would quote the URL, password included.
        let mut uri = AMQPUri::from_str(self.url.expose()).map_err(|_| Error::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let name = format!("{} {purpose}", self.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        tokio::time::timeout(CONNECT_TIMEOUT, open(uri, properties))
            .await
            .map_err(|_| Error::Timeout { operation: "connect to the broker" })?
    }
}

async fn open(uri: AMQPUri, properties: ConnectionProperties) -> Result<Link, Error> {
    let failed = Error::amqp("connect to the broker");
    let hold = Hold::default();
    let reach = {
        let hold = hold.clone();
        move |uri, _| reach(uri, hold.clone())
    };
    let connection =
        Connection::connector(uri, guard::runtime(), reach, properties).await.map_err(&failed)?;
    let channel = connection.create_channel().await.map_err(&failed)?;
    Ok(Link { connection, channel, consumers: Mutex::default(), hold })
}

/// Connects with or without TLS, as the library does by itself, and has what comes in looked through.
async fn reach(uri: AMQPUri, hold: Hold) -> lapin::Result<AsyncTcpStream<Guarded<Socket>>> {
    let runtime = lapin::runtime::default_runtime()?;
    let connected = uri.connect_with_config_async(TLSConfig::default(), &runtime).await;
    let socket = connected.map_err(|error| lapin::Error::from(lapin::ErrorKind::IOError(error.into())))?;
    Ok(AsyncTcpStream::Plain(Guarded::new(socket, hold)))
}

/// One connection with one channel. Dropping it closes both, and the broker takes back what was not acknowledged.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
    channel: Channel,
    /// Keeps consumers from being cancelled before the connection is closed, which gives back what they hold: in
    /// between, the broker would hand out later messages to the next one.
    consumers: Mutex<Vec<lapin::Consumer>>,
    hold: Hold,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hold.end();
    }
}

impl Link {
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// How many bytes of messages are in hand that came by [`Link::consume`].
    pub fn held(&self) -> usize {
        self.hold.bytes()
    }

    /// Asks the broker something that cannot be answered while too much is in hand: `None` where that is so, or comes to
    /// be so, since the answer is behind messages that the caller would have to settle first.
    pub async fn unless_full<T>(&self, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = asking => Some(answer),
            () = self.hold.full() => None,
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(crate) async fn new_channel(&self) -> Result<Channel, Error> {
        self.connection.create_channel().await.map_err(Error::amqp("open a channel"))
    }

    /// Makes what is missing of a project's exchanges and queues, in the safe order and alone.
    ///
    /// # Errors
    /// Where the connection is lost, or one of them exists with other arguments.
    pub async fn declare_project(&self, project: &ProjectName) -> Result<Names, Error> {
        let claim = self.claim(project).await?;
        let names = claim.declare().await?;
        claim.release().await?;
        Ok(names)
    }

    /// How many messages wait in a queue, those that a consumer holds apart.
    ///
    /// # Errors
    /// Where the connection is lost, or there is no such queue.
    pub async fn waiting(&self, queue: &str) -> Result<u32, Error> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let state = self.channel.queue_declare(short(queue), options, FieldTable::default()).await;
        Ok(state.map_err(Error::amqp("look at a queue"))?.message_count())
    }

    /// Reads a queue as messages come, at most `prefetch` of them unacknowledged at a time, and no more of them in hand
    /// than [`MAX_HELD_BYTES`].
    ///
    /// # Errors
    /// Where the connection is lost, or there is no such queue.
    pub async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer, Error> {
        self.hold.bound(MAX_HELD_BYTES);
        let consumer = Consumer::start(self, queue, prefetch).await?;
        self.consumers.lock().push(consumer.handle());
        Ok(consumer)
    }

    /// Acknowledges this message and all that came before it on this connection.
    ///
    /// # Errors
    /// Where the connection is lost; the messages then come again.
    pub async fn ack_through(&self, tag: u64) -> Result<(), Error> {
        let acked = self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await;
        acked.map_err(Error::amqp("acknowledge messages"))
    }

    /// A publisher with confirms, on a channel of its own.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub async fn publisher(&self) -> Result<Publisher, Error> {
        Publisher::start(self.new_channel().await?).await
    }

    /// Says goodbye to the broker; without it, the broker would log a lost connection. What was not acknowledged goes
    /// back to its place before anybody else is given what follows it.
    pub async fn close(self) {
        // Whether the broker hears it makes no difference to what happens next, so that nothing waits long for it.
        let goodbye = self.connection.close(200, "done".into());
        let _ = tokio::time::timeout(GOODBYE, self.unless_full(goodbye)).await;
    }
}

/// How long to wait before each further attempt: from 100 ms on, doubling, without end, to 5 s at most, so that another
/// worker's projects are taken over well within ten.
pub fn reconnect_delays() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        // The jitter is added: up to as much again.
        .with_max_delay(Duration::from_millis(2_500))
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker once came back up to ten seconds after RabbitMQ did: the jitter went beyond the bound.
    #[test]
    fn nobody_waits_longer_than_five_seconds_to_reconnect() {
        let longest = reconnect_delays().take(1_000).max().expect("delays without end");
        assert!(longest <= Duration::from_secs(5), "{longest:?}");
    }
}
