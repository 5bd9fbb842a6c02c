//! Why a command had no effect.

use event_store::{ExecuteError, StoreError};

/// Why a command had no effect. In every case nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E: std::error::Error> {
    /// A business rule said no. Asking again gives the same answer.
    #[error(transparent)]
    Rejected(E),
    /// The caller decided on an older version than the current one.
    #[error("the stream is at version {current}")]
    Stale {
        /// The version now.
        current: i64,
    },
    /// The command id was used before, for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Somebody else in the store has that name.
    #[error("the {scope} `{key}` is taken")]
    Taken {
        /// What sort of name: `handle`, `sku`, `order_number`.
        scope: String,
        /// The name.
        key: String,
    },
    /// Others changed the same thing, again and again. Asking again may work.
    #[error("the {0} was changed by someone else")]
    Conflict(&'static str),
    /// The database could not be reached or held something unreadable. Worth an alert.
    #[error("event store failed")]
    Store(#[source] StoreError),
}

impl<E: std::error::Error> CommandError<E> {
    /// Whether the same command, sent again with the same id, may succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Conflict(_) => true,
            Self::Store(error) => error.is_passing(),
            Self::Rejected(_) | Self::Stale { .. } | Self::KeyReused | Self::Taken { .. } => false,
        }
    }

    pub(crate) fn from_engine(category: &'static str, error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Refused(error) => Self::Rejected(error),
            ExecuteError::VersionMismatch { current } => Self::Stale { current },
            ExecuteError::CommandReused => Self::KeyReused,
            ExecuteError::KeyTaken { scope, key } => Self::Taken { scope, key },
            ExecuteError::Conflict => Self::Conflict(category),
            ExecuteError::Store(error) => Self::Store(error),
        }
    }
}
