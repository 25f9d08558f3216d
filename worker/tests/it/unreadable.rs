//! Messages that no AMQP library of ours can even parse. A client that writes raw bytes can publish them, and the
//! worker's connection ends whenever RabbitMQ hands one out.

use std::io;

use nuncio_devstack::testkit::{database, vhost};
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Stage, TEMPLATE, eventually, prepare, publish_until_confirmed};

/// An AMQP client that sends whatever bytes it is told to.
struct RawPublisher(TcpStream);

fn short(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len()).expect("a short text")];
    bytes.extend_from_slice(text);
    bytes
}

impl RawPublisher {
    async fn connect(url: &str) -> io::Result<Self> {
        let url = Url::parse(url).expect("a URL");
        let mut raw =
            Self(TcpStream::connect((url.host_str().expect("a host"), url.port().expect("a port"))).await?);
        raw.0.write_all(b"AMQP\0\0\x09\x01").await?;
        raw.expect(10, 10).await?;
        let login = format!("\0{}\0{}", url.username(), url.password().expect("a password"));
        let login =
            [&u32::try_from(login.len()).expect("a short text").to_be_bytes(), login.as_bytes()].concat();
        raw.method(0, 10, 11, &[&[0; 4], &*short(b"PLAIN"), &login, &short(b"en_US")].concat()).await?;
        let mut tune = raw.expect(10, 30).await?;
        let heartbeat = tune.len() - 2;
        tune[heartbeat..].fill(0);
        raw.method(0, 10, 31, &tune).await?;
        raw.method(0, 10, 40, &[&*short(&url.path().as_bytes()[1..]), &[0, 0]].concat()).await?;
        raw.expect(10, 41).await?;
        raw.method(1, 20, 10, &[0]).await?;
        raw.expect(20, 11).await?;
        raw.method(1, 85, 10, &[0]).await?;
        raw.expect(85, 11).await?;
        Ok(raw)
    }

    /// Publishes `1` with these bytes as routing key and `message_id`, and waits for the confirm.
    async fn publish(&mut self, exchange: &str, key: &[u8], message_id: &[u8]) -> io::Result<()> {
        let publish = [&[0, 0], &*short(exchange.as_bytes()), &*short(key), &[0]].concat();
        self.method(1, 60, 40, &publish).await?;
        // Class, weight, size of the body, and the flag of `message_id`.
        let header = [&[0, 60, 0, 0], &1_u64.to_be_bytes()[..], &[0, 0x80], &*short(message_id)].concat();
        self.frame(2, 1, &header).await?;
        self.frame(3, 1, b"1").await?;
        self.expect(60, 80).await.map(drop)
    }

    async fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) -> io::Result<()> {
        self.frame(1, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat()).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
        let size = u32::try_from(payload.len()).expect("a small frame");
        let frame = [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[0xce]].concat();
        self.0.write_all(&frame).await
    }

    /// Waits for this method and answers with its arguments.
    async fn expect(&mut self, class: u16, method: u16) -> io::Result<Vec<u8>> {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload).await?;
        let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
        assert_eq!(payload[..4], wanted, "{}", String::from_utf8_lossy(&payload));
        Ok(payload[4..size as usize].to_vec())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_parsed_is_put_aside_and_the_rest_goes_on() {
    let (database, vhost) = tokio::try_join!(database(TEMPLATE, prepare), vhost()).expect("servers");
    let stage = Stage::set(&database.url, &vhost.url).await;
    let link = stage.declared().await;
    let mut raw = RawPublisher::connect(&vhost.url).await.expect("a connection");
    publish_until_confirmed(&stage.broker, &stage.names, 0..50).await;
    raw.publish(&stage.names.exchange, b"orders.\xff", b"m-1").await.expect("a confirm");
    raw.publish(&stage.names.exchange, b"orders.eu", b"\xff").await.expect("a confirm");
    publish_until_confirmed(&stage.broker, &stage.names, 50..100).await;
    let worker = stage.worker("one");
    stage.eventually_stored(&(0..100).collect::<Vec<_>>()).await;
    // A routing key can be read where RabbitMQ puts it aside; a property cannot, and is kept for the operator.
    eventually("a dead letter", async || stage.dead_letters().await.len() == 1).await;
    let letter = stage.dead_letters().await.remove(0);
    assert_eq!((letter.reason.as_str(), letter.body.as_slice()), ("bad_channel", b"1".as_slice()));
    eventually("a parked message", async || {
        link.waiting("nuncio.parked").await.is_ok_and(|count| count == 1)
    })
    .await;
    worker.stop().await;
}
