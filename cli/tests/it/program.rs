//! A child process whose output can be waited for, and is shown where a test fails.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a test waits for what must come. More than any of it takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(150);

/// How many lines of each output are shown where a test fails.
const SHOWN: usize = 40;

/// Waits for what must come, and says what did not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        while !holds().await {
            look.tick().await;
        }
    })
    .await;
}

/// The program `nuncio`, built by Cargo for this test or by `cargo xtask test` for all.
pub(crate) fn nuncio() -> Command {
    let binary = std::env::var_os("NUNCIO_TEST_BINARY").map(PathBuf::from);
    command(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_nuncio").into()))
}

/// A command without the settings that the tests themselves or their user have in the environment.
pub(crate) fn command(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    let ours = |key: &str| key.starts_with("NUNCIO_") || matches!(key, "DATABASE_URL" | "AMQP_URL");
    for (key, _) in std::env::vars().filter(|(key, _)| ours(key)) {
        command.env_remove(key);
    }
    command
}

/// A running child process. It is killed when dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    /// The lines of standard output.
    pub(crate) out: Lines,
    /// The lines of standard error.
    pub(crate) err: Lines,
}

impl Program {
    pub(crate) fn start(name: impl Into<String>, mut command: Command) -> Self {
        let (name, pipe) = (name.into(), Stdio::piped);
        let command = command.stdin(Stdio::null()).stdout(pipe()).stderr(pipe()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        let out = Lines::of(child.stdout.take().expect("a pipe"));
        let err = Lines::of(child.stderr.take().expect("a pipe"));
        Self { name, child, out, err }
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).expect("an id"), signal).expect("it runs");
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::KILL);
        within("the end of what was killed", self.child.wait()).await.expect("an end");
    }

    /// Waits for the end of the process and of its output.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        within(&what, async {
            let status = self.child.wait().await.expect("an end");
            self.out.closed().await;
            self.err.closed().await;
            status
        })
        .await
    }

    /// Waits for the end and gives the exit code.
    pub(crate) async fn code(&mut self) -> i32 {
        let status = self.ended().await;
        status.code().unwrap_or_else(|| panic!("{} was killed: {status}", self.name))
    }

    /// Waits for a good end.
    pub(crate) async fn succeed(mut self) -> Self {
        let status = self.ended().await;
        assert!(status.success(), "{}: {status}", self.name);
        self
    }
}

impl Drop for Program {
    #[expect(clippy::print_stdout, reason = "this is how a test that fails shows what its programs said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the end of the output of {}", self.name);
            println!("{} lines of output", self.out.all().len());
            for (which, lines) in [("out", &self.out), ("err", &self.err)] {
                lines.last(SHOWN).iter().for_each(|line| println!("{which}: {line}"));
            }
        }
    }
}

/// A line, and when it came.
type Line = (Instant, String);

/// The lines that a process has printed so far.
pub(crate) struct Lines(watch::Receiver<Vec<Line>>);

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|all: &mut Vec<Line>| all.push((Instant::now(), line)));
            }
        });
        Self(receiver)
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.borrow().iter().map(|(_, line)| line.clone()).collect()
    }

    /// All lines so far as one text.
    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Waits until there are more than so many lines, and gives those behind them.
    pub(crate) async fn after(&mut self, what: &str, count: usize) -> Vec<Line> {
        self.wait(what, |lines| lines.len() > count).await;
        self.0.borrow()[count..].to_vec()
    }

    /// Waits until there are so many lines.
    pub(crate) async fn count(&mut self, what: &str, count: usize) {
        self.wait(what, |lines| lines.len() >= count).await;
    }

    /// Waits for a line of which `find` can make something.
    pub(crate) async fn find<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let first = |lines: &[Line]| lines.iter().find_map(|(_, line)| find(line));
        self.wait(what, |lines| first(lines).is_some()).await;
        first(&self.0.borrow()).expect("it was there, and lines stay")
    }

    async fn wait(&mut self, what: &str, holds: impl Fn(&[Line]) -> bool) {
        let waited = within(what, self.0.wait_for(|lines| holds(lines))).await.is_ok();
        assert!(waited, "the process ended before: {what}");
    }

    /// Waits until the process has closed this output.
    async fn closed(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    fn last(&self, count: usize) -> Vec<String> {
        let lines = self.all();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}
