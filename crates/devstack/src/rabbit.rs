//! A private RabbitMQ node.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::folder::Folder;
use crate::rabbit_config::{self, Ports};
use crate::server::{Plan, Server};
use crate::{Error, Management, port, process, programs};

const USER: &str = "nuncio";
/// Who runs the node where we are root.
const USERS: &[&str] = &["rabbitmq", "postgres", "nobody"];
/// How often a start is tried when a port was taken in between.
const TRIES: u32 = 3;

/// What the node logs when everything is up and its ports are open.
const STARTED: &str = "Server startup complete";

/// Starts the port mapper beside the node, in the same process group, so that it ends with it. The node would
/// otherwise start one that outlives it.
const WITH_MAPPER: &str = r#""$1" -port "$ERL_EPMD_PORT" -address 127.0.0.1 & exec "$2""#;

/// How to start a private RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitOptions {
    folder: Option<PathBuf>,
    management: bool,
}

impl RabbitOptions {
    /// A node that keeps its data in `folder`, on the same port from start to start where it is free.
    pub fn kept(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), management: false }
    }

    /// A node for tests: its folder is removed when it ends, and the management API is on.
    pub fn scratch() -> Self {
        Self { folder: None, management: true }
    }

    /// Turns the management plugin (HTTP API and web pages) on or off. It costs under a second at start.
    #[must_use]
    pub fn management(mut self, on: bool) -> Self {
        self.management = on;
        self
    }
}

/// A running private RabbitMQ. Dropping it ends the node soon; [`Rabbit::stop`] also waits for that.
#[derive(Debug)]
pub struct Rabbit {
    folder: Folder,
    programs: [String; 2],
    password: String,
    ports: Ports,
    server: Option<Server>,
    frozen: bool,
}

impl Rabbit {
    /// Starts the node and waits until it takes connections.
    pub async fn start(options: RabbitOptions) -> Result<Self, Error> {
        let programs =
            [programs::epmd()?, programs::rabbitmq_server()?].map(|path| path.to_string_lossy().into_owned());
        let scratch = options.folder.is_none();
        let path = options.folder.map_or_else(|| Folder::scratch_path("rabbitmq"), Ok)?;
        let folder = Folder::take(path, scratch, USERS).await?;
        let password = folder.password()?;
        let ports = choose_ports(&folder, options.management)?;
        let mut rabbit = Self { folder, programs, password, ports, server: None, frozen: false };
        let mut tries = 1;
        while let Err(error) = rabbit.launch().await {
            let taken = matches!(&error, Error::Ended { tail, .. } if tail.contains("eaddrinuse"));
            if !taken || tries == TRIES {
                return Err(error);
            }
            tries += 1;
            rabbit.ports = choose_ports(&rabbit.folder, options.management)?;
        }
        rabbit.folder.write("made", "")?;
        Ok(rabbit)
    }

    /// The AMQP URL of a virtual host, for the node's administrator.
    pub fn url(&self, vhost: &str) -> String {
        amqp_url(USER, &self.password, &self.address(), vhost)
    }

    /// `host:port` of AMQP, for a [`testkit::Proxy`](crate::testkit::Proxy).
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.amqp)
    }

    /// The management API, where it was turned on.
    pub fn management(&self) -> Option<Management> {
        let port = self.ports.management?;
        Some(Management::new(&format!("http://127.0.0.1:{port}"), USER, &self.password))
    }

    /// Makes a virtual host that the administrator may use. Needs the management API.
    pub async fn create_vhost(&self, name: &str) -> Result<(), Error> {
        let off = || Error::Management("it is turned off for this node".to_owned());
        self.management().ok_or_else(off)?.create_vhost(name).await
    }

    /// The process id of the node.
    pub fn pid(&self) -> Option<u32> {
        self.folder.read("pid")?.trim().parse().ok()
    }

    /// Ends the node in order and waits for it.
    pub async fn stop(mut self) -> Result<(), Error> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// Stops the node where it is, as a machine that hangs: its connections stay open and nobody answers on them.
    pub fn freeze(&mut self) {
        self.frozen = true;
        self.signal(Signal::STOP);
    }

    /// Lets the node go on after [`Rabbit::freeze`].
    pub fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.signal(Signal::CONT);
        }
    }

    fn signal(&self, signal: Signal) {
        if let (Some(_running), Some(pid)) = (&self.server, self.pid()) {
            process::signal_family(pid, signal);
        }
    }

    /// Ends the node as `kill -9` would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.thaw();
        match self.server.take() {
            Some(server) => server.kill(self.pid()).await,
            None => Ok(()),
        }
    }

    /// Starts the node again, with the same data on the same port, after [`Rabbit::kill`] or while it runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.kill().await?;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), Error> {
        if self.folder.read("made").is_none() {
            // The first start makes the administrator; one that was interrupted may have left a node without.
            let _absent_mostly = fs::remove_dir_all(self.folder.path.join("mnesia"));
        }
        rabbit_config::write(&self.folder, USER, &self.password, self.ports)?;
        let mut server = Server::spawn(&self.folder, &self.plan())?;
        let folder = &self.folder;
        server
            .wait_ready(async || {
                // Its own word, said last: on its port another server might answer, that took it meanwhile.
                sleep(Duration::from_millis(20)).await;
                folder.read("log").is_some_and(|log| log.contains(STARTED))
            })
            .await?;
        self.server = Some(server);
        Ok(())
    }

    fn plan(&self) -> Plan {
        let [epmd, server] = self.programs.clone();
        let command = ["/bin/sh", "-c", WITH_MAPPER, "rabbitmq"].map(str::to_owned);
        let command = command.into_iter().chain([epmd, server]).collect();
        let environment = rabbit_config::environment(&self.folder, self.ports);
        Plan { name: "RabbitMQ", command, environment, signals: ("TERM", "KILL") }
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        // What is frozen could not end.
        self.thaw();
        // A running node's watcher removes a scratch folder; without one we have to.
        if self.folder.scratch && self.server.as_mut().is_none_or(Server::has_ended) {
            let _best_effort = fs::remove_dir_all(&self.folder.path);
        }
    }
}

fn choose_ports(folder: &Folder, management: bool) -> Result<Ports, Error> {
    Ok(Ports {
        amqp: port::kept(folder, "port")?,
        management: management.then(|| port::kept(folder, "management-port")).transpose()?,
        distribution: port::free()?,
        mapper: port::free()?,
    })
}

/// The AMQP URL of a virtual host.
pub(crate) fn amqp_url(user: &str, password: &str, address: &str, vhost: &str) -> String {
    format!("amqp://{user}:{password}@{address}/{}", vhost.replace('/', "%2f"))
}
