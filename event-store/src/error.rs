//! What can go wrong, as closed lists.

use std::sync::Arc;

/// Why a command was not carried out. `E` is the aggregate's own refusal.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E> {
    /// The aggregate said no. Nothing was appended.
    #[error("the command was refused")]
    Refused(#[source] E),
    /// The stream is not at the version the sender has seen.
    #[error("stream is at version {current}")]
    VersionMismatch { current: i64 },
    /// The command id was used before, for another command.
    #[error("command id was used for another command")]
    CommandReused,
    /// Another stream of the store holds a key that the command's events claim.
    #[error("{scope} is taken")]
    KeyTaken { scope: String, key: String },
    /// Other processes moved the stream each time. Sending the command again is safe.
    #[error("stream is written by others")]
    Conflict,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the log could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached. Nothing was appended.
    #[error("database failed")]
    Database(#[source] Arc<sqlx::Error>),
    /// Too much is in flight or no connection came free. Nothing was appended; try again later.
    #[error("too many commands in flight")]
    Busy,
    /// The connection died at the commit and the database could not be asked since. Sending the
    /// command again with the same id is safe and gives the answer.
    #[error("outcome is not known yet")]
    OutcomeUnknown(#[source] Arc<sqlx::Error>),
    /// The command's deadline passed while it waited. Nothing was appended.
    #[error("deadline passed before the command reached the log")]
    Late,
    /// A position or version is missing. The log was tampered with or restored from pieces.
    #[error("log has a gap: expected {expected}, found {found:?}")]
    Gap { expected: i64, found: Option<i64> },
    /// A stored event does not read as its aggregate's event.
    #[error("event at position {position} does not decode")]
    Decode { position: i64, source: Arc<serde_json::Error> },
    /// A new event cannot be stored.
    #[error("event cannot be stored: {0}")]
    Encode(String),
    /// More than the named limit.
    #[error("{what}: {actual}, at most {limit}")]
    TooLarge { what: &'static str, actual: usize, limit: usize },
    /// The task of the command panicked. The bug is in the log of the process.
    #[error("command stopped in the middle of a bug")]
    Panicked,
}

impl StoreError {
    /// Whether the database is away or too busy, so that the same command, sent again with the
    /// same id, may succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Busy | StoreError::Late | StoreError::OutcomeUnknown(_) => true,
            StoreError::Database(error) => is_away(error),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::PoolTimedOut => StoreError::Busy,
            error => StoreError::Database(Arc::new(error)),
        }
    }
}

/// SQLSTATE classes and codes of a server that ends the session. A session that ends at its
/// commit (as when a wait for a synchronous replica is cut short) may have committed.
const SESSION_ENDED: [&str; 4] = ["57P01", "57P02", "57P03", "57P05"];
const CONNECTION_EXCEPTION_CLASS: &str = "08";

/// SQLSTATE classes of a server that is reached but cannot serve now: connection exception, out of
/// resources, operator intervention, and system error such as a full disk.
const AWAY_CLASSES: [&str; 4] = [CONNECTION_EXCEPTION_CLASS, "53", "57", "58"];

/// SQLSTATE of a lock not granted within `lock_timeout`: somebody else holds the head of the log.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Whether `error` says that the server could not be reached or cannot serve now.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code == LOCK_NOT_AVAILABLE || AWAY_CLASSES.iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether a single autocommitted statement that failed with `error` may have been committed.
pub(crate) fn is_ambiguous(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            SESSION_ENDED.contains(&code.as_ref()) || code.starts_with(CONNECTION_EXCEPTION_CLASS)
        }),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
