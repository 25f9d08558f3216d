//! A TCP proxy for fault tests: it can cut, stall and refuse the connections that pass through it.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What every connection obeys.
#[derive(Debug, Clone, Copy, Default)]
struct Rule {
    stalled: bool,
    /// Connections end when this changes.
    cuts: u64,
}

/// A proxy on a port of 127.0.0.1. It ends when dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    targets: Vec<String>,
    rule: watch::Sender<Rule>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy in front of `target` (`host:port`).
    pub async fn start(target: &str) -> io::Result<Self> {
        Self::balance(&[target]).await
    }

    /// Starts a proxy in front of several servers, which leads each connection to the first of them that takes it.
    pub async fn balance(targets: &[&str]) -> io::Result<Self> {
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let rule = watch::Sender::new(Rule::default());
        let acceptor = Some(tokio::spawn(accept(listener, targets.clone(), rule.subscribe())));
        Ok(Self { address, targets, rule, acceptor })
    }

    /// `host:port` of the proxy.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The URL with a target's address replaced by the proxy's.
    pub fn rewrite(&self, url: &str) -> String {
        let target = self.targets.iter().find(|target| url.contains(target.as_str()));
        target.map_or_else(|| url.to_owned(), |target| url.replacen(target, &self.address(), 1))
    }

    /// Ends all connections. New ones are taken.
    pub fn cut(&self) {
        self.rule.send_modify(|rule| rule.cuts += 1);
    }

    /// Lets no byte pass in either direction, and keeps the connections open: a black hole.
    pub fn stall(&self) {
        self.rule.send_modify(|rule| rule.stalled = true);
    }

    /// Lets bytes pass again; those held back by [`Proxy::stall`] come through.
    pub fn resume(&self) {
        self.rule.send_modify(|rule| rule.stalled = false);
    }

    /// Refuses new connections, as a server that is not there. Open ones go on; see [`Proxy::cut`].
    pub async fn refuse(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.abort();
            // Waiting for its end makes sure that the port is closed; that it was cancelled is no news.
            let _cancelled = acceptor.await;
        }
    }

    /// Refuses new connections and ends all that there are, as a server that has died. None is open any more when this
    /// returns.
    pub async fn vanish(&mut self) {
        self.refuse().await;
        self.cut();
        // Each connection listens for cuts for as long as it is open.
        self.rule.closed().await;
    }

    /// Takes new connections again, on the same port.
    pub async fn accept(&mut self) -> io::Result<()> {
        if self.acceptor.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.acceptor = Some(tokio::spawn(accept(listener, self.targets.clone(), self.rule.subscribe())));
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.abort();
        }
        self.cut();
    }
}

async fn accept(listener: TcpListener, targets: Vec<String>, rule: watch::Receiver<Rule>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connection(client, targets.clone(), rule.clone()));
    }
}

async fn first_of(targets: Vec<String>) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for target in targets {
        match TcpStream::connect(&target).await {
            Ok(server) => return Ok(server),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connection(client: TcpStream, targets: Vec<String>, rule: watch::Receiver<Rule>) {
    let cuts = rule.borrow().cuts;
    let mut cut = rule.clone();
    let joined = async {
        let server = first_of(targets).await?;
        let _best_effort = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(pump(from_client, to_server, rule.clone()), pump(from_server, to_client, rule))
    };
    tokio::select! {
        _ended = joined => {}
        _changed = cut.wait_for(|rule| rule.cuts != cuts) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rule: watch::Receiver<Rule>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        rule.wait_for(|rule| !rule.stalled).await.map_err(io::Error::other)?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
