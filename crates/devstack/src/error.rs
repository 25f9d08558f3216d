//! What can go wrong with a private server, in words for the person who has to mend it.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to find, start, use or stop a private server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is missing on this machine. Callers that can do without it may go on.
    #[error("{program} is not installed; {hint}")]
    NotInstalled {
        /// The program that was looked for.
        program: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// Another live process keeps its server in the same folder.
    #[error("{} is in use by process {pid}; stop that one, or choose another folder", folder.display())]
    InUse {
        /// The server's folder.
        folder: PathBuf,
        /// The process that uses it.
        pid: u32,
    },
    /// We are root, the server must not be, and the server's user cannot reach the folder.
    #[error("the user that runs the server cannot enter {}; choose a folder open to it", folder.display())]
    CannotEnter {
        /// The server's folder.
        folder: PathBuf,
    },
    /// The server ended before it was ready.
    #[error("{program} ended while it started; the end of {}:\n{tail}", log.display())]
    Ended {
        /// Which server.
        program: &'static str,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server runs, but did not become ready in time.
    #[error("{program} was not ready in {seconds} s; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// Which server.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A helper program failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
    /// RabbitMQ's management API could not be used, or refused.
    #[error("RabbitMQ's management API: {0}")]
    Management(String),
    /// A URL in the environment or in an argument cannot be used.
    #[error("{url} is not a URL of the form {expected}")]
    BadUrl {
        /// What was given, without its password.
        url: String,
        /// The form that was expected.
        expected: &'static str,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file, folder or program.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: names the operation and keeps the cause.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }
}
