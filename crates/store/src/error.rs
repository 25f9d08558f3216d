//! What can go wrong with the database, and what to do about it.

/// A failed statement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, is starting or stopping, or did not answer in time. Trying again later is right;
    /// whether a write took place is unknown.
    #[error("PostgreSQL is not available")]
    Unavailable(#[source] sqlx::Error),
    /// There is no such thing (any more).
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// The thing exists already.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// The thing was changed by somebody else since it was read.
    #[error("{0} was changed in the meantime")]
    Changed(&'static str),
    /// It is in a state that does not allow this.
    #[error("{0}")]
    Refused(&'static str),
    /// The key has been rotated, and this one, by what names it in paths and lists, takes its place.
    #[error(
        "the key has been rotated already, and {0} takes its place: revoke that one before you rotate it again"
    )]
    Rotated(String),
    /// A stored value cannot be read, or a secret cannot be encrypted or decrypted.
    #[error("{0}")]
    Unreadable(String),
    /// The schema could not be brought up to date.
    #[error("the migrations failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A defect of Nuncio or of the database.
    #[error("a statement failed")]
    Statement(#[source] sqlx::Error),
}

impl Error {
    /// Nothing was there to be deleted. Whoever expected no version does not care whether it was changed: it is gone.
    pub(crate) fn missed(what: &'static str, expected_version: Option<i64>) -> Self {
        if expected_version.is_some() { Self::Changed(what) } else { Self::NotFound(what) }
    }

    /// Whether the same call may succeed later, as it is.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the values handed in are to blame, so that the same call fails each time while others succeed: the
    /// classes of SQLSTATE 22 (data), 23 (constraints) and 54 (limits of the server), and what cannot be encoded.
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::Statement(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class))),
            Self::Statement(sqlx::Error::Encode(_)) => true,
            _ => false,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_passing(&error) { Self::Unavailable(error) } else { Self::Statement(error) }
    }
}

/// Faults of the connection or of the server's state, as opposed to faults of the statement.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Classes of SQLSTATE (PostgreSQL, appendix A): 08 connection, 25P03 idle in transaction for too long,
        // 40 rollback, 53 resources (disk full, too many connections), 55P03 lock time-out, 57 operator
        // (shutdown, statement time-out), 58 system error.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || matches!(&*code, "25P03" | "55P03")
        }),
        _ => false,
    }
}

/// Whether the statement failed because of a row that exists already.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
