//! A private PostgreSQL server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::sleep;

use crate::folder::Folder;
use crate::server::{Plan, Server};
use crate::{Error, Psql, port, process, programs};

/// The server's superuser.
const USER: &str = "nuncio";
/// Who runs the server where we are root.
const USERS: &[&str] = &["postgres", "nobody"];
/// How often a start is tried: the port may have been taken in between, or the processes of a server that was
/// killed may need a moment to end.
const TRIES: u32 = 50;
/// Above what any kernel hands out as a process id.
const IMPOSSIBLE_PID: u32 = 999_999_999;

/// How to start a private PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    folder: Option<PathBuf>,
    settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// A server that keeps its data in `folder`, durably, on the same port from start to start where it is free.
    pub fn kept(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), settings: Vec::new() }
    }

    /// A server for tests: its folder is removed when it ends, and it does not wait for the disk (a crash of the
    /// server loses nothing, a crash of the machine everything).
    pub fn scratch() -> Self {
        Self { folder: None, settings: Vec::new() }.setting("fsync", "off").setting("full_page_writes", "off")
    }

    /// Adds a setting of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running private PostgreSQL. Dropping it ends the server soon; [`Postgres::stop`] also waits for that.
#[derive(Debug)]
pub struct Postgres {
    folder: Folder,
    bin: PathBuf,
    settings: Vec<(String, String)>,
    password: String,
    port: u16,
    server: Option<Server>,
    frozen: bool,
}

impl Postgres {
    /// Starts the server and waits until it takes connections.
    pub async fn start(options: PostgresOptions) -> Result<Self, Error> {
        let bin = programs::postgres()?;
        let scratch = options.folder.is_none();
        let path = options.folder.map_or_else(|| Folder::scratch_path("postgres"), Ok)?;
        let folder = Folder::take(path, scratch, USERS).await?;
        let password = folder.password()?;
        make_cluster(&folder, &bin).await?;
        let port = port::kept(&folder, "port")?;
        let settings = options.settings;
        let mut postgres = Self { folder, bin, settings, password, port, server: None, frozen: false };
        postgres.launch_patiently(true).await?;
        Ok(postgres)
    }

    /// The URL of a database on this server, for its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// `host:port`, for a [`testkit::Proxy`](crate::testkit::Proxy).
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id of the server's first process.
    pub fn pid(&self) -> Option<u32> {
        self.pid_file()?.lines().next()?.trim().parse().ok()
    }

    /// A way to run statements as superuser.
    pub fn psql(&self) -> Psql {
        Psql::new(&self.url("postgres"))
    }

    /// Makes an empty database if there is none of this name.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let (psql, quoted) = (self.psql(), name.replace('"', "\"\""));
        let there = format!("SELECT 1 FROM pg_database WHERE datname = '{}'", name.replace('\'', "''"));
        if psql.run(&there).await?.is_empty() {
            psql.run(&format!("CREATE DATABASE \"{quoted}\"")).await?;
        }
        Ok(())
    }

    /// Ends the server, after its clients have been told, and waits for it.
    pub async fn stop(mut self) -> Result<(), Error> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// Stops the server where it is, as a machine that hangs: its connections stay open and nobody answers on them.
    pub fn freeze(&mut self) {
        self.frozen = true;
        self.signal(Signal::STOP);
    }

    /// Lets the server go on after [`Postgres::freeze`].
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

    /// Ends the server as `kill -9` would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.thaw();
        match self.server.take() {
            Some(server) => server.kill(self.pid()).await,
            None => Ok(()),
        }
    }

    /// Starts the server again, with the same data on the same port, after [`Postgres::kill`] or while it runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.kill().await?;
        self.launch_patiently(false).await
    }

    /// Tries again what time can mend: a port, or the remains of a crashed server, still in use.
    async fn launch_patiently(&mut self, may_move: bool) -> Result<(), Error> {
        let mut tries = 1;
        while let Err(error) = self.launch().await {
            // The processes of a crashed server have their last words in the same log, after those of the new one.
            let said = self.folder.read("log").unwrap_or_default();
            if !matches!(error, Error::Ended { .. }) || tries == TRIES || !said.contains("in use") {
                return Err(error);
            }
            if may_move && said.contains("Address already in use") {
                self.port = port::kept(&self.folder, "port")?;
            }
            tries += 1;
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn launch(&mut self) -> Result<(), Error> {
        self.clear_stale_pid()?;
        let before = self.pid_file();
        let mut server = Server::spawn(&self.folder, &self.plan())?;
        server
            .wait_ready(async || {
                let now = self.pid_file();
                // The file of an earlier run also says "ready"; it differs by its start time.
                let ready = now
                    .as_deref()
                    .and_then(|text| text.lines().nth(7))
                    .is_some_and(|word| word.starts_with("ready"));
                ready && now != before
            })
            .await?;
        self.server = Some(server);
        Ok(())
    }

    fn plan(&self) -> Plan {
        let postgres = self.bin.join("postgres").to_string_lossy().into_owned();
        let data = self.data().to_string_lossy().into_owned();
        let mut command = vec![postgres, "-D".into(), data];
        let fixed = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", String::new()),
            ("max_connections", "300".to_owned()),
            // While a client that was cut off is waited for here, no database can be made or dropped: by default for a
            // minute.
            ("authentication_timeout", "15s".to_owned()),
            ("logging_collector", "off".to_owned()),
        ];
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        command.extend(
            fixed.into_iter().chain(given).flat_map(|(name, value)| ["-c".into(), format!("{name}={value}")]),
        );
        // INT is PostgreSQL's "fast" shutdown: sessions are ended, the data is left clean. QUIT is "immediate".
        Plan { name: "PostgreSQL", command, environment: Vec::new(), signals: ("INT", "QUIT") }
    }

    fn data(&self) -> PathBuf {
        self.folder.path.join("data")
    }

    fn pid_file(&self) -> Option<String> {
        fs::read_to_string(self.data().join("postmaster.pid")).ok()
    }

    /// PostgreSQL will not start while its pid file names a live process, be it a zombie or something else by now
    /// (ids are soon reused in containers). The file then gets an id that cannot exist; the rest of it stays,
    /// because PostgreSQL finds by it whether sessions of the crashed server are still alive.
    fn clear_stale_pid(&self) -> Result<(), Error> {
        let (Some(pid), Some(text)) = (self.pid(), self.pid_file()) else { return Ok(()) };
        if process::live_name(pid).is_some_and(|name| name.contains("postgres")) {
            return Ok(());
        }
        let file = self.data().join("postmaster.pid");
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        fs::write(&file, format!("{IMPOSSIBLE_PID}\n{rest}")).map_err(Error::io("write", &file))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What is frozen could not end.
        self.thaw();
        // A running server's watcher removes a scratch folder; without one we have to.
        if self.folder.scratch && self.server.as_mut().is_none_or(Server::has_ended) {
            let _best_effort = fs::remove_dir_all(&self.folder.path);
        }
    }
}

/// Makes the database cluster, under another name until it is whole, so that an interrupted start does no harm.
async fn make_cluster(folder: &Folder, bin: &Path) -> Result<(), Error> {
    let data = folder.path.join("data");
    if data.join("PG_VERSION").is_file() {
        return Ok(());
    }
    let unfinished = folder.path.join("data.new");
    let _absent_mostly = fs::remove_dir_all(&unfinished);
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER]);
    initdb.arg("--pwfile").arg(folder.path.join("password")).arg("--pgdata").arg(&unfinished);
    initdb.current_dir(&folder.path).kill_on_drop(true);
    folder.account.apply(&mut initdb);
    let answer = initdb.output().await.map_err(Error::io("run", bin.join("initdb")))?;
    if !answer.status.success() {
        let message = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        return Err(Error::Failed { program: "initdb".into(), message });
    }
    fs::rename(&unfinished, &data).map_err(Error::io("make", &data))
}
