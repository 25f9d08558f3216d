//! One running server with its watcher: start, wait until ready, stop, kill.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep};

use crate::folder::Folder;
use crate::{Error, programs, watcher};

/// How long a server may take to become ready. A machine under full load starts RabbitMQ in some 20 s.
const START: Duration = Duration::from_secs(90);
/// How long a server has to end kindly, in seconds.
const GRACE: &str = "10";

/// How to run a server.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// The signal that ends it kindly, and the one that ends it when nothing of it is kept.
    pub(crate) signals: (&'static str, &'static str),
}

/// A server's watcher, and with it the server.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    watcher: Child,
    /// Held open while the server is wanted.
    wanted: Option<ChildStdin>,
    log: PathBuf,
}

impl Server {
    /// Starts the server. It is not ready yet.
    pub(crate) fn spawn(folder: &Folder, plan: &Plan) -> Result<Self, Error> {
        let log = folder.path.join("log");
        let output = File::create(&log).map_err(Error::io("write", &log))?;
        let (kind, scratch) = match folder.scratch {
            true => (plan.signals.1, folder.path.as_os_str()),
            false => (plan.signals.0, "".as_ref()),
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", watcher::SCRIPT, plan.name, kind, GRACE]).arg(scratch).args(&plan.command);
        clean_environment(&mut command);
        command.envs(plan.environment.iter().cloned()).current_dir(&folder.path).process_group(0);
        command.stdin(Stdio::piped()).stdout(folder.share_lock()?).stderr(output);
        folder.account.apply(&mut command);
        let mut watcher = command.spawn().map_err(Error::io("start", &plan.command[0]))?;
        let wanted = watcher.stdin.take();
        Ok(Self { name: plan.name, watcher, wanted, log })
    }

    /// Waits until `ready` says so, and fails when the server ends or takes too long.
    pub(crate) async fn wait_ready(&mut self, mut ready: impl AsyncFnMut() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + START;
        while !ready().await {
            if self.has_ended() {
                return Err(Error::Ended {
                    program: self.name,
                    log: self.log.clone(),
                    tail: tail(&self.log),
                });
            }
            if Instant::now() > deadline {
                let (log, tail, seconds) = (self.log.clone(), tail(&self.log), START.as_secs());
                return Err(Error::NotReady { program: self.name, seconds, log, tail });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether nothing runs any more. A watcher that cannot be asked has been reaped, so it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.watcher.try_wait(), Ok(None))
    }

    /// Ends the server kindly and waits for it.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        drop(self.wanted.take());
        self.watcher.wait().await.map_err(Error::io("wait for the end of", self.name))?;
        Ok(())
    }

    /// Ends the server as a crash would, and waits until it is gone: its watcher then reaps it and ends too.
    pub(crate) async fn kill(mut self, pid: Option<u32>) -> Result<(), Error> {
        let process = |id: u32| Pid::from_raw(id.cast_signed());
        // It may have ended by itself a moment ago; then there is nothing to kill.
        let _ended_already = match (pid.and_then(process), self.watcher.id().and_then(process)) {
            (Some(server), _) => kill_process(server, Signal::KILL),
            (None, Some(group)) => kill_process_group(group, Signal::KILL),
            (None, None) => Ok(()),
        };
        self.watcher.wait().await.map_err(Error::io("wait for the end of", self.name))?;
        Ok(())
    }
}

/// The user's settings for their own servers (`PG…`, `RABBITMQ_…`, `ERL_…`) must not reach ours.
fn clean_environment(command: &mut Command) {
    let path =
        std::env::join_paths(programs::search_path().iter().filter(|part| !part.as_os_str().is_empty()));
    command.env_clear().env("LC_ALL", "C");
    if let Ok(path) = path {
        command.env("PATH", path);
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
