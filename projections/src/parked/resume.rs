//! Parked streams that go on: because the code knows their events now, or because a person said
//! that they go on without one.

use std::collections::HashSet;

use event_store::{
    Recorded,
    checkpoint::{checkpoint, lock_checkpoint},
    read::{WINDOW, read_stream},
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::{Blame, ParkedStream, blame, count};
use crate::{
    Projection, ProjectionError,
    runner::{LIVE_SCHEMA, check_version, use_schema},
};

/// Why a stream waits that has nothing wrong with it any more.
const WAITS_FOR_REBUILD: &str = "nothing known; a rebuild tries it";

/// What became of a parked stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Events that have taken effect now.
    pub applied: i64,
    /// Where the stream waits still; `None` if it flows again.
    pub parked: Option<ParkedStream>,
}

/// A decision to leave events out for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard<'a> {
    /// Why they may be left out.
    pub reason: &'a str,
    /// Who says so.
    pub by: &'a str,
    /// Not only the event that cannot be applied, but everything that waits behind it, too.
    pub all: bool,
}

/// Where a stream goes on.
#[derive(Clone, Copy)]
struct From {
    /// Version of the last event that has taken effect or is left out.
    version: i64,
    /// Position of the checkpoint: later events are not parked.
    through: i64,
}

/// Streams that wait, those parked first first; of one projection, or of all. `owner` is a pool of
/// `Role::Owner`.
pub async fn list(
    owner: &PgPool,
    projection: Option<&Projection>,
) -> Result<Vec<ParkedStream>, ProjectionError> {
    let mut tx = as_projector(owner).await?;
    let parked = sqlx::query_as!(
        ParkedStream,
        "SELECT projection, store_id, category, stream_id, position, version, events, reason,
                since, attempts
           FROM log.parked WHERE projection = $1 OR $1 IS NULL ORDER BY projection, position",
        projection.map(|projection| projection.name)
    );
    Ok(parked.fetch_all(&mut *tx).await?)
}

/// The first events that wait in a stream, 1,000 at most.
pub async fn events(
    owner: &PgPool,
    projection: &Projection,
    parked: &ParkedStream,
) -> Result<Vec<Recorded>, ProjectionError> {
    let mut tx = as_projector(owner).await?;
    let through = checkpoint(&mut tx, projection.name).await?;
    let window = window(&mut tx, parked, From { version: parked.version - 1, through }).await?;
    Ok(of_interest(&mut tx, projection, window).await?)
}

/// Applies what waits in a stream, in order, in one transaction, as far as it can be applied. The
/// projection waits meanwhile. `None` if the stream is not parked (any more).
/// [`ProjectionError::NeedsRebuild`] if it cannot be applied later.
pub async fn retry(
    owner: &PgPool,
    projection: &Projection,
    stream: &ParkedStream,
) -> Result<Option<Resumed>, ProjectionError> {
    if !projection.streams_commute {
        return Err(ProjectionError::NeedsRebuild { name: projection.name });
    }
    let (mut tx, through) = begin(owner, projection).await?;
    let Some(parked) = find(&mut tx, projection, stream).await? else {
        // Not left to the pool, which does it at leisure: others would find the lock taken.
        tx.rollback().await?;
        return Ok(None);
    };
    let from = From { version: parked.version - 1, through };
    let resumed = resume(&mut tx, projection, &parked, from).await?;
    tx.commit().await?;
    Ok(Some(resumed))
}

/// Leaves the event that parks a stream out of the projection for good, and applies what waits
/// behind it as far as it can be applied; or leaves out everything that waits. In one transaction,
/// with a note in `log.discarded`, which stays. If what waits behind cannot be applied later, it
/// goes on waiting, for a rebuild. `None` if the stream is not parked at the position
/// that `stream` says (any more): what is discarded is what was looked at.
pub async fn discard(
    owner: &PgPool,
    projection: &Projection,
    stream: &ParkedStream,
    discard: Discard<'_>,
) -> Result<Option<Resumed>, ProjectionError> {
    let (mut tx, through) = begin(owner, projection).await?;
    let parked = find(&mut tx, projection, stream).await?;
    let Some(parked) = parked.filter(|parked| parked.position == stream.position) else {
        tx.rollback().await?;
        return Ok(None);
    };
    let last = if discard.all { i64::MAX } else { parked.version };
    // Only a role that may store what is true may store a decision.
    sqlx::raw_sql("SET LOCAL ROLE conche_writer").execute(&mut *tx).await?;
    let version = write_discarded(&mut tx, &parked, discard, (last, through)).await?;
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *tx).await?;
    let resumed = resume(&mut tx, projection, &parked, From { version, through }).await?;
    tx.commit().await?;
    Ok(Some(resumed))
}

/// Notes the events of a parked stream up to version `last` and position `through`. Returns the
/// version of the last of them.
async fn write_discarded(
    conn: &mut PgConnection,
    parked: &ParkedStream,
    discard: Discard<'_>,
    (last, through): (i64, i64),
) -> Result<i64, sqlx::Error> {
    let version = sqlx::query_scalar!(
        r#"WITH gone AS (
               SELECT * FROM log.events e
                WHERE e.store_id = $2 AND e.category = $3 AND e.stream_id = $4
                  AND e.version BETWEEN $5 AND $6 AND e.position <= $7),
           noted AS (
               INSERT INTO log.discarded (projection, position, store_id, category, stream_id,
                                          fault, reason, discarded_by)
               SELECT $1, position, store_id, category, stream_id,
                      CASE WHEN version = $5 THEN $8 END, $9, $10
                 FROM gone ON CONFLICT DO NOTHING)
           SELECT max(version) AS "version!" FROM gone"#,
        parked.projection,
        parked.store_id,
        parked.category,
        parked.stream_id,
        parked.version,
        last,
        through,
        parked.reason,
        discard.reason,
        discard.by
    );
    version.fetch_one(conn).await
}

/// A transaction with the rights of a projector, whoever owns the tables.
async fn as_projector(owner: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut tx = owner.begin().await?;
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *tx).await?;
    Ok(tx)
}

/// Takes the projection for itself: until the end of the transaction nobody applies, rebuilds or
/// verifies it. Returns its checkpoint, too.
async fn begin(
    owner: &PgPool,
    projection: &Projection,
) -> Result<(Transaction<'static, Postgres>, i64), ProjectionError> {
    let mut tx = as_projector(owner).await?;
    let locked = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended('projection ' || $1, 0))
               AS "locked!""#,
        projection.name
    );
    if !locked.fetch_one(&mut *tx).await? {
        return Err(ProjectionError::InUse { name: projection.name });
    }
    let through = lock_checkpoint(&mut tx, projection.name).await?;
    check_version(&mut tx, projection).await?;
    use_schema(&mut tx, LIVE_SCHEMA).await?;
    Ok((tx, through))
}

async fn find(
    conn: &mut PgConnection,
    projection: &Projection,
    stream: &ParkedStream,
) -> Result<Option<ParkedStream>, sqlx::Error> {
    sqlx::query_as!(
        ParkedStream,
        "SELECT projection, store_id, category, stream_id, position, version, events, reason,
                since, attempts
           FROM log.parked
          WHERE projection = $1 AND store_id = $2 AND category = $3 AND stream_id = $4",
        projection.name,
        stream.store_id,
        stream.category,
        stream.stream_id
    )
    .fetch_optional(conn)
    .await
}

/// The next events of a stream that wait.
async fn window(
    conn: &mut PgConnection,
    parked: &ParkedStream,
    from: From,
) -> Result<Vec<Recorded>, ProjectionError> {
    let key = (parked.category.as_str(), parked.stream_id);
    let mut window = read_stream(conn, parked.store_id, key, from.version, WINDOW).await?;
    window.retain(|recorded| recorded.position <= from.through);
    Ok(window)
}

/// Applies what waits, window by window, and writes down what came of it.
async fn resume(
    conn: &mut PgConnection,
    projection: &Projection,
    parked: &ParkedStream,
    mut from: From,
) -> Result<Resumed, ProjectionError> {
    let mut total = 0;
    loop {
        let window = window(conn, parked, from).await?;
        let Some(last) = window.last() else { break };
        from.version = last.version;
        let events = of_interest(conn, projection, window).await?;
        let (applied, bad) = match events.first() {
            Some(first) if !projection.streams_commute => {
                (0, Some((first, WAITS_FOR_REBUILD.to_owned())))
            }
            _ => apply_good(conn, projection, &events).await?,
        };
        total += i64::try_from(applied).expect("a window fits in memory");
        if let Some(bad) = bad {
            let parked = park_at(conn, projection, parked, bad, from.through).await?;
            count(conn, projection).await?;
            return Ok(Resumed { applied: total, parked: Some(parked) });
        }
    }
    sqlx::query!(
        "DELETE FROM log.parked
          WHERE projection = $1 AND store_id = $2 AND category = $3 AND stream_id = $4",
        projection.name,
        parked.store_id,
        parked.category,
        parked.stream_id
    )
    .execute(&mut *conn)
    .await?;
    count(conn, projection).await?;
    Ok(Resumed { applied: total, parked: None })
}

/// What of a stream the projection is shown.
async fn of_interest(
    conn: &mut PgConnection,
    projection: &Projection,
    mut window: Vec<Recorded>,
) -> Result<Vec<Recorded>, sqlx::Error> {
    let positions: Vec<i64> = window.iter().map(|recorded| recorded.position).collect();
    let discarded = sqlx::query_scalar!(
        "SELECT position FROM log.discarded WHERE projection = $1 AND position = ANY ($2)",
        projection.name,
        &positions
    );
    let discarded: HashSet<i64> = discarded.fetch_all(conn).await?.into_iter().collect();
    window.retain(|recorded| {
        !discarded.contains(&recorded.position)
            && !projection.except.contains(&recorded.event_type.as_str())
    });
    Ok(window)
}

/// Applies events of one stream up to the first that cannot be applied. Returns how many, and that
/// one with what is wrong with it.
async fn apply_good<'a>(
    conn: &mut PgConnection,
    projection: &Projection,
    events: &'a [Recorded],
) -> Result<(usize, Option<(&'a Recorded, String)>), ProjectionError> {
    let mut bad: Option<(usize, String)> = None;
    // The first `done` are applied; up to `end` is tried.
    let (mut done, mut end) = (0, events.len());
    while done < end {
        sqlx::raw_sql("SAVEPOINT tried").execute(&mut *conn).await?;
        let Err(error) = (projection.apply)(conn, &events[done..end]).await else {
            sqlx::raw_sql("RELEASE SAVEPOINT tried").execute(&mut *conn).await?;
            done = end;
            end = bad.as_ref().map_or(events.len(), |(nth, _)| *nth);
            continue;
        };
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT tried").execute(&mut *conn).await?;
        let nth = |position| events.partition_point(|event| event.position < position);
        match blame(error, &events[done..end]) {
            Blame::Event { position, reason } => {
                end = nth(position);
                bad = Some((end, reason));
            }
            Blame::OneUpTo(position, _) => end = nth(position) + 1,
            Blame::Nobody(error) => return Err(error),
        }
    }
    Ok((done, bad.map(|(nth, reason)| (&events[nth], reason))))
}

/// The stream waits at `bad` from now on.
async fn park_at(
    conn: &mut PgConnection,
    projection: &Projection,
    was: &ParkedStream,
    (bad, reason): (&Recorded, String),
    through: i64,
) -> Result<ParkedStream, sqlx::Error> {
    let row = sqlx::query_as!(
        ParkedStream,
        "UPDATE log.parked p
            SET position = $5, version = $6, reason = $7,
                since = CASE WHEN p.position = $5 THEN p.since ELSE now() END,
                attempts = CASE WHEN p.position = $5 THEN p.attempts + 1 ELSE 1 END,
                events = (SELECT count(*) FROM log.events e
                           WHERE e.store_id = $2 AND e.category = $3 AND e.stream_id = $4
                             AND e.version >= $6 AND e.position <= $8
                             AND e.event_type <> ALL ($9)
                             AND NOT EXISTS (SELECT FROM log.discarded d
                                              WHERE d.projection = $1
                                                AND d.position = e.position))
          WHERE p.projection = $1 AND p.store_id = $2 AND p.category = $3 AND p.stream_id = $4
        RETURNING projection, store_id, category, stream_id, position, version, events, reason,
                  since, attempts",
        projection.name,
        was.store_id,
        was.category,
        was.stream_id,
        bad.position,
        bad.version,
        reason,
        through,
        projection.except as &[&str]
    );
    row.fetch_one(conn).await
}
