//! What the servers do alone: RabbitMQ giving messages away, PostgreSQL taking rows.

use std::time::Instant;

use nuncio_broker::{Link, Properties};
use tokio_postgres::{Client, NoTls};

use crate::Result;
use crate::setting::Setting;

/// The size of a message's body.
pub(crate) const BODY_BYTES: usize = 250;

/// How many messages are acknowledged at once, and how many rows are appended at once.
const AT_ONCE: usize = 500;

/// Channels that the messages are spread over.
const CHANNELS: usize = 20;

/// A JSON text of this many bytes that holds the number.
pub(crate) fn body(n: usize, bytes: usize) -> Vec<u8> {
    let head = format!("{{\"n\":{n},\"pad\":\"");
    let mut text = head.into_bytes();
    text.resize(bytes - 2, b'x');
    text.extend_from_slice(b"\"}");
    text
}

/// Fills a queue through an exchange, with confirms, every message with an id of its own.
pub(crate) async fn publish_backlog(link: &Link, exchange: &str, messages: usize) -> Result<()> {
    let publisher = link.publisher().await?;
    let mut confirms = std::collections::VecDeque::new();
    for n in 0..messages {
        let properties = Properties::default().with_message_id(&format!("m-{n}"))?.with_type("bench")?;
        let key = format!("bench.c{}", n % CHANNELS);
        confirms.push_back(publisher.send(exchange, &key, properties, &body(n, BODY_BYTES)).await?);
        if confirms.len() > 2_000
            && let Some(confirm) = confirms.pop_front()
        {
            confirm.wait().await?;
        }
    }
    for confirm in confirms {
        confirm.wait().await?;
    }
    Ok(())
}

/// Messages per second that a consumer takes from a full quorum queue, acknowledging many at once.
pub(crate) async fn consume_alone(link: &Link, queue: &str, messages: usize) -> Result<f64> {
    let mut consumer = link.consume(queue, 4_000).await?;
    let begun = Instant::now();
    let mut taken = 0;
    while taken < messages {
        let message = consumer.next().await?;
        taken += 1;
        if taken % AT_ONCE == 0 || taken == messages {
            link.ack_through(message.tag).await?;
        }
    }
    let rate = messages as f64 / begun.elapsed().as_secs_f64();
    consumer.cancel().await?;
    Ok(rate)
}

const TABLE: &str = "
    create table bare (project int, position bigint, channel bigint, sequence bigint, stored_at timestamptz,
                       id text, source text, type text, data bytea);
    create index on bare (project, position);
    create index on bare (channel, position);
    create table bare_head (project int primary key, position bigint);
    insert into bare_head values (1, 0);";

const APPEND: &str = "
    with head as (update bare_head set position = position + $1 where project = 1)
    insert into bare select 1, $2 + t.n, t.channel, t.n, now(), t.id, '/amqp', 'bench', t.data
    from unnest($3::bigint[], $4::text[], $5::bytea[]) with ordinality as t(channel, id, data, n)";

/// Rows per second that one connection appends to a table with two indexes and a head row, 500 to a commit.
pub(crate) async fn append_alone(setting: &Setting, name: &str, rows: usize) -> Result<f64> {
    let client = connect(&setting.database(name).await?).await?;
    client.batch_execute(TABLE).await?;
    let statement = client.prepare(APPEND).await?;
    let data = body(0, BODY_BYTES);
    let begun = Instant::now();
    for start in (0..rows).step_by(AT_ONCE) {
        let channels: Vec<i64> = (0..AT_ONCE).map(|n| (n % CHANNELS) as i64).collect();
        let ids: Vec<String> = (0..AT_ONCE).map(|n| format!("m-{}", start + n)).collect();
        let bodies: Vec<&[u8]> = vec![&data; AT_ONCE];
        client.execute(&statement, &[&(AT_ONCE as i64), &(start as i64), &channels, &ids, &bodies]).await?;
    }
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}

/// A connection of the benchmark's own, past the store.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
