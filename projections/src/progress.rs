//! How far projections are: for health checks, metrics and readers of their own writes.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;

use crate::parked::Counts;

/// How soon [`wait_for`] looks again: a projector in the same process is done within a few of
/// these. Each look waits twice as long as the one before, so that waiting costs few of them.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(5);
/// See [`LOOK_AGAIN_MIN`].
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(50);

/// How far a projection is behind the log.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Lag {
    /// Name of the projection.
    pub name: &'static str,
    /// Last position that was passed: its event has taken effect or is parked.
    pub position: i64,
    /// Events after it.
    pub events: i64,
    /// Age of the oldest of them, in seconds; of the newest if the asking role may not see events
    /// of every store. 0 if there is none.
    pub seconds: f64,
    /// What it has passed without applying it.
    pub parked: Counts,
}

/// Last position whose event has taken effect in projection `name`; 0 if it never ran.
pub async fn position(pool: &PgPool, name: &str) -> Result<i64, sqlx::Error> {
    let position =
        sqlx::query_scalar!("SELECT position FROM log.checkpoints WHERE name = $1", name);
    Ok(position.fetch_optional(pool).await?.unwrap_or(0))
}

/// How far each projection of [`crate::ALL`] is behind, in that order. One round trip; any role.
pub async fn lag(pool: &PgPool) -> Result<Vec<Lag>, sqlx::Error> {
    let names: Vec<&str> = crate::ALL.iter().map(|projection| projection.name).collect();
    let rows = sqlx::query!(
        r#"SELECT wanted.name AS "name!", coalesce(c.position, 0) AS "position!",
                  h.position - coalesce(c.position, 0) AS "events!",
                  CASE WHEN h.position > coalesce(c.position, 0)
                       THEN extract(epoch FROM clock_timestamp()
                                               - coalesce(e.recorded_at, h.recorded_at))
                       ELSE 0 END::float8 AS "seconds!",
                  coalesce(s.parked_streams, 0) AS "parked_streams!",
                  coalesce(s.parked_events, 0) AS "parked_events!"
             FROM log.head h
            CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS wanted(name, nth)
             LEFT JOIN log.checkpoints c ON c.name = wanted.name
             LEFT JOIN log.events e ON e.position = coalesce(c.position, 0) + 1
             LEFT JOIN read.projection_states s ON s.name = wanted.name
            ORDER BY wanted.nth"#,
        &names as &[&str]
    )
    .fetch_all(pool)
    .await?;
    let lags = rows.into_iter().zip(crate::ALL).map(|(row, projection)| Lag {
        name: projection.name,
        position: row.position,
        events: row.events.max(0),
        seconds: row.seconds.max(0.0),
        parked: Counts { streams: row.parked_streams, events: row.parked_events },
    });
    Ok(lags.collect())
}

/// Waits until every projection of `names` has reached `position`, at most `timeout`. Returns
/// whether they have. Does not wait for what is not in the log. Holds no connection while it waits.
pub async fn wait_for(
    pool: &PgPool,
    names: &[&str],
    position: i64,
    timeout: Duration,
) -> Result<bool, sqlx::Error> {
    let deadline = Instant::now() + timeout;
    let mut pause = LOOK_AGAIN_MIN;
    loop {
        let seen = sqlx::query!(
            r#"SELECT h.position AS head, count(c.name) AS "reached!"
                 FROM log.head h
                 LEFT JOIN log.checkpoints c ON c.name = ANY ($1) AND c.position >= $2
                GROUP BY h.position"#,
            names as &[&str],
            position
        )
        .fetch_one(pool)
        .await?;
        if usize::try_from(seen.reached) == Ok(names.len()) {
            return Ok(true);
        }
        if seen.head < position || Instant::now() + pause >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_AGAIN_MAX);
    }
}
