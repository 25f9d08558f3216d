//! Statements for a PostgreSQL server, run through its own client program, so that no driver is needed here.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Error, programs};

/// Runs statements on the database of one URL.
#[derive(Debug, Clone)]
pub struct Psql {
    url: String,
}

impl Psql {
    /// For this URL. Nothing is connected yet.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// Runs statements outside a transaction and answers with their rows: one line each, fields joined by `|`.
    pub async fn run(&self, sql: &str) -> Result<String, Error> {
        let mut command = Command::from(self.command()?);
        let answer =
            command.arg("-c").arg(sql).kill_on_drop(true).output().await.map_err(Error::io("run", "psql"))?;
        outcome(&answer)
    }

    /// The same, holding up this thread: for `Drop`, which cannot await.
    pub(crate) fn run_blocking(&self, sql: &str) -> Result<String, Error> {
        let answer = self.command()?.arg("-c").arg(sql).output().map_err(Error::io("run", "psql"))?;
        outcome(&answer)
    }

    fn command(&self) -> Result<std::process::Command, Error> {
        let mut command = std::process::Command::new(programs::psql()?);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url]);
        Ok(command)
    }
}

fn outcome(answer: &std::process::Output) -> Result<String, Error> {
    if answer.status.success() {
        return Ok(String::from_utf8_lossy(&answer.stdout).trim_end().to_owned());
    }
    let message = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
    Err(Error::Failed { program: "psql".into(), message })
}

/// An advisory lock, held by a session of its own until this value is dropped.
#[derive(Debug)]
pub(crate) struct AdvisoryLock {
    _session: Child,
    _input: ChildStdin,
    _output: BufReader<ChildStdout>,
}

impl AdvisoryLock {
    /// Waits for the lock with this name and takes it.
    pub(crate) async fn take(psql: &Psql, name: &str) -> Result<Self, Error> {
        let mut command = Command::from(psql.command()?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut session = command.spawn().map_err(Error::io("run", "psql"))?;
        let mut input = session.stdin.take().expect("standard input was asked for as a pipe");
        let mut output =
            BufReader::new(session.stdout.take().expect("standard output was asked for as a pipe"));
        let sql =
            format!("SELECT 'locked' FROM pg_advisory_lock(hashtext('{}'));\n", name.replace('\'', "''"));
        input.write_all(sql.as_bytes()).await.map_err(Error::io("write to", "psql"))?;
        let mut line = String::new();
        output.read_line(&mut line).await.map_err(Error::io("read from", "psql"))?;
        if line.trim() != "locked" {
            let message = format!("could not take the advisory lock {name}");
            return Err(Error::Failed { program: "psql".into(), message });
        }
        Ok(Self { _session: session, _input: input, _output: output })
    }
}
