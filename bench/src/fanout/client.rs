//! The load driver, seen from the process that directs it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::driver::{Answer, Comeback, Command, Outcome};
use super::servers::Server;
use super::usage::Processes;
use crate::Result;

/// A running driver; it ends when this is dropped.
pub(crate) struct Driver {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    pub(crate) fn start() -> Result<Self> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.arg("drive").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().ok_or("the driver has no input")?;
        let output = child.stdout.take().ok_or("the driver has no output")?;
        Ok(Self { child, input, output: BufReader::new(output).lines() })
    }

    /// Connects subscribers to a server, and returns when all are known to be subscribed.
    pub(crate) async fn connect(&mut self, server: &Server, crowd: Crowd) -> Result<()> {
        let Crowd { subscribers, sleepers, resume } = crowd;
        let (address, dialect, outlet) =
            (server.address.clone(), server.dialect.clone(), server.outlet.clone());
        self.tell(Command::Connect { address, dialect, outlet, subscribers, sleepers, resume }).await
    }

    /// Publishes on a schedule until all have heard all of it.
    pub(crate) async fn run(&mut self, per_second: u32, events: u32) -> Result<Outcome> {
        self.outcome(Command::Run { per_second, events }).await
    }

    /// Waits for the end of what [`Command::Begin`] began.
    pub(crate) async fn end(&mut self) -> Result<Outcome> {
        self.outcome(Command::End).await
    }

    pub(crate) async fn cut(&mut self) -> Result<Comeback> {
        match self.ask(Command::Cut).await? {
            Answer::Back(comeback) => Ok(comeback),
            other => Err(unexpected(&other)),
        }
    }

    /// For commands that are answered by their being done.
    pub(crate) async fn tell(&mut self, command: Command) -> Result<()> {
        match self.ask(command).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn processes(&self) -> Result<Processes> {
        Ok(Processes::of(self.child.id().ok_or("the driver has ended")?))
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    async fn outcome(&mut self, command: Command) -> Result<Outcome> {
        match self.ask(command).await? {
            Answer::Ran(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, command: Command) -> Result<Answer> {
        let mut line = serde_json::to_string(&command)?;
        line.push('\n');
        self.input.write_all(line.as_bytes()).await?;
        let line = self.output.next_line().await?.ok_or("the driver has ended")?;
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => Err(why.into()),
            answer => Ok(answer),
        }
    }
}

/// Who connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) subscribers: usize,
    /// How many of them will fall asleep.
    pub(crate) sleepers: usize,
    /// Whether they will be cut and resume.
    pub(crate) resume: bool,
}

impl Crowd {
    pub(crate) fn of(subscribers: usize) -> Self {
        Self { subscribers, sleepers: 0, resume: false }
    }
}

fn unexpected(answer: &Answer) -> Box<dyn std::error::Error + Send + Sync> {
    format!("the driver answered {answer:?}").into()
}
