//! The log of one store, for people and programs that want everything that happened.
//!
//! All of it takes a connection of [`crate::as_store`], except [`position_at`].

use chrono::{DateTime, Utc};
use event_schemas::ids::StoreId;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Positions one page looks through at most, whether anything in them matches or not: some 50 ms.
pub const LOOK_MAX: i64 = 20_000;

/// Events of a single stream one page looks through at most: they are read before they are chosen.
pub const STREAM_LOOK_MAX: i64 = 1_000;

/// Bytes of payloads and metadata of one page, beyond its first event.
pub const BYTES_MAX: i64 = 1024 * 1024;

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub position: i64,
    pub category: String,
    pub stream_id: Uuid,
    pub version: i64,
    pub event_type: String,
    pub schema_version: i16,
    pub event_id: Uuid,
    pub recorded_at: DateTime<Utc>,
    /// JSON.
    pub payload: Vec<u8>,
    /// JSON.
    pub metadata: Vec<u8>,
}

/// Which events; what is empty matches all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub categories: Vec<String>,
    pub types: Vec<String>,
    /// As in the metadata of events.
    pub actor_id: Option<String>,
    pub correlation_id: Option<String>,
}

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Lowest position, included.
    pub first: i64,
    /// Highest position, included.
    pub last: i64,
    /// From the highest down.
    pub newest_first: bool,
}

/// Events that matched, in the order asked for, and how far was looked.
#[derive(Clone, Debug)]
pub struct Found {
    pub events: Vec<StoredEvent>,
    /// Every match up to here (or down to here) is in `events`.
    pub through: i64,
    /// Whether there is more of the range to look through.
    pub more: bool,
}

/// The last position of the log.
pub async fn head(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("SELECT position FROM log.head").fetch_one(conn).await
}

/// The first position that was recorded at `time` or later; one after the last if there is none.
/// Times never go back along positions, so this is a binary search: some 25 index probes. `pool`
/// must see every store (`conche_projector`).
pub async fn position_at(pool: &PgPool, time: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH RECURSIVE probe (low, high) AS (
                SELECT 0::bigint, position + 1 FROM log.head
                UNION ALL
                SELECT CASE WHEN e.recorded_at < $1 THEN e.position ELSE p.low END,
                       CASE WHEN e.recorded_at < $1 THEN p.high ELSE e.position END
                  FROM probe p JOIN log.events e ON e.position = (p.low + p.high) / 2
                 WHERE 1 < p.high - p.low)
           SELECT min(high) AS "position!" FROM probe"#,
        time
    )
    .fetch_one(pool)
    .await
}

/// At most `limit` events of a store that match, from at most [`LOOK_MAX`] positions of `range` and
/// at most [`BYTES_MAX`].
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &EventFilter,
    range: Range,
    limit: i64,
) -> Result<Found, sqlx::Error> {
    let Range { mut first, mut last, newest_first } = range;
    if newest_first {
        first = first.max(last - LOOK_MAX + 1);
    } else {
        last = last.min(first + LOOK_MAX - 1);
    }
    let events = if newest_first {
        descending(conn, store_id, filter, (first, last), limit).await?
    } else {
        ascending(conn, store_id, filter, (first, last), limit).await?
    };
    let looked = if newest_first { first } else { last };
    let end = if newest_first { range.first } else { range.last };
    // A page that its bytes have cut is not full, and not done either.
    let full = i64::try_from(events.len()).is_ok_and(|events| events == limit)
        || bytes(&events) > BYTES_MAX;
    let through = match events.last() {
        Some(last) if full => last.position,
        _ => looked,
    };
    let more = if newest_first { end < through } else { through < end };
    Ok(Found { events, through, more })
}

fn bytes(events: &[StoredEvent]) -> i64 {
    let bytes = events.iter().map(|event| event.payload.len() + event.metadata.len());
    i64::try_from(bytes.sum::<usize>()).unwrap_or(i64::MAX)
}

async fn ascending(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &EventFilter,
    (first, last): (i64, i64),
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    sqlx::query_as!(
        StoredEvent,
        r#"SELECT position AS "position!", category AS "category!", stream_id AS "stream_id!",
                  version AS "version!", event_type AS "event_type!",
                  schema_version AS "schema_version!", event_id AS "event_id!",
                  recorded_at AS "recorded_at!", payload AS "payload!", metadata AS "metadata!"
             FROM (SELECT *, sum(octet_length(payload) + octet_length(metadata))
                                 OVER (ORDER BY position) AS bytes
                     FROM (SELECT * FROM log.events
                            WHERE position BETWEEN $2 AND $3 AND store_id = $1
                              AND (cardinality($4::text[]) = 0 OR category = ANY ($4))
                              AND (cardinality($5::text[]) = 0 OR event_type = ANY ($5))
                              AND ($6::text IS NULL OR convert_from(metadata, 'UTF8')::jsonb
                                                       #>> '{actor,id}' = $6)
                              AND ($7::text IS NULL OR convert_from(metadata, 'UTF8')::jsonb
                                                       ->> 'correlation_id' = $7)
                            ORDER BY position LIMIT $8) matching) counted
            WHERE bytes - octet_length(payload) - octet_length(metadata) <= $9
            ORDER BY position"#,
        store_id.0,
        first,
        last,
        &filter.categories,
        &filter.types,
        filter.actor_id.as_deref(),
        filter.correlation_id.as_deref(),
        limit,
        BYTES_MAX
    )
    .fetch_all(conn)
    .await
}

async fn descending(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &EventFilter,
    (first, last): (i64, i64),
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    sqlx::query_as!(
        StoredEvent,
        r#"SELECT position AS "position!", category AS "category!", stream_id AS "stream_id!",
                  version AS "version!", event_type AS "event_type!",
                  schema_version AS "schema_version!", event_id AS "event_id!",
                  recorded_at AS "recorded_at!", payload AS "payload!", metadata AS "metadata!"
             FROM (SELECT *, sum(octet_length(payload) + octet_length(metadata))
                                 OVER (ORDER BY position DESC) AS bytes
                     FROM (SELECT * FROM log.events
                            WHERE position BETWEEN $2 AND $3 AND store_id = $1
                              AND (cardinality($4::text[]) = 0 OR category = ANY ($4))
                              AND (cardinality($5::text[]) = 0 OR event_type = ANY ($5))
                              AND ($6::text IS NULL OR convert_from(metadata, 'UTF8')::jsonb
                                                       #>> '{actor,id}' = $6)
                              AND ($7::text IS NULL OR convert_from(metadata, 'UTF8')::jsonb
                                                       ->> 'correlation_id' = $7)
                            ORDER BY position DESC LIMIT $8) matching) counted
            WHERE bytes - octet_length(payload) - octet_length(metadata) <= $9
            ORDER BY position DESC"#,
        store_id.0,
        first,
        last,
        &filter.categories,
        &filter.types,
        filter.actor_id.as_deref(),
        filter.correlation_id.as_deref(),
        limit,
        BYTES_MAX
    )
    .fetch_all(conn)
    .await
}

/// Position of the last event of a stream; `None` if the store has no such stream.
pub async fn stream_position(
    conn: &mut PgConnection,
    store_id: StoreId,
    (category, stream_id): (&str, Uuid),
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT position FROM log.streams
          WHERE store_id = $1 AND category = $2 AND stream_id = $3",
        store_id.0,
        category,
        stream_id
    )
    .fetch_optional(conn)
    .await
}

/// Events of one stream beyond the position `from` (0: from its beginning), oldest first, at most
/// [`STREAM_LOOK_MAX`] and [`BYTES_MAX`]. If an event of the stream is at `from`, the ones before
/// it cost nothing.
pub async fn of_stream(
    conn: &mut PgConnection,
    store_id: StoreId,
    (category, stream_id): (&str, Uuid),
    from: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    sqlx::query_as!(
        StoredEvent,
        r#"SELECT position AS "position!", category AS "category!", stream_id AS "stream_id!",
                  version AS "version!", event_type AS "event_type!",
                  schema_version AS "schema_version!", event_id AS "event_id!",
                  recorded_at AS "recorded_at!", payload AS "payload!", metadata AS "metadata!"
             FROM (SELECT *, sum(octet_length(payload) + octet_length(metadata))
                                 OVER (ORDER BY version) AS bytes
                     FROM (SELECT * FROM log.events
                            WHERE store_id = $1 AND category = $2 AND stream_id = $3
                              AND position > $4
                              AND version > coalesce((
                                  SELECT e.version FROM log.events e
                                   WHERE e.position = $4 AND e.store_id = $1
                                     AND e.category = $2 AND e.stream_id = $3), 0)
                            ORDER BY version LIMIT $5) matching) counted
            WHERE bytes - octet_length(payload) - octet_length(metadata) <= $6
            ORDER BY version"#,
        store_id.0,
        category,
        stream_id,
        from,
        STREAM_LOOK_MAX,
        BYTES_MAX
    )
    .fetch_all(conn)
    .await
}
