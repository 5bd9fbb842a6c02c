//! Fills read models anew from the whole log: to replace the tables that serve, or to compare.
//!
//! Both fill a copy of the tables in a schema of its own while the projection goes on, and hold
//! its checkpoint only for the last step. They need the owner of the schema (`Role::Owner`); what
//! they replay runs as `conche_projector`, under the same row-level security as ever. A crash
//! leaves a schema behind that the next run drops.

use std::time::Duration;

use event_store::checkpoint::{checkpoint, lock_checkpoint, write_checkpoint};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::{
    Projection, ProjectionError,
    parked::LeftOut,
    runner::{BATCH, Stop, check_version, replay_after, write_version},
};

/// Rows of a table that [`verify`] reports per side: enough to see a pattern.
const DIFFERENCES_MAX: i64 = 20;

/// Tries to get the tables for the moment of the swap. Readers come and go in milliseconds.
const SWAP_TRIES: u32 = 60;

/// Pause between them.
const SWAP_PAUSE: Duration = Duration::from_millis(500);

/// SQLSTATE of a lock that was not granted in time, and of a deadlock.
const NOT_GRANTED: [&str; 2] = ["55P03", "40P01"];

/// A row that is in one of the two tables only. A row that differs shows twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which table.
    pub table: &'static str,
    /// `live`: only in the table that serves; `rebuilt`: only in what the log says.
    pub side: String,
    /// The row.
    pub row: Value,
}

/// An empty copy of a projection's tables, and how far it is filled.
struct Replica<'a> {
    /// Holds the lock that keeps other rebuilds away; see [`Replica::release`].
    conn: PgConnection,
    projection: &'a Projection,
    schema: String,
    position: i64,
    purpose: Purpose,
    left_out: LeftOut,
}

/// What a copy is for, and so what it leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It leaves out what it finds that it cannot apply.
    Replace,
    /// It leaves out what the tables that serve have left out.
    Compare,
}

/// Fills the tables of a projection anew and swaps them in, in one transaction, while queries and
/// the projection itself go on. The old tables stay in schema `read_old_<name>`, out of reach of
/// the serving roles, until the next rebuild.
///
/// What was parked is tried again, and what cannot be applied is parked anew: once swapped in,
/// `log.parked` says what these tables leave out.
///
/// `progress` hears of positions: those done, and the one to be reached. `owner` is a pool of
/// `Role::Owner`.
pub async fn rebuild(
    owner: &PgPool,
    projection: &Projection,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<(), ProjectionError> {
    let schema = format!("read_rebuild_{}", projection.name);
    let mut replica = Replica::new(owner, projection, schema, Purpose::Replace).await?;
    let outcome = replica.fill_and_swap(progress).await;
    replica.release().await;
    outcome
}

/// Compares the tables of a projection with what the log says, at the position where the
/// projection stands when the copy is done. What it has parked is left out. Empty: they agree. The
/// projection stands still for the comparison and goes on for the rest.
pub async fn verify(
    owner: &PgPool,
    projection: &Projection,
) -> Result<Vec<Difference>, ProjectionError> {
    let schema = format!("read_verify_{}", projection.name);
    let mut replica = Replica::new(owner, projection, schema, Purpose::Compare).await?;
    let outcome = replica.fill_and_compare().await;
    replica.release().await;
    outcome
}

impl<'a> Replica<'a> {
    async fn new(
        owner: &PgPool,
        projection: &'a Projection,
        schema: String,
        purpose: Purpose,
    ) -> Result<Replica<'a>, ProjectionError> {
        // Detached, because the lock is the session's: it must not go back into the pool.
        let mut conn = owner.acquire().await?.detach();
        let locked = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_lock(hashtextextended('projection ' || $1, 0)) AS "locked!""#,
            projection.name
        );
        if !locked.fetch_one(&mut conn).await? {
            return Err(ProjectionError::InUse { name: projection.name });
        }
        let mut tx = conn.begin().await?;
        let make = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};
             GRANT USAGE ON SCHEMA {schema} TO conche_projector"
        );
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *tx).await?;
        for table in projection.tables {
            sqlx::query!("SELECT read.copy_shape($1, $2)", table, schema).execute(&mut *tx).await?;
        }
        let left_out = left_out(&mut tx, projection, purpose).await?;
        tx.commit().await?;
        Ok(Replica { conn, projection, schema, position: 0, purpose, left_out })
    }

    async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Lets others rebuild. Explicitly, because a server notices a closed connection when it does.
    async fn release(mut self) {
        let unlock = sqlx::query!("SELECT pg_advisory_unlock_all()").execute(&mut self.conn);
        if let Err(error) = unlock.await {
            tracing::warn!(%error, "lock goes with the connection");
        }
        // The connection is closed either way.
        drop(self.conn.close().await);
    }

    async fn fill_and_swap(
        &mut self,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), ProjectionError> {
        let head = event_store::read::head(&mut self.conn).await?;
        self.replay_to(head, progress).await?;
        self.follow_live(progress).await?;
        for table in self.projection.tables {
            self.execute(format!("ANALYZE {}.{table}", self.schema)).await?;
        }
        for _ in 1..SWAP_TRIES {
            match self.swap().await {
                Err(Stop::Failed(ProjectionError::Database(error))) if is_not_granted(&error) => {
                    tokio::time::sleep(SWAP_PAUSE).await;
                    self.follow_live(progress).await?;
                }
                // Among the last events. Found before the next try, when nobody waits.
                Err(Stop::Bad(..) | Stop::Narrow(..)) => {
                    let live = checkpoint(&mut self.conn, self.projection.name).await?;
                    self.replay_to(live, progress).await?;
                }
                Err(Stop::Failed(error)) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
        self.swap().await.map_err(Stop::into_error)
    }

    async fn fill_and_compare(&mut self) -> Result<Vec<Difference>, ProjectionError> {
        check_version(&mut self.conn, self.projection).await?;
        self.follow_live(&|_, _| {}).await?;
        let differences = self.differences().await?;
        self.execute(format!("DROP SCHEMA {} CASCADE", self.schema)).await?;
        Ok(differences)
    }

    /// Applies events up to position `to`, a window per transaction.
    async fn replay_to(
        &mut self,
        to: i64,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), ProjectionError> {
        let mut limit = BATCH;
        while self.position < to {
            let mut tx = self.conn.begin().await?;
            let into = (self.schema.as_str(), &self.left_out);
            let most = limit.min(to - self.position);
            match window(&mut tx, self.projection, into, self.position, most).await {
                Ok(done) => {
                    tx.commit().await?;
                    limit = BATCH;
                    self.position += done;
                    progress(self.position.unsigned_abs(), to.unsigned_abs());
                }
                Err(Stop::Narrow(fewer, _)) => {
                    tx.rollback().await?;
                    limit = fewer;
                }
                Err(Stop::Bad(position, reason)) if self.purpose == Purpose::Replace => {
                    tx.rollback().await?;
                    limit = BATCH;
                    self.park(position, reason).await?;
                }
                Err(stop) => return Err(stop.into_error()),
            }
        }
        Ok(())
    }

    async fn park(&mut self, position: i64, reason: String) -> Result<(), ProjectionError> {
        let mut tx = self.conn.begin().await?;
        sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *tx).await?;
        self.left_out.park(&mut tx, self.projection, (position, reason)).await?;
        Ok(tx.rollback().await?)
    }

    /// Applies what the live tables have applied, until at most a window is left.
    async fn follow_live(
        &mut self,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), ProjectionError> {
        loop {
            let live = checkpoint(&mut self.conn, self.projection.name).await?;
            if live <= self.position + BATCH {
                return Ok(());
            }
            if self.purpose == Purpose::Compare {
                let mut tx = self.conn.begin().await?;
                self.left_out = left_out(&mut tx, self.projection, self.purpose).await?;
                tx.rollback().await?;
            }
            self.replay_to(live, progress).await?;
        }
    }

    /// Takes the place of the live tables: under the checkpoint's lock, all or nothing. Readers
    /// that are under way are waited for briefly; if they do not end, nothing has happened.
    async fn swap(&mut self) -> Result<(), Stop> {
        let Replica { conn, projection, schema, position, left_out, .. } = self;
        let mut tx = conn.begin().await?;
        let live = lock_checkpoint(&mut tx, projection.name).await?;
        let target = live.max(*position);
        finish(&mut tx, projection, (schema, left_out), (*position, target)).await?;
        let old = format!("read_old_{}", projection.name);
        let live_tables: Vec<String> =
            projection.tables.iter().map(|table| format!("read.{table}")).collect();
        // A view follows the table it was made of: those of the star schema are made anew.
        // Shorter than `deadlock_timeout`: if this and a reader wait for each other, this gives up
        // and not the reader. All at once, so that no reader sees old and new tables.
        let tables = projection.tables.iter();
        let moves = tables.map(|table| {
            format!(
                "ALTER TABLE read.{table} SET SCHEMA {old};
                 ALTER TABLE {schema}.{table} SET SCHEMA read;"
            )
        });
        let sql = format!(
            "SET LOCAL lock_timeout = '500ms';
             LOCK TABLE {} IN ACCESS EXCLUSIVE MODE;
             DROP SCHEMA IF EXISTS {old} CASCADE; CREATE SCHEMA {old};
             {}
             SELECT analytics.define_views();
             DROP SCHEMA {schema}",
            live_tables.join(", "),
            moves.collect::<String>()
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        write_checkpoint(&mut tx, projection.name, target).await?;
        write_version(&mut tx, projection).await?;
        sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *tx).await?;
        left_out.store(&mut tx, projection, target).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Brings the copy to where the live tables are held, and compares.
    async fn differences(&mut self) -> Result<Vec<Difference>, ProjectionError> {
        let Replica { conn, projection, schema, position, .. } = self;
        let mut tx = conn.begin().await?;
        let live = lock_checkpoint(&mut tx, projection.name).await?;
        let left_out = left_out(&mut tx, projection, Purpose::Compare).await?;
        let finished = finish(&mut tx, projection, (schema, &left_out), (*position, live)).await;
        finished.map_err(Stop::into_error)?;
        // Sorting spills to disk; hashing for EXCEPT does not.
        sqlx::raw_sql("SET LOCAL enable_hashagg = off; SET LOCAL ROLE conche_projector")
            .execute(&mut *tx)
            .await?;
        let mut differences = Vec::new();
        for table in projection.tables {
            for (side, a, b) in [("live", "read", schema.as_str()), ("rebuilt", schema, "read")] {
                let sql = format!(
                    "SELECT to_jsonb(d) FROM (SELECT * FROM {a}.{table}
                                    EXCEPT ALL SELECT * FROM {b}.{table}) d LIMIT $1"
                );
                let rows = sqlx::query_scalar(AssertSqlSafe(sql)).bind(DIFFERENCES_MAX);
                let rows: Vec<Value> = rows.fetch_all(&mut *tx).await?;
                let rows = rows.into_iter();
                differences.extend(rows.map(|row| Difference { table, side: side.into(), row }));
            }
        }
        tx.rollback().await?;
        Ok(differences)
    }
}

/// What a copy leaves out for now.
async fn left_out(
    conn: &mut PgConnection,
    projection: &Projection,
    purpose: Purpose,
) -> Result<LeftOut, sqlx::Error> {
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *conn).await?;
    let left_out = match purpose {
        Purpose::Replace => LeftOut::discarded(conn, projection).await?,
        Purpose::Compare => LeftOut::by_projection(conn, projection).await?,
    };
    sqlx::raw_sql("SET LOCAL ROLE NONE").execute(conn).await?;
    Ok(left_out)
}

/// Applies the events after `from` up to `to` in the transaction of `conn`, window by window.
async fn finish(
    conn: &mut PgConnection,
    projection: &Projection,
    into: (&str, &LeftOut),
    (mut from, to): (i64, i64),
) -> Result<(), Stop> {
    while from < to {
        from += window(conn, projection, into, from, BATCH.min(to - from)).await?;
    }
    Ok(())
}

/// Applies a window of events in the transaction of `conn`, with the rights of a projector.
async fn window(
    conn: &mut PgConnection,
    projection: &Projection,
    into: (&str, &LeftOut),
    after: i64,
    limit: i64,
) -> Result<i64, Stop> {
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *conn).await?;
    let done = replay_after(conn, projection, into, after, limit).await?;
    sqlx::raw_sql("SET LOCAL ROLE NONE").execute(&mut *conn).await?;
    if done == 0 {
        return Err(event_store::StoreError::Gap { expected: after + 1, found: None }.into());
    }
    Ok(done)
}

fn is_not_granted(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| NOT_GRANTED.contains(&code.as_ref()))
}
