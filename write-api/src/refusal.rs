//! Refusals every context shares; what the rules say is a table of its context.

use std::error::Error;
use std::time::Duration;

use api_kit::Problem;
use commands::coupon::CouponError;
use commands::{CommandError, StoreError};
use serde_json::json;

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

/// What coupons refuse: when they are managed, and when a checkout is quoted. One row per refusal.
pub(crate) fn coupon(error: CouponError) -> Problem {
    use CouponError as E;
    let detail = error.to_string();
    match error {
        E::NotFound => Problem::new("coupon_unknown"),
        E::AlreadyDefined => Problem::new("already_exists"),
        E::Invalid { at, why } => Problem::invalid(at, "invalid", why),
        E::NotApplicable(why) => {
            Problem::new("coupon_not_applicable").detail(detail).extra("why", json!(why))
        }
        E::Exhausted => Problem::new("coupon_exhausted"),
        E::CustomerLimit => Problem::new("coupon_customer_limit"),
    }
}

#[cfg(test)]
mod tests {
    use commands::coupon::NotApplicable;

    use super::*;

    #[test]
    fn every_refusal_of_a_coupon_has_its_code() {
        use CouponError as E;
        let table = [
            (E::NotFound, 404, "coupon_unknown"),
            (E::AlreadyDefined, 409, "already_exists"),
            (E::Invalid { at: "/code", why: "" }, 422, "validation_failed"),
            (E::NotApplicable(NotApplicable::TooLate), 422, "coupon_not_applicable"),
            (E::Exhausted, 409, "coupon_exhausted"),
            (E::CustomerLimit, 409, "coupon_customer_limit"),
        ];
        for (error, status, code) in table {
            let problem = coupon(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        }
    }
}
