//! The wake bus over RabbitMQ.
//!
//! Each node has one exclusive queue, bound once per project that has subscribers there, never per channel or user.
//! Sending and receiving have a connection each, and nothing waits for either: an alarm makes the broker stop reading
//! from those who publish.

use std::collections::BTreeSet;
use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use nuncio_model::{ProjectId, Secret, ids};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{RECEIVE_QUEUE, Wake, WakeReceiver, frame};
use crate::topology::short;
use crate::{Broker, Consumer, Error, Link, Message, Properties, reconnect_delays};

/// Named after the form of its frames, so that nodes of another form never meet here. No project can have this name.
const EXCHANGE: &str = "nuncio.wake.v1";
/// Wakes that wait to be sent; further ones are dropped (`nuncio_wakes_dropped_total{where="send"}`).
const SEND_QUEUE: usize = 256;
/// Where a node reads too slowly, RabbitMQ drops the oldest wakes beyond this.
const NODE_QUEUE_BYTES: i32 = 64 << 20;
const PREFETCH: u16 = 64;

/// The sending end, and the way to the node's queue.
#[derive(Clone, Debug)]
pub struct AmqpBus {
    outgoing: mpsc::Sender<Arc<Wake>>,
    wanted: watch::Sender<Wanted>,
    received: broadcast::Sender<Arc<Wake>>,
}

/// What this node wants to hear.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Whether anybody listens at all; a worker's node does not, and needs no queue.
    listening: bool,
    projects: BTreeSet<ProjectId>,
}

impl AmqpBus {
    pub(super) fn start(url: Secret, token: CancellationToken) -> Self {
        let node = ids::random_text(12);
        let broker = Broker::new(url, "nuncio wake");
        let (outgoing, queue) = mpsc::channel(SEND_QUEUE);
        let (wanted, received) = (watch::Sender::default(), broadcast::Sender::new(RECEIVE_QUEUE));
        let sender = Sending { broker: broker.clone(), node: node.clone(), queue };
        let receiver = Receiving { broker, node, wanted: wanted.subscribe(), received: received.clone() };
        supervise(sender.run(), token.clone());
        supervise(receiver.run(), token);
        Self { outgoing, wanted, received }
    }

    pub(super) fn send(&self, wake: Wake) {
        let wake = Arc::new(wake);
        // Subscribers of this very node need no broker for it; the copy that comes back is left out.
        let _ = self.received.send(Arc::clone(&wake));
        if self.outgoing.try_send(wake).is_err() {
            metrics::counter!("nuncio_wakes_dropped_total", "where" => "send").increment(1);
        }
    }

    pub(super) fn receive(&self) -> WakeReceiver {
        let receiver = self.received.subscribe();
        self.wanted.send_modify(|wanted| wanted.listening = true);
        WakeReceiver::new(receiver)
    }

    pub(super) fn bind(&self, project: ProjectId, wanted: bool) {
        self.wanted.send_if_modified(|state| match wanted {
            true => state.projects.insert(project),
            false => state.projects.remove(&project),
        });
    }
}

/// Runs a task until the token is cancelled. It has no other end: if it panics, the whole process is to stop.
fn supervise(task: impl Future<Output = ()> + Send + 'static, token: CancellationToken) {
    let stopped = token.clone();
    let running = tokio::spawn(async move { stopped.run_until_cancelled(task).await });
    tokio::spawn(async move {
        if let Err(error) = running.await {
            tracing::error!(%error, "a task of the wake bus died");
            token.cancel();
        }
    });
}

struct Sending {
    broker: Broker,
    node: String,
    queue: mpsc::Receiver<Arc<Wake>>,
}

impl Sending {
    async fn run(mut self) {
        let mut delays = reconnect_delays();
        // The connection is opened with the first wake: a node that only listens needs none.
        while let Some(first) = self.queue.recv().await {
            let before = tokio::time::Instant::now();
            let Err(error) = self.send_all(first).await else { return };
            if before.elapsed() > std::time::Duration::from_secs(60) {
                delays = reconnect_delays();
            }
            tracing::warn!(%error, "no wakes are sent to other nodes for now; they look into the log instead");
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
    }

    async fn send_all(&mut self, first: Arc<Wake>) -> Result<(), Error> {
        let link = self.broker.connect("send").await?;
        declare_exchange(link.channel()).await?;
        let properties = Properties::default().with_app_id(&self.node)?;
        let mut next = Some(first);
        while let Some(wake) = next {
            let body = frame::encode(&wake);
            let (key, options) = (wake.project.0.to_string(), Default::default());
            let properties = properties.clone().transient();
            // Resolves when it is written; no confirm was asked for.
            let sent =
                link.channel().basic_publish(short(EXCHANGE), short(&key), options, &body, properties).await;
            sent.map_err(Error::amqp("send a wake"))?;
            next = self.queue.recv().await;
        }
        Ok(())
    }
}

struct Receiving {
    broker: Broker,
    node: String,
    wanted: watch::Receiver<Wanted>,
    received: broadcast::Sender<Arc<Wake>>,
}

impl Receiving {
    async fn run(mut self) {
        if self.wanted.wait_for(|wanted| wanted.listening).await.is_err() {
            return;
        }
        let mut delays = reconnect_delays();
        loop {
            let before = tokio::time::Instant::now();
            let Err(error) = self.listen().await else { return };
            if before.elapsed() > std::time::Duration::from_secs(60) {
                delays = reconnect_delays();
            }
            tracing::warn!(%error, "no wakes are received for now; the log is looked into instead");
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
    }

    /// Ends well only when the bus is dropped.
    async fn listen(&mut self) -> Result<(), Error> {
        let link = self.broker.connect("receive").await?;
        let queue = declare_queue(link.channel(), &self.node).await?;
        let mut bound = BTreeSet::new();
        self.rebind(&link, &queue, &mut bound).await?;
        let mut consumer = Consumer::start(&link, &queue, PREFETCH).await?;
        loop {
            tokio::select! {
                message = consumer.next() => self.take(&link, message?).await?,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.rebind(&link, &queue, &mut bound).await?,
                    Err(_) => return Ok(()),
                },
            }
        }
    }

    async fn take(&self, link: &Link, message: Message) -> Result<(), Error> {
        if message.properties.app_id() != Some(&self.node) {
            match frame::decode(&message.body) {
                Some(wake) => drop(self.received.send(Arc::new(wake))),
                None => tracing::warn!("a message on {EXCHANGE} is no wake; it is left out"),
            }
        }
        link.ack_through(message.tag).await
    }

    async fn rebind(
        &mut self,
        link: &Link,
        queue: &str,
        bound: &mut BTreeSet<ProjectId>,
    ) -> Result<(), Error> {
        let wanted = self.wanted.borrow_and_update().projects.clone();
        for project in wanted.difference(bound) {
            let (key, options) = (project.0.to_string(), QueueBindOptions::default());
            let bind = link.channel().queue_bind(
                short(queue),
                short(EXCHANGE),
                short(&key),
                options,
                FieldTable::default(),
            );
            bind.await.map_err(Error::amqp("bind the wake queue"))?;
        }
        for project in bound.difference(&wanted) {
            let key = project.0.to_string();
            let unbind = link.channel().queue_unbind(
                short(queue),
                short(EXCHANGE),
                short(&key),
                FieldTable::default(),
            );
            unbind.await.map_err(Error::amqp("unbind the wake queue"))?;
        }
        *bound = wanted;
        Ok(())
    }
}

async fn declare_exchange(channel: &Channel) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared =
        channel.exchange_declare(short(EXCHANGE), ExchangeKind::Direct, options, FieldTable::default()).await;
    declared.map_err(Error::amqp("declare the wake exchange"))
}

async fn declare_queue(channel: &Channel, node: &str) -> Result<String, Error> {
    declare_exchange(channel).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongInt(NODE_QUEUE_BYTES));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    // A name of one's own per connection: after a reconnect, the broker may still hold the old one for a while.
    let name = format!("{EXCHANGE}.{node}.{}", ids::random_text(6));
    let declared = channel.queue_declare(short(&name), options, arguments).await;
    declared.map(|_| name).map_err(Error::amqp("declare the wake queue"))
}
