//! From an AMQP publish to a WebSocket's receipt, at 500 events a second, beside what each hop takes alone (P8).
//!
//! Open loop: the schedule sets when an event is sent, and its latency counts from then.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use nuncio_broker::{Link, Properties};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::Result;
use crate::baseline::{body, connect};
use crate::program::Program;
use crate::setting::{Setting, Tenant};

const PER_SECOND: usize = 500;

/// How long the last events may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// The size of an event's data.
const BODY_BYTES: usize = 120;

/// Measures each hop alone, then the whole way, and prints both.
pub(crate) async fn run(setting: &Setting, seconds: usize) -> Result<()> {
    let broker = broker_hop(setting, PER_SECOND * 5).await?;
    let commit = commit_hop(setting, PER_SECOND * 5).await?;
    let socket = socket_hop(PER_SECOND * 5).await?;
    let whole = whole_way(setting, PER_SECOND * seconds).await?;
    println!("| hop, 500 events/s | p50 ms | p99 ms | max ms |");
    println!("|---|---|---|---|");
    let rows = [
        ("AMQP publish → consumer, quorum queue", &broker),
        ("one-row append, committed", &commit),
        ("WebSocket send → receipt", &socket),
        ("Nuncio: AMQP publish → graphql-transport-ws receipt", &whole),
    ];
    for (name, histogram) in rows {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| histogram.value_at_quantile(q) as f64 / 1_000.0);
        println!("| {name} | {p50:.2} | {p99:.2} | {max:.2} |");
    }
    let sum: u64 = [&broker, &commit, &socket].iter().map(|h| h.value_at_quantile(0.5)).sum();
    let ratio = whole.value_at_quantile(0.5) as f64 / sum as f64;
    println!(
        "\nP8: p50 {ratio:.2} × the sum of the hops (goal 1.5), p99 {:.2} ms (goal 25)\n",
        whole.value_at_quantile(0.99) as f64 / 1_000.0
    );
    Ok(())
}

/// When each event is due.
struct Schedule {
    begin: Instant,
}

impl Schedule {
    fn soon() -> Self {
        Self { begin: Instant::now() + Duration::from_millis(200) }
    }

    fn due(&self, n: usize) -> Instant {
        self.begin + Duration::from_micros((n * 1_000_000 / PER_SECOND) as u64)
    }

    async fn wait(&self, n: usize) {
        tokio::time::sleep_until(self.due(n).into()).await;
    }

    fn latency(&self, n: usize) -> u64 {
        self.due(n).elapsed().as_micros() as u64
    }
}

async fn publish_on_schedule(
    link: Link,
    exchange: String,
    schedule: std::sync::Arc<Schedule>,
    events: usize,
) -> Result<()> {
    let publisher = link.publisher().await?;
    let (sender, mut confirms) = mpsc::unbounded_channel::<nuncio_broker::Confirm>();
    let confirmed = tokio::spawn(async move {
        while let Some(confirm) = confirms.recv().await {
            confirm.wait().await?;
        }
        Ok::<_, nuncio_broker::Error>(())
    });
    for n in 0..events {
        schedule.wait(n).await;
        let properties = Properties::default().with_message_id(&format!("l-{n}"))?;
        sender.send(publisher.send(&exchange, "latency.one", properties, &body(n, BODY_BYTES)).await?)?;
    }
    drop(sender);
    confirmed.await??;
    Ok(())
}

async fn broker_hop(setting: &Setting, events: usize) -> Result<Histogram<u64>> {
    let name = nuncio_model::ProjectName::parse("hop")?;
    let link = setting.link().await?;
    let names = link.declare_project(&name).await?;
    let mut consumer = link.consume(&names.ingest, 1_000).await?;
    let schedule = std::sync::Arc::new(Schedule::soon());
    let publishing =
        tokio::spawn(publish_on_schedule(setting.link().await?, names.exchange, schedule.clone(), events));
    let mut histogram = Histogram::new(3)?;
    for n in 0..events {
        let message = tokio::time::timeout(PATIENCE, consumer.next()).await??;
        histogram.record(schedule.latency(n))?;
        link.ack_through(message.tag).await?;
    }
    publishing.await??;
    consumer.cancel().await?;
    Ok(histogram)
}

async fn commit_hop(setting: &Setting, events: usize) -> Result<Histogram<u64>> {
    let client = connect(&setting.database("hop").await?).await?;
    client.batch_execute("create table one (position bigint primary key, data bytea)").await?;
    let statement = client.prepare("insert into one values ($1, $2)").await?;
    let mut histogram = Histogram::new(3)?;
    let schedule = Schedule::soon();
    for n in 0..events {
        schedule.wait(n).await;
        client.execute(&statement, &[&(n as i64), &body(n, BODY_BYTES)]).await?;
        histogram.record(schedule.latency(n))?;
    }
    Ok(histogram)
}

async fn socket_hop(events: usize) -> Result<Histogram<u64>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let schedule = std::sync::Arc::new(Schedule::soon());
    let sending = schedule.clone();
    let sender = tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let mut socket = tokio_tungstenite::accept_async(socket).await?;
        for n in 0..events {
            sending.wait(n).await;
            socket.send(Message::binary(body(n, 300))).await?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    });
    let (mut client, _) = tokio_tungstenite::connect_async(format!("ws://{address}")).await?;
    let mut histogram = Histogram::new(3)?;
    for n in 0..events {
        client.next().await.ok_or("the socket closed early")??;
        histogram.record(schedule.latency(n))?;
    }
    sender.await??;
    Ok(histogram)
}

async fn whole_way(setting: &Setting, events: usize) -> Result<Histogram<u64>> {
    let tenant = setting.tenant("latency").await?;
    let link = setting.link().await?;
    let names = link.declare_project(&tenant.name).await?;
    let program = Program::start(setting, &tenant, "all")?;
    let mut socket = subscribe(&program, &tenant).await?;
    // Once this arrives, the worker consumes and the subscription is live.
    let warm = Properties::default().with_message_id("warm")?;
    link.publisher().await?.publish(&names.exchange, "latency.one", warm, b"{\"n\":-1}").await?;
    next_number(&mut socket).await?;
    let schedule = std::sync::Arc::new(Schedule::soon());
    let publishing =
        tokio::spawn(publish_on_schedule(setting.link().await?, names.exchange, schedule.clone(), events));
    let mut histogram = Histogram::new(3)?;
    for n in 0..events {
        let got = next_number(&mut socket).await?;
        if got != n as i64 {
            return Err(format!("event {n} was expected, {got} came").into());
        }
        histogram.record(schedule.latency(n))?;
    }
    publishing.await??;
    program.stop().await?;
    Ok(histogram)
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn subscribe(program: &Program, tenant: &Tenant) -> Result<Socket> {
    let mut socket = loop {
        let mut request = format!("ws://{}/graphql", program.address).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => break socket,
            Err(tokio_tungstenite::tungstenite::Error::Io(_)) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(error) => return Err(error.into()),
        }
    };
    let init = serde_json::json!({"type": "connection_init", "payload": {"token": tenant.key.expose()}});
    socket.send(Message::text(init.to_string())).await?;
    expect(&mut socket, "connection_ack").await?;
    let query = "subscription { events(channel: \"latency.one\") { id type time data sequence cursor } }";
    let subscribe = serde_json::json!({"id": "1", "type": "subscribe", "payload": {"query": query}});
    socket.send(Message::text(subscribe.to_string())).await?;
    // The pong says that the operation before it was taken up.
    socket.send(Message::text("{\"type\":\"ping\"}")).await?;
    expect(&mut socket, "pong").await?;
    Ok(socket)
}

async fn expect(socket: &mut Socket, kind: &str) -> Result<serde_json::Value> {
    loop {
        let message =
            tokio::time::timeout(PATIENCE, socket.next()).await?.ok_or("the socket closed early")??;
        let Message::Text(text) = message else { continue };
        let message: serde_json::Value = serde_json::from_str(&text)?;
        if message["type"] == kind {
            return Ok(message);
        }
        if message["type"] != "ping" {
            return Err(format!("{kind} was expected, this came: {message}").into());
        }
    }
}

async fn next_number(socket: &mut Socket) -> Result<i64> {
    let message = expect(socket, "next").await?;
    message["payload"]["data"]["events"]["data"]["n"]
        .as_i64()
        .ok_or_else(|| format!("no event: {message}").into())
}
