//! Reading the log. Always in windows, and every reader asserts that nothing is missing.

use chrono::{DateTime, Utc};
use futures::{TryStreamExt as _, stream::BoxStream};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;

/// Events a reader takes at a time when it has no reason for another number: about a megabyte.
pub const WINDOW: i64 = 1_000;

/// The most events any read returns, whatever it was asked for.
pub const WINDOW_MAX: i64 = 10_000;

/// Positions a filtered read looks through at a time, when few events match: some 30 MB of log.
pub const LOOK_MAX: i64 = 50_000;

/// Bytes of payloads and metadata at which a window ends early. Usual windows have a third of that
/// at most; single events may have half a megabyte.
const WINDOW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Place in the log: 1, 2, 3, …
    pub position: i64,
    pub store_id: Uuid,
    /// The kind of aggregate.
    pub category: String,
    pub stream_id: Uuid,
    /// Place in the stream: 1, 2, 3, …
    pub version: i64,
    pub event_type: String,
    pub schema_version: u16,
    pub event_id: Uuid,
    /// When the database appended it; never goes back along positions.
    pub recorded_at: DateTime<Utc>,
    /// JSON, the very bytes that were hashed.
    pub payload: Vec<u8>,
    /// JSON, the very bytes that were hashed.
    pub metadata: Vec<u8>,
    /// See [`crate::leaf_hash`].
    pub leaf_hash: [u8; 32],
}

/// Which events a filtered read wants. An event must match both lists; an empty list matches all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    pub categories: &'a [&'a str],
    pub types: &'a [&'a str],
}

/// Events that matched, and how far the log was looked through for them.
#[derive(Clone, Debug)]
pub struct Filtered {
    pub events: Vec<Recorded>,
    /// Every matching event up to here is in `events` or was before: the next read starts here.
    pub through: i64,
    /// There is more log to look through at once.
    pub more: bool,
}

/// Which events a reader has a use for.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// Categories it knows.
    pub categories: &'a [&'a str],
    /// Types of these that change nothing for it. Named by what they are and not by what is left,
    /// so that a type nobody knew when the list was written is met and not passed over.
    pub except: &'a [&'a str],
}

/// A part of the log without what its reader has no use for.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// In order.
    pub events: Vec<Recorded>,
    /// The last position that was looked at: the next window begins after it. Where this one
    /// began, if that is the end of the log.
    pub through: i64,
}

/// One row of `log.events`, before its numbers are checked.
pub(crate) struct Row {
    pub(crate) position: i64,
    pub(crate) store_id: Uuid,
    pub(crate) category: String,
    pub(crate) stream_id: Uuid,
    pub(crate) version: i64,
    pub(crate) event_type: String,
    pub(crate) schema_version: i16,
    pub(crate) event_id: Uuid,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) payload: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) leaf_hash: Vec<u8>,
}

impl From<Row> for Recorded {
    fn from(row: Row) -> Recorded {
        Recorded {
            position: row.position,
            store_id: row.store_id,
            category: row.category,
            stream_id: row.stream_id,
            version: row.version,
            event_type: row.event_type,
            // A negative version or a short hash can only be an edit by hand. Both become values
            // that no event has, so that the check of hashes finds them.
            schema_version: u16::try_from(row.schema_version).unwrap_or(0),
            event_id: row.event_id,
            recorded_at: row.recorded_at,
            payload: row.payload,
            metadata: row.metadata,
            leaf_hash: row.leaf_hash.try_into().unwrap_or([0; 32]),
        }
    }
}

/// The last position; 0 for an empty log. Everything up to it is committed and readable.
pub async fn head(conn: &mut PgConnection) -> Result<i64, StoreError> {
    let head = sqlx::query_scalar!("SELECT position FROM log.head");
    Ok(head.fetch_one(conn).await?)
}

/// Up to `limit` events of one stream after `after_version`, oldest first. Empty if there are no
/// more. [`StoreError::Gap`] (in versions) if one is missing in between.
pub async fn read_stream(
    conn: &mut PgConnection,
    store_id: Uuid,
    (category, id): (&str, Uuid),
    after_version: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT position, store_id, category, stream_id, version, event_type, schema_version,
                event_id, recorded_at, payload, metadata, leaf_hash
           FROM log.events
          WHERE store_id = $1 AND category = $2 AND stream_id = $3 AND version > $4
          ORDER BY version LIMIT $5",
        store_id,
        category,
        id,
        after_version,
        limit.clamp(1, WINDOW_MAX)
    )
    .fetch_all(conn)
    .await?;
    assert_contiguous(after_version, rows.iter().map(|row| row.version))?;
    Ok(rows.into_iter().map(Recorded::from).collect())
}

/// Up to `limit` events after `position`, in order, of every store. Empty means the end of the
/// log. [`StoreError::Gap`] if a position is missing: stop, do not skip.
pub async fn read_after(
    conn: &mut PgConnection,
    position: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    let events = window(&mut *conn, position, limit).await?;
    assert_contiguous(position, events.iter().map(|event| event.position))?;
    if events.is_empty() && position < head(&mut *conn).await? {
        // Something was appended between the two statements, or everything in the window is gone.
        let events = window(conn, position, limit).await?;
        assert_contiguous(position, events.iter().map(|event| event.position))?;
        if events.is_empty() {
            return Err(StoreError::Gap { expected: position + 1, found: None });
        }
        return Ok(events);
    }
    Ok(events)
}

/// The rows after `position` and up to `limit` positions further, as they are.
pub(crate) async fn window(
    conn: &mut PgConnection,
    position: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT position, store_id, category, stream_id, version, event_type, schema_version,
                event_id, recorded_at, payload, metadata, leaf_hash
           FROM log.events
          WHERE position > $1 AND position <= $1 + $2
          ORDER BY position",
        position,
        limit.clamp(1, WINDOW_MAX)
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(Recorded::from).collect())
}

/// The events of interest among the next `limit` (at most [`LOOK_MAX`]) positions after `position`;
/// fewer positions if the events come to 32 MiB before.
/// [`StoreError::Gap`] if any position is missing, of interest or not: stop, do not skip. Two round
/// trips, three at the end of the log.
pub async fn read_window(
    conn: &mut PgConnection,
    position: i64,
    limit: i64,
    interest: Interest<'_>,
) -> Result<Window, StoreError> {
    let limit = limit.clamp(1, LOOK_MAX);
    let mut through = dense_through(&mut *conn, position, limit).await?;
    if through == position {
        if head(&mut *conn).await? <= position {
            return Ok(Window { events: Vec::new(), through });
        }
        // Something was appended between the two statements, or everything in the window is gone.
        through = dense_through(&mut *conn, position, limit).await?;
        if through == position {
            return Err(StoreError::Gap { expected: position + 1, found: None });
        }
    }
    let rows = sqlx::query_as!(
        Row,
        "SELECT position, store_id, category, stream_id, version, event_type, schema_version,
                event_id, recorded_at, payload, metadata, leaf_hash
           FROM log.events
          WHERE position > $1 AND position <= $2
            AND category = ANY ($3) AND event_type <> ALL ($4)
          ORDER BY position",
        position,
        through,
        interest.categories as &[&str],
        interest.except as &[&str]
    );
    take(rows.fetch(conn), through, WINDOW_BYTES_MAX).await
}

/// Rows up to position `through`, until they come to `bytes_max`. What the server has sent beyond
/// that goes past without being kept.
async fn take(
    mut rows: BoxStream<'_, Result<Row, sqlx::Error>>,
    through: i64,
    bytes_max: usize,
) -> Result<Window, StoreError> {
    let mut events = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        bytes += row.payload.len() + row.metadata.len();
        let position = row.position;
        events.push(Recorded::from(row));
        if bytes >= bytes_max {
            return Ok(Window { events, through: position });
        }
    }
    Ok(Window { events, through })
}

/// The last of the next `limit` positions after `position`, if none before it is missing.
async fn dense_through(
    conn: &mut PgConnection,
    position: i64,
    limit: i64,
) -> Result<i64, StoreError> {
    let seen = sqlx::query!(
        r#"SELECT count(*) AS "count!", coalesce(max(position), $1) AS "through!"
             FROM log.events WHERE position > $1 AND position <= $1 + $2"#,
        position,
        limit
    );
    let seen = seen.fetch_one(&mut *conn).await?;
    if seen.count == seen.through - position {
        return Ok(seen.through);
    }
    let hole = sqlx::query!(
        r#"SELECT position, previous AS "previous!"
             FROM (SELECT position, lag(position, 1, $1) OVER (ORDER BY position) AS previous
                     FROM log.events WHERE position > $1 AND position <= $2) steps
            WHERE position <> previous + 1 ORDER BY position LIMIT 1"#,
        position,
        seen.through
    );
    match hole.fetch_optional(conn).await? {
        Some(hole) => {
            Err(StoreError::Gap { expected: hole.previous + 1, found: Some(hole.position) })
        }
        // Nothing is missing any more: what was counted and what was last were the same moment, so
        // this cannot be; rather no progress than a wrong one.
        None => Ok(position),
    }
}

/// Up to `limit` events after `position` that match `filter`, in order, from the next [`LOOK_MAX`]
/// positions. Positions in between that do not match are passed over, so this cannot assert
/// contiguity; it reads the head first, and everything up to the head is committed. Two round trips.
pub async fn read_after_filtered(
    conn: &mut PgConnection,
    position: i64,
    limit: i64,
    filter: Filter<'_>,
) -> Result<Filtered, StoreError> {
    let limit = limit.clamp(1, WINDOW_MAX);
    let head = head(&mut *conn).await?.max(position);
    let looked = head.min(position + LOOK_MAX);
    let rows = matching(conn, (position, looked), limit, filter).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == limit);
    let through = match rows.last() {
        Some(last) if full => last.position,
        _ => looked,
    };
    let events = rows.into_iter().map(Recorded::from).collect();
    Ok(Filtered { events, through, more: through < head })
}

/// Along the positions, testing each event. An index on categories would spare a reader that is
/// far behind a second per million events, and cost every append a tenth of its time.
async fn matching(
    conn: &mut PgConnection,
    (after, through): (i64, i64),
    limit: i64,
    filter: Filter<'_>,
) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT position, store_id, category, stream_id, version, event_type, schema_version,
                event_id, recorded_at, payload, metadata, leaf_hash
           FROM log.events
          WHERE position > $1 AND position <= $2
            AND (cardinality($3::text[]) = 0 OR category = ANY ($3))
            AND (cardinality($4::text[]) = 0 OR event_type = ANY ($4))
          ORDER BY position LIMIT $5",
        after,
        through,
        filter.categories as &[&str],
        filter.types as &[&str],
        limit
    );
    Ok(rows.fetch_all(conn).await?)
}

/// Fails unless `numbers` continue `after` one by one.
pub(crate) fn assert_contiguous(
    after: i64,
    numbers: impl IntoIterator<Item = i64>,
) -> Result<(), StoreError> {
    for (expected, found) in (after + 1..).zip(numbers) {
        if found != expected {
            return Err(StoreError::Gap { expected, found: Some(found) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};

    use super::*;

    fn row(position: i64) -> Row {
        Row {
            position,
            store_id: Uuid::nil(),
            category: "account".to_owned(),
            stream_id: Uuid::nil(),
            version: position,
            event_type: "Deposited".to_owned(),
            schema_version: 1,
            event_id: Uuid::nil(),
            recorded_at: DateTime::UNIX_EPOCH,
            payload: vec![0; 60],
            metadata: vec![0; 40],
            leaf_hash: vec![0; 32],
        }
    }

    #[tokio::test]
    async fn a_window_ends_where_it_has_bytes_enough_and_the_next_begins_there() {
        let read = async |bytes_max| {
            let rows = stream::iter([2, 5, 6].map(|position| Ok(row(position)))).boxed();
            let window = take(rows, 9, bytes_max).await.unwrap();
            (window.events.len(), window.through)
        };
        assert_eq!(read(1_000).await, (3, 9));
        assert_eq!(read(101).await, (2, 5));
        assert_eq!(read(1).await, (1, 2), "an event that is larger than all comes alone");
    }
}
