//! The store's next order number.

use event_schemas::ids::StoreId;
use sqlx::PgPool;

/// The number of a store's first order.
const FIRST: i64 = 1_001;

/// Widest step over numbers that imports hold, as a power of two.
const STEP_BITS_MAX: u32 = 10;

/// The next number of the store: 1001, 1002, … One round trip; never the same twice. A number that
/// is not used in the end is skipped. `taken` is how many in a row turned out to be taken: the more,
/// the wider the step, because imports hold thousands in a row.
pub(crate) async fn next(
    pool: &PgPool,
    store_id: StoreId,
    taken: u32,
) -> Result<String, sqlx::Error> {
    let step = 1_i64 << taken.saturating_sub(1).min(STEP_BITS_MAX);
    let number = sqlx::query_scalar!(
        "INSERT INTO process.order_numbers AS n (store_id, last) VALUES ($1, $2)
             ON CONFLICT (store_id) DO UPDATE SET last = n.last + $3
         RETURNING last",
        store_id.0,
        FIRST,
        step
    );
    Ok(number.fetch_one(pool).await?.to_string())
}
