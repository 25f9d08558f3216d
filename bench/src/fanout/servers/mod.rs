//! The servers that are measured, each started the same way and ended with what it started.

mod event;
pub(crate) mod floor;
mod nuncio;
mod peers;
pub(crate) mod stock;

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::driver::{Dialect, Outlet};
use super::usage::Processes;
use crate::Result;
use crate::setting::Setting;

/// How many events a broadcast of the floor and of async-graphql holds: enough that nobody loses any.
const CAPACITY: usize = 16_384;
/// How long a server may take until it takes connections.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);
/// How long one may take to end when it is asked to.
const PARTING: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contender {
    /// axum WebSocket, one shared frame, tokio broadcast: the floor.
    Floor,
    /// Nuncio, graphql-transport-ws, all subscribers with the same operation.
    Graphql,
    /// Nuncio, graphql-transport-ws, fifty different operations among the subscribers.
    Mixed,
    /// Nuncio, server-sent events.
    Sse,
    /// Nuncio in one process, which also publishes and stores.
    All,
    /// async-graphql and async-graphql-axum as shipped.
    Stock,
    /// Nchan in nginx, WebSocket.
    Nchan,
    /// centrifuge for Go, JSON, with history.
    Centrifuge,
    /// Socket.IO on Node, one room.
    SocketIo,
    /// graphql-ws with ws on Node.
    GraphqlWs,
}

impl Contender {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Floor => "axum WebSocket, shared frame (the floor)",
            Self::Graphql => "**Nuncio, GraphQL**",
            Self::Mixed => "**Nuncio, GraphQL, 50 operations**",
            Self::Sse => "**Nuncio, SSE**",
            Self::All => "**Nuncio, GraphQL, one process for all**",
            Self::Stock => "async-graphql 7.2, as shipped",
            Self::Nchan => "Nchan (nginx)",
            Self::Centrifuge => "centrifuge (Go), history on",
            Self::SocketIo => "Socket.IO 4.8 (Node)",
            Self::GraphqlWs => "graphql-ws 6 + ws 8 (Node)",
        }
    }

    pub(crate) fn is_nuncio(self) -> bool {
        matches!(self, Self::Graphql | Self::Mixed | Self::Sse | Self::All)
    }

    /// Starts it. A peer that is not installed is an error that says how to get it.
    pub(crate) async fn start(self, setting: &Setting) -> Result<Server> {
        let mut server = match self {
            Self::Floor | Self::Stock => built_in(self)?,
            Self::Graphql | Self::Mixed | Self::Sse | Self::All => nuncio::start(setting, self).await?,
            Self::Nchan => peers::nchan()?,
            Self::Centrifuge => peers::centrifuge().await?,
            Self::SocketIo | Self::GraphqlWs => peers::node(self).await?,
        };
        server.wait().await?;
        Ok(server)
    }
}

/// A running server.
pub(crate) struct Server {
    /// The first is the one under measurement.
    children: Vec<Child>,
    /// Where subscribers connect, and what they speak.
    pub(crate) address: String,
    pub(crate) dialect: Dialect,
    pub(crate) outlet: Outlet,
    /// The database behind it, where there is one.
    pub(crate) database: Option<String>,
}

impl Server {
    /// What is measured.
    pub(crate) fn processes(&self) -> Result<Processes> {
        let child = self.children.first().and_then(Child::id).ok_or("the server has ended")?;
        Ok(Processes::of(child))
    }

    /// Waits until it takes connections.
    async fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        for address in [&self.address, &self.outlet.address] {
            while let Err(error) = TcpStream::connect(address).await {
                for child in &mut self.children {
                    if let Some(status) = child.try_wait()? {
                        return Err(format!("the server ended at its start: {status}").into());
                    }
                }
                if Instant::now() > until {
                    return Err(format!("the server does not take connections: {error}").into());
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
        Ok(())
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.terminate();
        for child in &mut self.children {
            if timeout(PARTING, child.wait()).await.is_err() {
                child.kill().await?;
            }
        }
        Ok(())
    }

    /// Asks all processes to end. They are not killed, as nginx could not end its workers then.
    fn terminate(&self) {
        for child in &self.children {
            let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            // One that has ended by itself cannot be told.
            let _ended = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// The floor and async-graphql are this program again, so that they are built as Nuncio is.
fn built_in(contender: Contender) -> Result<Server> {
    let address = free_address()?;
    let (name, dialect) = match contender {
        Contender::Floor => ("floor", Dialect::Bare { path: "/ws".to_owned() }),
        _ => {
            let query =
                "subscription { events(channel: \"bench.one\") { id type time data sequence cursor } }";
            ("stock", graphql(None, vec![query.to_owned()]))
        }
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", name, &address]);
    let outlet = Outlet {
        address: address.clone(),
        path: "/publish".to_owned(),
        token: None,
        whole: false,
        batches: false,
    };
    Ok(Server { children: vec![spawn(&mut command)?], address, dialect, outlet, database: None })
}

fn graphql(token: Option<String>, queries: Vec<String>) -> Dialect {
    Dialect::Graphql { path: "/graphql".to_owned(), token, queries }
}

fn spawn(command: &mut Command) -> Result<Child> {
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
