//! The orderly end, in two stages: asked to drain, then told to stop.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tokens and the tasks of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled first: take nothing new, finish what is under way.
    pub drain: CancellationToken,
    /// Cancelled at the deadline: stop, whatever is under way.
    pub stop: CancellationToken,
    /// Every task of the process.
    pub tasks: TaskTracker,
    failure: CancellationToken,
}

/// SIGTERM and SIGINT, from now on: as long as nobody listens, they end the process at once, and in a container, where
/// it is the first one, they do nothing at all.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits until the process is asked to stop, and says by which signal.
    pub async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything under way was finished.
    Drained,
    /// The deadline came first.
    Cut,
}

impl Shutdown {
    /// Starts a task that belongs to the process and ends when it drains. One that panics or fails takes the process
    /// down, loudly: a process that goes on without one of its parts looks well and is not.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        self.tasks.spawn(self.clone().supervise(name, tokio::spawn(task)));
    }

    /// Starts a task that goes on while the process drains, to the very end; it is supervised in the same way.
    pub fn spawn_to_the_end<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        tokio::spawn(self.clone().supervise(name, tokio::spawn(task)));
    }

    async fn supervise<E: std::fmt::Display>(self, name: &'static str, task: JoinHandle<Result<(), E>>) {
        let failure = match task.await {
            Ok(Ok(())) if self.drain.is_cancelled() => return,
            Ok(Ok(())) => "ended before it was told to".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(task = name, failure, "a part of this process died; the process ends");
        self.failure.cancel();
        self.drain.cancel();
    }

    /// Waits for a signal or a part that died; then drains, and stops at the deadline.
    pub async fn wait(&self, signals: &mut Signals, deadline: Duration) -> End {
        tokio::select! {
            signal = signals.asked() => tracing::info!(signal, "draining"),
            () = self.drain.cancelled() => {}
        }
        self.drain.cancel();
        self.tasks.close();
        let mut end = End::Drained;
        tokio::select! {
            drained = tokio::time::timeout(deadline, self.tasks.wait()) => if drained.is_err() { end = End::Cut },
            // Whoever presses Ctrl-C twice means it.
            _ = signals.interrupt.recv() => end = End::Cut,
        }
        self.stop.cancel();
        end
    }

    /// Whether a part died.
    pub fn failed(&self) -> bool {
        self.failure.is_cancelled()
    }
}
