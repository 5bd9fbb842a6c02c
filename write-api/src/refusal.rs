//! Refusals every context shares; what the rules say is a table of its context.

use std::error::Error;
use std::time::Duration;

use api_kit::Problem;
use commands::{CommandError, StoreError};

/// What we ask of a client whose command met a busy or absent database.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The problem of `error`; `rejected` is the context's table of what its rules refuse.
pub(crate) fn problem<E>(error: CommandError<E>, rejected: fn(E) -> Problem) -> Problem
where
    E: Error + Send + Sync + 'static,
{
    let passing = error.is_passing();
    match error {
        CommandError::Rejected(error) => rejected(error),
        CommandError::Stale { current } => {
            Problem::new("version_mismatch").extra("current_version", current)
        }
        CommandError::KeyReused => Problem::new("idempotency_key_reused"),
        CommandError::Taken { scope, key } => taken(&scope, &key),
        CommandError::Conflict(_) => Problem::new("changed_meanwhile").retry_after(RETRY_AFTER),
        CommandError::Store(cause) if passing => {
            // The client hears only that it should come again; the operator wants to know why.
            tracing::warn!(error = %cause, "log is not available");
            Problem::unavailable(RETRY_AFTER)
        }
        CommandError::Store(StoreError::TooLarge { what, actual, limit }) => {
            let detail = format!("{what}: {actual}, at most {limit} in one command");
            Problem::invalid("", "too_large", detail)
        }
        CommandError::Store(cause) => Problem::internal(cause),
    }
}

fn taken(scope: &str, key: &str) -> Problem {
    let code = match scope {
        "handle" => "handle_taken",
        "sku" => "sku_taken",
        _ => "key_taken",
    };
    Problem::new(code).extra("scope", scope).extra("value", key)
}
