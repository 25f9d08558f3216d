//! The exchanges and queues of a project, and the order in which they are made.
//!
//! ```text
//! publisher → nuncio.<project> (topic) ──────────── # ──────────→ nuncio.ingest.<project>   read by one, in order
//!                 │ where that is not bound                        ↑      │ over the delivery limit
//!                 └→ nuncio.fallback.<project> (fanout) ───────────┘      └→ nuncio.dead.<project>      read too
//!                        │ where there is no ingest queue                        │ what cannot be read
//!                        └→ nuncio.unrouted.<project>     read too               └→ nuncio.parked
//! ```
//!
//! RabbitMQ confirms also what it cannot route, and an exchange cannot be made together with its binding. So there is
//! a fallback into the same queue, which keeps the order of those who publish in that moment, and behind it a queue
//! for what comes while somebody has deleted the ingest queue.

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use nuncio_model::ProjectName;

use crate::Error;

/// How often a message may come back unacknowledged before RabbitMQ itself puts it aside.
///
/// It is RabbitMQ 4's default, written down so that 3.10 does the same. It must not be unlimited: a message that the
/// AMQP library cannot even parse leaves the queue by no other way. Healthy events do not reach it, since a worker
/// takes what came back twice alone (see the worker's `session`); one that does is read from the queue of the dead.
const DELIVERY_LIMIT: i32 = 20;

/// A limit that is never reached, where nothing stands behind the queue. Unset would mean 20 from RabbitMQ 4.0 on, and
/// -1 (unlimited) is refused before it.
const NO_DELIVERY_LIMIT: i32 = i32::MAX;

/// Keeps, for all projects together, what could not even be parsed: a message with a property that is not UTF-8. It
/// waits here for somebody with RabbitMQ's own tools, rather than to block a queue or to be lost.
const PARKED: &str = "nuncio.parked";

/// The key under which RabbitMQ files what it throws out. The original key is in the header `x-death`, where it does
/// no harm even if it is not UTF-8.
const DEAD_KEY: &str = "dead";

/// The names of a project's exchanges and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The topic exchange that is published to.
    pub exchange: String,
    /// The queue of all that was published.
    pub ingest: String,
    /// The alternate exchange, which leads to the same queue.
    pub fallback: String,
    /// The queue (and exchange) of what came while there was no ingest queue.
    pub unrouted: String,
    /// The queue (and dead-letter exchange) of what RabbitMQ threw out of the ingest queue.
    pub dead: String,
}

impl Names {
    /// The names for this project.
    pub fn of(project: &ProjectName) -> Self {
        Self {
            exchange: format!("nuncio.{project}"),
            ingest: format!("nuncio.ingest.{project}"),
            fallback: format!("nuncio.fallback.{project}"),
            unrouted: format!("nuncio.unrouted.{project}"),
            dead: format!("nuncio.dead.{project}"),
        }
    }
}

/// Makes what is missing of a project's topology; what is there already stays as it is. Whatever catches a message is
/// made before what it is published to.
pub(crate) async fn declare(channel: &Channel, names: &Names) -> Result<(), Error> {
    queue(channel, PARKED, quorum(NO_DELIVERY_LIMIT)).await?;
    catch_all(channel, &names.dead, dead_letters_to(quorum(DELIVERY_LIMIT), "", PARKED)).await?;
    let mut ingest = dead_letters_to(quorum(DELIVERY_LIMIT), &names.dead, DEAD_KEY);
    ingest.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    queue(channel, &names.ingest, ingest).await?;
    catch_all(channel, &names.unrouted, quorum(NO_DELIVERY_LIMIT)).await?;
    exchange(channel, &names.fallback, ExchangeKind::Fanout, Some(&names.unrouted)).await?;
    bind(channel, &names.ingest, &names.fallback, "").await?;
    exchange(channel, &names.exchange, ExchangeKind::Topic, Some(&names.fallback)).await?;
    bind(channel, &names.ingest, &names.exchange, "#").await
}

/// Removes all but the exchange that is published to, with whatever waits in the queues.
pub(crate) async fn delete(channel: &Channel, names: &Names) -> Result<(), Error> {
    for queue in [&names.ingest, &names.unrouted, &names.dead] {
        let deleted = channel.queue_delete(short(queue), QueueDeleteOptions::default()).await;
        deleted.map_err(Error::amqp("delete a queue"))?;
    }
    for exchange in [&names.fallback, &names.unrouted, &names.dead] {
        delete_exchange(channel, exchange).await?;
    }
    Ok(())
}

/// Removes an exchange, if it is there.
pub(crate) async fn delete_exchange(channel: &Channel, name: &str) -> Result<(), Error> {
    let deleted = channel.exchange_delete(short(name), ExchangeDeleteOptions::default()).await;
    deleted.map_err(Error::amqp("delete an exchange"))
}

fn dead_letters_to(mut arguments: FieldTable, exchange: &str, key: &str) -> FieldTable {
    arguments.insert("x-dead-letter-exchange".into(), text(exchange));
    arguments.insert("x-dead-letter-routing-key".into(), text(key));
    // At-least-once needs reject-publish; without a length limit that refuses nothing.
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn quorum(delivery_limit: i32) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(delivery_limit));
    arguments
}

/// A queue, and an exchange of the same name that puts all it gets into it.
async fn catch_all(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), Error> {
    queue(channel, name, arguments).await?;
    exchange(channel, name, ExchangeKind::Fanout, None).await?;
    bind(channel, name, name, "").await
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), Error> {
    let declared = channel.queue_declare(short(name), QueueDeclareOptions::durable(), arguments).await;
    declared.map(drop).map_err(Error::amqp("declare a queue"))
}

async fn exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    alternate: Option<&String>,
) -> Result<(), Error> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert("alternate-exchange".into(), text(alternate));
    }
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.exchange_declare(short(name), kind, options, arguments).await;
    declared.map_err(Error::amqp("declare an exchange"))
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Error> {
    let bound = channel
        .queue_bind(
            short(queue),
            short(exchange),
            short(key),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await;
    bound.map_err(Error::amqp("bind a queue"))
}

/// A name of ours as an AMQP short string; all of them are far below its 255 bytes.
pub(crate) fn short(name: &str) -> ShortString {
    ShortString::from(name)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
