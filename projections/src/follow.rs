//! What a process that reads has to know to tell whether what it remembers is still true: how far
//! the read models are, and which streams have changed in them.
//!
//! All of it needs a pool of `conche_projector`, which sees every store.

use sqlx::PgPool;
use uuid::Uuid;

/// The most positions one look takes in; who is further behind starts over. Some 30 ms of work.
pub const WINDOW_MAX: i64 = 10_000;

/// How far the log and every projection are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reached {
    /// Last position of the log.
    pub head: i64,
    /// In the order of [`crate::ALL`].
    pub projections: Vec<Reach>,
}

/// How far one projection is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    /// Last position whose event has taken effect.
    pub position: i64,
    /// Age of the oldest event that has not, in seconds; 0 if there is none.
    pub behind_seconds: f64,
    /// Another one than before: its rows may have changed for another reason than the next events,
    /// because other tables took the place of the old ones, or what was parked was applied. The
    /// number of a table, and the positions that are parked, in sum.
    pub generation: (i64, i64),
}

/// A stream that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKey {
    pub store_id: Uuid,
    /// The kind of aggregate.
    pub category: String,
    pub stream_id: Uuid,
}

/// Everything in one round trip that reads a few rows.
pub async fn reached(pool: &PgPool) -> Result<Reached, sqlx::Error> {
    let names: Vec<&str> = crate::ALL.iter().map(|projection| projection.name).collect();
    let tables: Vec<String> =
        crate::ALL.iter().map(|projection| format!("read.{}", projection.tables[0])).collect();
    let rows = sqlx::query!(
        r#"SELECT h.position AS head, coalesce(c.position, 0) AS "position!",
                  CASE WHEN h.position > coalesce(c.position, 0)
                       THEN greatest(0, extract(epoch FROM clock_timestamp()
                                       - coalesce(e.recorded_at, h.recorded_at)))
                       ELSE 0 END::float8 AS "behind_seconds!",
                  coalesce(to_regclass(wanted.first_table)::oid::bigint, 0) AS "made!",
                  (SELECT coalesce(sum(p.position), 0)::bigint FROM log.parked p
                    WHERE p.projection = wanted.name) AS "parked!"
             FROM log.head h
            CROSS JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY
                    AS wanted (name, first_table, nth)
             LEFT JOIN log.checkpoints c ON c.name = wanted.name
             LEFT JOIN log.events e ON e.position = coalesce(c.position, 0) + 1
            ORDER BY wanted.nth"#,
        &names as &[&str],
        &tables
    )
    .fetch_all(pool)
    .await?;
    let head = rows.first().map_or(0, |row| row.head);
    let projections = rows.into_iter().map(|row| Reach {
        position: row.position,
        behind_seconds: row.behind_seconds,
        generation: (row.made, row.parked),
    });
    Ok(Reached { head, projections: projections.collect() })
}

/// Streams of `categories` with an event after `after` and up to `through`, which must be at most
/// [`WINDOW_MAX`] positions further.
pub async fn streams_changed(
    pool: &PgPool,
    (after, through): (i64, i64),
    categories: &[&str],
) -> Result<Vec<StreamKey>, sqlx::Error> {
    sqlx::query_as!(
        StreamKey,
        "SELECT DISTINCT store_id, category, stream_id FROM log.events
          WHERE position > $1 AND position <= $2 AND category = ANY ($3)",
        after,
        through.min(after + WINDOW_MAX),
        categories as &[&str]
    )
    .fetch_all(pool)
    .await
}
