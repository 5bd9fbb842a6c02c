//! INV-9: a snapshot is what a replay makes of the stream up to its version.

use commands::{
    catalog::PRODUCT,
    checkout::CHECKOUT,
    coupon::COUPON,
    inventory::STOCK_ITEM,
    order::{ADJUSTMENT, ORDER},
    payment::PAYMENT,
    shipping::SHIPPING_PROFILE,
    tax::TAX_POLICY,
};
use cqrs_es::Aggregate;
use event_store::{Kind, StoreError, read};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Violation;

/// Snapshots listed at a time.
const WINDOW: i64 = 100;

/// A row of `log.snapshots`.
#[derive(sqlx::FromRow)]
struct Snapshot {
    store_id: Uuid,
    category: String,
    stream_id: Uuid,
    version: i64,
    position: i64,
    state: Vec<u8>,
}

/// Every snapshot there is.
pub(super) async fn check(conn: &mut PgConnection) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut last = (Uuid::nil(), String::new(), Uuid::nil());
    loop {
        let window: Vec<Snapshot> = sqlx::query_as(
            "SELECT store_id, category, stream_id, version, position, state FROM log.snapshots
              WHERE (store_id, category, stream_id) > ($1, $2, $3)
              ORDER BY store_id, category, stream_id LIMIT $4",
        )
        .bind(last.0)
        .bind(last.1)
        .bind(last.2)
        .bind(WINDOW)
        .fetch_all(&mut *conn)
        .await?;
        let Some(end) = window.last() else { return Ok(violations) };
        last = (end.store_id, end.category.clone(), end.stream_id);
        for snapshot in window {
            if let Some(why) = fault(conn, &snapshot).await? {
                let Snapshot { category, stream_id, version, .. } = snapshot;
                let what =
                    format!("snapshot of {category}/{stream_id} at version {version}: {why}");
                violations.push(Violation { invariant: "INV-9", what });
            }
        }
    }
}

async fn fault(conn: &mut PgConnection, it: &Snapshot) -> anyhow::Result<Option<String>> {
    let replayed = match it.category.as_str() {
        "product" => replay(conn, &PRODUCT, it).await,
        "stock_item" => replay(conn, &STOCK_ITEM, it).await,
        "checkout" => replay(conn, &CHECKOUT, it).await,
        "order" => replay(conn, &ORDER, it).await,
        "refund_adjustment" => replay(conn, &ADJUSTMENT, it).await,
        "payment" => replay(conn, &PAYMENT, it).await,
        "coupon" => replay(conn, &COUPON, it).await,
        "shipping_profile" => replay(conn, &SHIPPING_PROFILE, it).await,
        "tax_policy" => replay(conn, &TAX_POLICY, it).await,
        other => return Ok(Some(format!("no stream is of category {other}"))),
    };
    let (position, state) = match replayed {
        Ok(replayed) => replayed,
        Err(StoreError::Gap { .. } | StoreError::Decode { .. }) => {
            return Ok(Some("its stream does not replay".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let Ok(kept) = serde_json::from_slice::<Value>(&it.state) else {
        return Ok(Some("does not read".to_owned()));
    };
    if position != it.position {
        return Ok(Some(format!("it is at position {}, its event at {position}", it.position)));
    }
    Ok((kept != state).then(|| format!("keeps {kept}, a replay makes {state}")))
}

/// The state at the snapshot's version from the first event on, and the position of the last one.
async fn replay<A: Aggregate>(
    conn: &mut PgConnection,
    kind: &Kind<A>,
    snapshot: &Snapshot,
) -> Result<(i64, Value), StoreError> {
    let mut state = A::default();
    let (mut version, mut position) = (0, 0);
    while version < snapshot.version {
        let stream = (A::TYPE, snapshot.stream_id);
        let limit = read::WINDOW.min(snapshot.version - version);
        let window = read::read_stream(conn, snapshot.store_id, stream, version, limit).await?;
        if window.is_empty() {
            break;
        }
        for event in window {
            position = event.position;
            let decoded = (kind.decode)(&event.event_type, event.schema_version, &event.payload);
            state.apply(
                decoded.map_err(|source| StoreError::Decode { position, source: source.into() })?,
            );
            version = event.version;
        }
    }
    let state = serde_json::to_value(&state);
    Ok((position, state.map_err(|error| StoreError::Encode(error.to_string()))?))
}
