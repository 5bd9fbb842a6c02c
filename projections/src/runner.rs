//! Drives a projection: batch by batch, each exactly once, for as long as the process lives.

use std::time::Duration;

use event_store::{
    checkpoint::{try_lock_checkpoint, write_checkpoint},
    read::{Window, read_window},
};
use fail::fail_point;
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;

use crate::{Projection, ProjectionError, poison};

/// Events per transaction. Enough that the commit, some milliseconds, is the smaller part of the
/// work; few enough that a batch of usual events is about a megabyte.
pub(crate) const BATCH: i64 = 1_000;

/// How often the log is looked at when nobody wakes the projection: what other processes append
/// shows at most this late. An empty look is two index probes.
const POLL: Duration = Duration::from_millis(50);

/// Events that come within this time after one that wakes the projection share its batch: an order
/// makes fourteen appends in a row, and each batch costs the server as much as an append does.
const GATHER: Duration = Duration::from_millis(5);

/// First pause after a failure; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest pause after failures: how late a projection notices that the database is back.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Schema of the tables that serve.
pub(crate) const LIVE_SCHEMA: &str = "read";

/// SQLSTATE classes that speak against the data of an event: data exception, constraint violation.
const DATA_CLASSES: [&str; 2] = ["22", "23"];

/// Why a batch was not applied.
enum Stop {
    /// An event in it is bad: this many events before it may be good.
    Narrow(i64),
    Failed(ProjectionError),
}

impl<E: Into<ProjectionError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

/// Applies the next batch of at most 1,000 events and moves the checkpoint with it. Returns how
/// many events that were; 0 means that the tables are up to date, or that another process holds
/// the checkpoint: this one stands by. `pool` is one of `conche_projector`.
///
/// An event that cannot be applied stops the projection right before it, with
/// [`ProjectionError::Poison`]; the events before it take effect first.
pub async fn catch_up(pool: &PgPool, projection: &Projection) -> Result<usize, ProjectionError> {
    let mut limit = BATCH;
    loop {
        match step(pool, projection, limit).await {
            Ok(applied) => return Ok(applied),
            Err(Stop::Narrow(fewer)) => limit = fewer,
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

async fn step(pool: &PgPool, projection: &Projection, limit: i64) -> Result<usize, Stop> {
    let mut tx = pool.begin().await?;
    check_version(&mut tx, projection).await?;
    let Some(position) = try_lock_checkpoint(&mut tx, projection.name).await? else {
        return Ok(0);
    };
    let applied = apply_after(&mut tx, projection, LIVE_SCHEMA, position, limit).await?;
    if applied == 0 {
        // Not left to the pool, which does it at leisure: the next step would find the lock taken.
        tx.rollback().await?;
        return Ok(0);
    }
    write_checkpoint(&mut tx, projection.name, position + applied).await?;
    fail_point!("projector::before-commit");
    tx.commit().await?;
    fail_point!("projector::after-commit");
    Ok(usize::try_from(applied).expect("a batch fits in memory"))
}

/// Applies up to `limit` events after `position` to the tables in `schema`, in the transaction of
/// `conn`. Returns how many.
async fn apply_after(
    conn: &mut PgConnection,
    projection: &Projection,
    schema: &str,
    position: i64,
    limit: i64,
) -> Result<i64, Stop> {
    use_schema(conn, schema).await?;
    let Window { events, through } =
        read_window(conn, position, limit, projection.interest()).await?;
    if events.is_empty() {
        return Ok(through - position);
    }
    fail_point!("projector::after-read");
    match (projection.apply)(conn, &events).await {
        Ok(()) => {
            fail_point!("projector::after-apply");
            Ok(through - position)
        }
        Err(ProjectionError::Poison { position: bad, .. }) if bad > position + 1 => {
            Err(Stop::Narrow(bad - position - 1))
        }
        Err(ProjectionError::Database(error)) if is_about_data(&error) => match &events[..] {
            [only] => Err(Stop::Failed(poison(only, error))),
            // As many positions as hold half of them.
            several => Err(Stop::Narrow(several[several.len() / 2].position - position - 1)),
        },
        Err(error) => Err(Stop::Failed(error)),
    }
}

/// Like [`apply_after`] for a batch that must not be divided: what a rebuild replays has been
/// applied before, so a bad event is a failure and not a place to stop at.
pub(crate) async fn replay_after(
    conn: &mut PgConnection,
    projection: &Projection,
    schema: &str,
    position: i64,
    limit: i64,
) -> Result<i64, ProjectionError> {
    use_schema(conn, schema).await?;
    let window = read_window(conn, position, limit, projection.interest()).await?;
    (projection.apply)(conn, &window.events).await?;
    Ok(window.through - position)
}

/// Unqualified names of tables mean those of `schema` until the transaction ends.
async fn use_schema(conn: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT set_config('search_path', $1, true) AS path", schema)
        .fetch_one(conn)
        .await?;
    Ok(())
}

fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| DATA_CLASSES.iter().any(|class| code.starts_with(class)))
}

/// Refuses tables that another version of the projection has filled.
pub(crate) async fn check_version(
    conn: &mut PgConnection,
    projection: &Projection,
) -> Result<(), ProjectionError> {
    let filled_by = sqlx::query_scalar!(
        "SELECT version FROM read.projection_states WHERE name = $1",
        projection.name
    );
    match filled_by.fetch_optional(&mut *conn).await? {
        Some(filled_by) if u32::try_from(filled_by) == Ok(projection.version) => Ok(()),
        Some(filled_by) => Err(ProjectionError::Outdated {
            name: projection.name,
            filled_by,
            version: projection.version,
        }),
        None => Ok(write_version(conn, projection).await?),
    }
}

/// The tables are as this version of the projection fills them, and it is not failing.
pub(crate) async fn write_version(
    conn: &mut PgConnection,
    projection: &Projection,
) -> Result<(), sqlx::Error> {
    let version = i32::try_from(projection.version).expect("versions are small");
    sqlx::query!(
        "INSERT INTO read.projection_states (name, version) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE
            SET version = $2, failing_position = NULL, failing_reason = NULL, failing_since = NULL",
        projection.name,
        version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a projection up to date until `shutdown` says `true` or its sender is gone; a batch under
/// way is finished first.
///
/// `wakeups` changes when this process has appended (`Engine::appended`); what others append is
/// found by polling. Failures are logged, kept in `projection_states` if an event is to blame, and
/// tried again for ever with pauses of up to 5 s. A second process running the same projection
/// stands by and takes over when the first one is gone.
pub async fn run(
    pool: PgPool,
    projection: &'static Projection,
    mut wakeups: watch::Receiver<i64>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut pause = RETRY_MIN;
    // A row from before a restart may still say "failing".
    let mut known_healthy = false;
    while !*shutdown.borrow() {
        // How long to wait, and whether an append ends it.
        let (wait, wakeable) = match catch_up(&pool, projection).await {
            Ok(0) => (POLL, true),
            Ok(_) => {
                pause = RETRY_MIN;
                if !known_healthy {
                    known_healthy = report_healthy(&pool, projection).await;
                }
                continue;
            }
            Err(error) => {
                report_failure(&pool, projection, &error).await;
                known_healthy = false;
                let wait = pause;
                pause = RETRY_MAX.min(pause * 2);
                (wait, false)
            }
        };
        let woken = async {
            if !wakeable || wakeups.changed().await.is_err() {
                // Nobody can wake it: the time does.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(wait) => {}
            changed = shutdown.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether the state says so now.
async fn report_healthy(pool: &PgPool, projection: &Projection) -> bool {
    let update = sqlx::query!(
        "UPDATE read.projection_states
            SET failing_position = NULL, failing_reason = NULL, failing_since = NULL
          WHERE name = $1 AND failing_position IS NOT NULL",
        projection.name
    );
    match update.execute(pool).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(projection = projection.name, %error, "state not written");
            false
        }
    }
}

/// Logs a failure and, if an event is to blame, keeps it where people and health checks look.
async fn report_failure(pool: &PgPool, projection: &Projection, error: &ProjectionError) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(projection = projection.name, source, "projection stands still: {error}");
    let ProjectionError::Poison { position, event_type, reason } = error else {
        return;
    };
    let update = sqlx::query!(
        "UPDATE read.projection_states
            SET failing_since = CASE WHEN failing_position = $2 THEN failing_since ELSE now() END,
                failing_position = $2, failing_reason = $3
          WHERE name = $1",
        projection.name,
        position,
        format!("{event_type}: {reason}")
    );
    if let Err(error) = update.execute(pool).await {
        tracing::warn!(projection = projection.name, %error, "state not written");
    }
}
