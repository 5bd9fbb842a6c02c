//! Fills read models anew from the whole log: to replace the tables that serve, or to compare.
//!
//! Both fill a copy of the tables in a schema of its own while the projection goes on, and hold
//! its checkpoint only for the last step. They need the owner of the schema (`Role::Owner`); what
//! they replay runs as `conche_projector`, under the same row-level security as ever. A crash
//! leaves a schema behind that the next run drops.

use std::time::Duration;

use event_store::checkpoint::{lock_checkpoint, write_checkpoint};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::{
    Projection, ProjectionError,
    runner::{Stop, check_version},
};

mod compare;
mod deploy;
mod replica;
mod rollback;

pub use compare::{Comparison, Difference, Example, TableDifference};
pub use deploy::prepare;
pub use rollback::roll_back;

use replica::{Purpose, Replica, finish};

/// Tries to get the tables for the moment of the swap. Most readers come and go in milliseconds, but
/// an export or an analyst may take minutes: in all, the tries go on for about nine.
const SWAP_TRIES: u32 = 60;

/// Pause after the first of them; after the second twice as long, after the third three times.
const SWAP_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause.
const SWAP_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Shorter than `deadlock_timeout`: if a swap and a reader wait for each other, the swap gives up
/// and not the reader.
const SWAP_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";

/// SQLSTATE of a lock that was not granted in time, and of a deadlock.
const NOT_GRANTED: [&str; 2] = ["55P03", "40P01"];

/// Hears of positions: those done, and the one to be reached.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// New tables of a projection, beside those that serve.
///
/// What was parked is tried again, and what cannot be applied is parked anew: once swapped in,
/// `log.parked` says what these tables leave out.
pub struct Rebuild<'a> {
    replica: Replica<'a>,
    indexed: bool,
}

/// Fills the tables of a projection anew and swaps them in, in one transaction, while queries and
/// the projection itself go on. The old tables stay in schema `read_old_<name>`, out of reach of
/// the serving roles, until the next rebuild; [`roll_back`] brings them back. Returns the position
/// of the new ones.
pub async fn rebuild(
    owner: &PgPool,
    projection: &Projection,
    progress: Progress<'_>,
) -> Result<i64, ProjectionError> {
    let mut rebuild = Rebuild::begin(owner, projection).await?;
    let outcome = rebuild.swap(progress).await;
    rebuild.end().await;
    outcome
}

/// Compares the tables of a projection with what the log says, at a position where the projection
/// stood when the copy was done; it goes on meanwhile. What it has parked is left out. Empty: they
/// agree.
pub async fn verify(
    owner: &PgPool,
    projection: &Projection,
) -> Result<Vec<Difference>, ProjectionError> {
    let mut replica = Replica::new(owner, projection, Purpose::Compare).await?;
    let outcome = async {
        check_version(&mut replica.conn, projection).await?;
        replica.follow_live(&|_, _| {}).await?;
        replica.compare().await
    };
    let outcome = outcome.await;
    replica.remove().await;
    Ok(outcome?.differences())
}

impl<'a> Rebuild<'a> {
    /// Makes empty tables. `owner` is a pool of `Role::Owner`; two of its connections are taken.
    /// [`ProjectionError::InUse`] while another process rebuilds the same projection.
    pub async fn begin(
        owner: &PgPool,
        projection: &'a Projection,
    ) -> Result<Rebuild<'a>, ProjectionError> {
        let replica = Replica::new(owner, projection, Purpose::Replace).await?;
        Ok(Rebuild { replica, indexed: false })
    }

    /// Replays the log up to where the tables are that serve, and says how the new ones differ from
    /// them there. Both go on meanwhile.
    pub async fn compare(&mut self, progress: Progress<'_>) -> Result<Comparison, ProjectionError> {
        self.replica.follow_live(progress).await?;
        self.replica.compare().await
    }

    /// Replays what is left of the log and takes the place of the tables that serve. Returns the
    /// position up to which the new ones go.
    pub async fn swap(&mut self, progress: Progress<'_>) -> Result<i64, ProjectionError> {
        self.replica.follow_log(progress).await?;
        if !self.indexed {
            self.replica.index().await?;
            self.indexed = true;
        }
        for tries in 1..SWAP_TRIES {
            self.replica.follow_log(progress).await?;
            match self.try_swap().await {
                Err(Stop::Failed(ProjectionError::Database(error))) if is_not_granted(&error) => {
                    tokio::time::sleep((SWAP_PAUSE * tries).min(SWAP_PAUSE_MAX)).await;
                }
                // Among the last events. Found before the next try, when nobody waits.
                Err(Stop::Bad(..) | Stop::Narrow(..)) => {
                    let live = self.replica.live().await?;
                    self.replica.replay_to(live, progress).await?;
                }
                Err(Stop::Failed(error)) => return Err(error),
                Ok(position) => return Ok(position),
            }
        }
        self.try_swap().await.map_err(Stop::into_error)
    }

    /// Drops the tables unless they have been swapped in, and lets others rebuild.
    pub async fn end(self) {
        self.replica.remove().await;
    }

    /// Under the checkpoint's lock, all or nothing. Readers that are under way are waited for
    /// briefly; if they do not end, nothing has happened.
    async fn try_swap(&mut self) -> Result<i64, Stop> {
        let Replica { conn, projection, schema, position, left_out, .. } = &mut self.replica;
        let mut tx = conn.begin().await?;
        let live = lock_checkpoint(&mut tx, projection.name).await?;
        let target = live.max(*position);
        finish(&mut tx, projection, (schema, left_out), (*position, target)).await?;
        sqlx::raw_sql(SWAP_LOCK_TIMEOUT).execute(&mut *tx).await?;
        sqlx::query!("SELECT read.swap($1, $2)", schema.as_str(), rollback::kept(projection))
            .execute(&mut *tx)
            .await?;
        rollback::keep(&mut tx, projection, live).await?;
        write_checkpoint(&mut tx, projection.name, target).await?;
        sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *tx).await?;
        left_out.store(&mut tx, projection, target).await?;
        tx.commit().await?;
        *position = target;
        Ok(target)
    }
}

fn is_not_granted(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| NOT_GRANTED.contains(&code.as_ref()))
}

/// A connection of its own that keeps other rebuilds of a projection away for as long as it lives.
async fn lock(owner: &PgPool, projection: &Projection) -> Result<PgConnection, ProjectionError> {
    // Detached, because the lock is the session's: it must not go back into the pool.
    let mut conn = owner.acquire().await?.detach();
    let locked = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('projection ' || $1, 0)) AS "locked!""#,
        projection.name
    );
    if !locked.fetch_one(&mut conn).await? {
        return Err(ProjectionError::InUse { name: projection.name });
    }
    Ok(conn)
}

/// Lets others rebuild. Explicitly, because a server notices a closed connection when it does.
async fn unlock(mut conn: PgConnection) {
    let unlock = sqlx::query!("SELECT pg_advisory_unlock_all()").execute(&mut conn);
    if let Err(error) = unlock.await {
        tracing::warn!(%error, "lock goes with the connection");
    }
    // The connection is closed either way.
    drop(conn.close().await);
}
