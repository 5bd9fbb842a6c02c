//! Drives a projection: batch by batch, each exactly once, for as long as the process lives.

use std::{cmp::Ordering, time::Duration};

use event_store::{
    Recorded, StoreError,
    checkpoint::{try_lock_checkpoint, write_checkpoint},
    read::{Window, read_window},
};
use fail::fail_point;
use sqlx::{PgConnection, PgPool};
use tokio::{sync::watch, time::Instant};

use crate::{
    Projection, ProjectionError,
    parked::{self, Arrival, Bad, Blame, Counts, Divided, LeftOut, blame},
};

/// Events per transaction. Enough that the commit, some milliseconds, is the smaller part of the
/// work; few enough that a batch of usual events is about a megabyte.
pub(crate) const BATCH: i64 = 1_000;

/// The most events per transaction while catching up: some 10 MB, of which the reader keeps 32 MiB at
/// most whatever the events are.
const BATCH_MAX: i64 = 10_000;

/// How long a batch should take. A longer one saves nothing any more, and what waits for the lock of
/// the checkpoint, or for this batch to be visible, waits that long.
const BATCH_TIME: Duration = Duration::from_millis(250);

/// How often the log is looked at without being woken: how soon this process takes over from one
/// that is gone, when nothing is appended.
const POLL: Duration = Duration::from_secs(1);

/// The same where nobody wakes the projection: what is appended shows at most this late.
const POLL_UNWOKEN: Duration = Duration::from_millis(50);

/// Events that come within this time after one that wakes the projection share its batch: an order
/// makes fourteen appends in a row, and each batch costs the server as much as an append does.
const GATHER: Duration = Duration::from_millis(5);

/// Rest after a batch smaller than [`BATCH`], which was all there was, as a multiple of the time it took, at least [`GATHER`]
/// and at most [`REST_MAX`]: under steady load a projector works a third of the time on larger
/// batches, in place of all the time on small ones, and commands have the server to themselves.
const REST: u32 = 2;

/// Longest such rest: what is appended meanwhile shows that much later.
const REST_MAX: Duration = Duration::from_millis(40);

/// First pause after a failure; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest pause after failures: how late a projection notices that the database is back.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Schema of the tables that serve.
pub(crate) const LIVE_SCHEMA: &str = "read";

/// Why a batch was not applied.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This event is bad, for this reason: the others may be good.
    Bad(i64, String),
    /// An event in it is bad, by what the database says: so many positions may be good.
    Narrow(i64, sqlx::Error),
    Failed(ProjectionError),
}

impl<E: Into<ProjectionError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

impl Stop {
    /// `error` was the answer to `batch`, the rest of what comes after `position`.
    pub(crate) fn of(error: ProjectionError, batch: &[Recorded], position: i64) -> Stop {
        match blame(error, batch) {
            Blame::Event { position, reason } => Stop::Bad(position, reason),
            Blame::OneUpTo(through, error) => Stop::Narrow(through - position, error),
            Blame::Nobody(error) => Stop::Failed(error),
        }
    }

    /// For whoever cannot do without the event.
    pub(crate) fn into_error(self) -> ProjectionError {
        match self {
            Stop::Bad(position, reason) => ProjectionError::Poison { position, reason },
            Stop::Narrow(_, error) => ProjectionError::Database(error),
            Stop::Failed(error) => error,
        }
    }
}

/// Applies the next batch of at most 1,000 events and moves the checkpoint with it. Returns how
/// many events were passed; 0 means that the tables are up to date, or that another process holds
/// the checkpoint: this one stands by. `pool` is one of `conche_projector`.
///
/// An event that cannot be applied parks its stream (see [`crate::parked`]); it counts as one that
/// was passed, and so do those that wait behind it.
pub async fn catch_up(pool: &PgPool, projection: &Projection) -> Result<usize, ProjectionError> {
    Reader { pool, projection, ahead: None }.catch_up(BATCH).await
}

/// Takes a projection on, and reads the next events while the last ones are applied.
struct Reader<'a> {
    pool: &'a PgPool,
    projection: &'a Projection,
    /// Events that come after the checkpoint if nobody else has moved it: they never change.
    ahead: Option<Ahead>,
}

struct Ahead {
    after: i64,
    window: Window,
}

impl Reader<'_> {
    /// As [`catch_up`], by another number of events.
    async fn catch_up(&mut self, most: i64) -> Result<usize, ProjectionError> {
        let mut bad = Bad::new();
        let mut limit = most;
        loop {
            match self.step(limit, &bad).await {
                Ok(passed) => return Ok(passed),
                Err(Stop::Bad(position, reason)) => {
                    // Tried again for each that is found: in small batches the good ones among them
                    // are done with sooner.
                    limit = BATCH;
                    if let Some(reason) = bad.insert(position, reason) {
                        // It was left out and is to blame nevertheless: that is no fault of the
                        // event.
                        return Err(ProjectionError::Unclear {
                            name: self.projection.name,
                            reason,
                        });
                    }
                }
                Err(Stop::Narrow(fewer, _)) => limit = fewer,
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    /// One transaction. `bad` are events known to be bad from tries before.
    async fn step(&mut self, limit: i64, bad: &Bad) -> Result<usize, Stop> {
        let mut tx = self.pool.begin().await?;
        let (passed, arrivals) = match self.pass(&mut tx, limit, bad).await {
            Ok(Some(done)) => done,
            outcome => {
                self.ahead = None;
                // Not left to the pool, which does it at leisure: the next step would find the lock
                // taken, and take that for another process.
                tx.rollback().await?;
                return outcome.map(|_| 0);
            }
        };
        fail_point!("projector::before-commit");
        tx.commit().await?;
        fail_point!("projector::after-commit");
        for arrival in arrivals {
            arrival.report(self.projection);
        }
        Ok(passed)
    }

    /// Applies or parks the next events and moves the checkpoint. `None`: there is nothing to do, or
    /// somebody else does it.
    async fn pass(
        &mut self,
        conn: &mut PgConnection,
        limit: i64,
        bad: &Bad,
    ) -> Result<Option<(usize, Vec<Arrival>)>, Stop> {
        let projection = self.projection;
        let Some(position) = try_lock_checkpoint(conn, projection.name).await? else {
            return Ok(None);
        };
        let parked = check_version(conn, projection).await?;
        use_schema(conn, LIVE_SCHEMA).await?;
        let Window { events, through } = match self.ahead.take() {
            Some(Ahead { after, window }) if after == position => window,
            _ => read_window(conn, position, limit, projection.interest()).await?,
        };
        if through == position {
            return Ok(None);
        }
        fail_point!("projector::after-read");
        let Divided { rest, arrivals } =
            parked::divide(conn, projection, events, (parked, bad)).await?;
        // A batch that is not full is the last one for now.
        let full = limit <= through - position;
        let apply =
            async { if rest.is_empty() { Ok(()) } else { (projection.apply)(conn, &rest).await } };
        let next = async { if full { self.read_ahead(through, limit).await } else { None } };
        let (applied, ahead) = tokio::join!(apply, next);
        applied.map_err(|error| Stop::of(error, &rest, position))?;
        self.ahead = ahead;
        fail_point!("projector::after-apply");
        write_checkpoint(conn, projection.name, through).await?;
        let passed = usize::try_from(through - position).expect("a window is small");
        Ok(Some((passed, arrivals)))
    }

    /// The events after a position, on another connection, if they come in time: a batch does not
    /// wait for the one after it.
    async fn read_ahead(&self, after: i64, limit: i64) -> Option<Ahead> {
        let read = async {
            let mut conn = self.pool.acquire().await?;
            let window = read_window(&mut conn, after, limit, self.projection.interest()).await?;
            Ok::<_, StoreError>(Ahead { after, window })
        };
        // Whatever failed here is met again by who reads in its turn.
        let ahead = tokio::time::timeout(BATCH_TIME, read).await.ok()?.ok()?;
        // Where there was nothing, there may be something by then.
        (after < ahead.window.through).then_some(ahead)
    }
}

/// Applies up to `limit` events after `position`, but for those that are left out, to the tables in
/// `schema`, in the transaction of `conn`. Returns how many were passed. What to do about an event
/// that cannot be applied is up to the caller.
pub(crate) async fn replay_after(
    conn: &mut PgConnection,
    projection: &Projection,
    (schema, left_out): (&str, &LeftOut),
    position: i64,
    limit: i64,
) -> Result<i64, Stop> {
    use_schema(conn, schema).await?;
    let Window { events, through } =
        read_window(conn, position, limit, projection.interest()).await?;
    let rest = left_out.skip(events);
    if !rest.is_empty() {
        let applied = (projection.apply)(conn, &rest).await;
        applied.map_err(|error| Stop::of(error, &rest, position))?;
    }
    Ok(through - position)
}

/// Unqualified names of tables mean those of `schema` until the transaction ends.
pub(crate) async fn use_schema(conn: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT set_config('search_path', $1, true) AS path", schema)
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Refuses tables that another version of the projection has filled. Returns how much is parked;
/// under the lock of the checkpoint, nobody changes that.
pub(crate) async fn check_version(
    conn: &mut PgConnection,
    projection: &Projection,
) -> Result<Counts, ProjectionError> {
    let state = sqlx::query!(
        "SELECT version, parked_streams, parked_events FROM read.projection_states WHERE name = $1",
        projection.name
    );
    let Some(state) = state.fetch_optional(&mut *conn).await? else {
        write_version(conn, projection).await?;
        return Ok(Counts::default());
    };
    let Projection { name, version, .. } = *projection;
    let filled_by = state.version;
    match i64::from(filled_by).cmp(&i64::from(version)) {
        Ordering::Equal => {}
        Ordering::Less => return Err(ProjectionError::Outdated { name, filled_by, version }),
        Ordering::Greater => return Err(ProjectionError::Newer { name, filled_by, version }),
    }
    Ok(Counts { streams: state.parked_streams, events: state.parked_events })
}

/// The tables are as this version of the projection fills them.
pub(crate) async fn write_version(
    conn: &mut PgConnection,
    projection: &Projection,
) -> Result<(), sqlx::Error> {
    let version = i32::try_from(projection.version).expect("versions are small");
    sqlx::query!(
        "INSERT INTO read.projection_states (name, version) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET version = $2",
        projection.name,
        version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many events the next batch may have. One that is not full says nothing about it: a projection
/// that keeps up takes what there is.
struct Batch(i64);

impl Batch {
    /// The last one passed so many events in that time.
    fn adapt(&mut self, passed: usize, took: Duration) {
        if i64::try_from(passed) != Ok(self.0) {
            return;
        }
        if took > BATCH_TIME {
            self.0 = (self.0 / 2).max(BATCH);
        } else if took < BATCH_TIME / 2 {
            self.0 = (self.0 * 2).min(BATCH_MAX);
        }
    }
}

/// Keeps a projection up to date until `shutdown` says `true` or its sender is gone; a batch under
/// way is finished first.
///
/// `wakeups` changes when something was appended (`Engine::appended`); without it the log is polled.
/// Failures are logged and tried again for ever with pauses of up to 5 s; an event that cannot be
/// applied is none (see [`crate::parked`]). A second process running the same projection stands by
/// and takes over when the first one is gone.
pub async fn run(
    pool: PgPool,
    projection: &'static Projection,
    mut wakeups: watch::Receiver<i64>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut pause = RETRY_MIN;
    let mut batch = Batch(BATCH);
    let mut reader = Reader { pool: &pool, projection, ahead: None };
    while !*shutdown.borrow() {
        let begun = Instant::now();
        // How long to wait, and whether an append ends it.
        let (wait, wakeable) = match reader.catch_up(batch.0).await {
            Ok(0) if wakeups.has_changed().is_ok() => (POLL, true),
            Ok(0) => (POLL_UNWOKEN, false),
            Ok(passed) => {
                pause = RETRY_MIN;
                let took = begun.elapsed();
                batch.adapt(passed, took);
                if i64::try_from(passed).is_ok_and(|passed| BATCH <= passed) {
                    continue;
                }
                ((took * REST).clamp(GATHER, REST_MAX), false)
            }
            Err(error) => {
                batch = Batch(BATCH);
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(projection = projection.name, source, "does not go on: {error}");
                let wait = pause;
                pause = RETRY_MAX.min(pause * 2);
                (wait, false)
            }
        };
        let woken = async {
            if !wakeable {
                // The time does.
                std::future::pending::<()>().await;
            }
            // Whoever could wake it may be gone: that is seen at the next look.
            if wakeups.changed().await.is_ok() {
                tokio::time::sleep(GATHER).await;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_while_they_are_quick_and_full_and_shrink_when_they_are_slow() {
        let (quick, slow) = (BATCH_TIME / 10, BATCH_TIME * 2);
        let mut batch = Batch(BATCH);
        batch.adapt(999, quick);
        assert_eq!(batch.0, 1_000, "it keeps up");
        for expected in [2_000, 4_000, 8_000, 10_000, 10_000] {
            let full = usize::try_from(batch.0).expect("a batch is small");
            batch.adapt(full, quick);
            assert_eq!(batch.0, expected);
        }
        batch.adapt(10_000, BATCH_TIME * 3 / 4);
        assert_eq!(batch.0, 10_000, "about right");
        for expected in [5_000, 2_500, 1_250, 1_000, 1_000] {
            let full = usize::try_from(batch.0).expect("a batch is small");
            batch.adapt(full, slow);
            assert_eq!(batch.0, expected);
        }
    }
}
