//! The store's next order number.

use event_schemas::ids::StoreId;
use sqlx::PgPool;

/// The number of a store's first order.
const FIRST: i64 = 1_001;

/// The next number of the store: 1001, 1002, … One round trip; never the same twice. A number that
/// is not used in the end is skipped.
pub(crate) async fn next(pool: &PgPool, store_id: StoreId) -> Result<String, sqlx::Error> {
    let number = sqlx::query_scalar!(
        "INSERT INTO process.order_numbers AS n (store_id, last) VALUES ($1, $2)
             ON CONFLICT (store_id) DO UPDATE SET last = n.last + 1
         RETURNING last",
        store_id.0,
        FIRST
    );
    Ok(number.fetch_one(pool).await?.to_string())
}
