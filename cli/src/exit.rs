//! How the program ends when it does not end well.

use std::error::Error;
use std::process::ExitCode;

use nuncio_runtime::ConfigError;

/// Why the program ends, which decides its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 2: the configuration, or the way the program was called.
    Config(String),
    /// 3: a needed server could not be reached in time.
    Unreachable(String),
    /// 1: anything else.
    Other(String),
}

impl Failure {
    /// A failure with its whole chain of causes.
    pub(crate) fn other(error: impl Error) -> Self {
        Self::Other(chain(&error))
    }

    /// Prints the reason and gives the exit code.
    #[expect(clippy::print_stderr, reason = "this is what the user of the command is told")]
    pub(crate) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Config(message) => (2, message),
            Self::Unreachable(message) => (3, message),
            Self::Other(message) => (1, message),
        };
        eprintln!("nuncio: {message}");
        ExitCode::from(code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<nuncio_store::Error> for Failure {
    fn from(error: nuncio_store::Error) -> Self {
        if error.is_unavailable() { Self::Unreachable(chain(&error)) } else { Self::Other(chain(&error)) }
    }
}

/// The error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Many errors repeat their source's text.
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
