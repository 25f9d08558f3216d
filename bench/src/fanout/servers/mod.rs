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
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::driver::{Dialect, Outlet};
use super::usage::Processes;
use crate::Result;
use crate::setting::Setting;

/// How many events a broadcast of the floor and of async-graphql holds: enough that nobody loses any.
const CAPACITY: usize = 16_384;
/// How long a server may take until it takes connections.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);

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
        let server = match self {
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
    async fn wait(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        for address in [&self.address, &self.outlet.address] {
            while let Err(error) = TcpStream::connect(address).await {
                self.processes()?;
                if Instant::now() > until {
                    return Err(format!("the server does not take connections: {error}").into());
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        for child in &mut self.children {
            child.kill().await?;
        }
        Ok(())
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
    let outlet = Outlet { address: address.clone(), path: "/publish".to_owned(), token: None, whole: false };
    Ok(Server { children: vec![spawn(&mut command)?], address, dialect, outlet, database: None })
}

fn graphql(token: Option<String>, queries: Vec<String>) -> Dialect {
    Dialect::Graphql { path: "/graphql".to_owned(), token, queries }
}

fn spawn(command: &mut Command) -> Result<Child> {
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn()?)
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
