//! An empty copy of a projection's tables, and how it is filled.

use event_store::{
    Recorded, StoreError,
    checkpoint::{checkpoint, lock_checkpoint},
    read::{Interest, LOOK_MAX, Window, read_window},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction, raw_sql};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Comparison, Progress, compare, lock, unlock};
use crate::{
    Projection, ProjectionError,
    parked::LeftOut,
    runner::{BATCH, Stop, replay_after, use_schema},
};

/// Bytes of events that are applied together, about. Large windows, because what changes a row
/// several times in one of them writes it once. Three are in memory, with what is made of one of
/// them: some 100 MB.
const WINDOW_BYTES: usize = 16 << 20;

/// Windows that wait to be applied: one, so that neither reading nor applying waits for the other.
const WINDOWS_AHEAD: usize = 1;

/// Rounds of replaying what was appended during the round before. Each is a small part of the one
/// before it; who has not caught up by then replays more slowly than others append, and the rest is
/// left to the projection itself.
const ROUNDS_MAX: u32 = 20;

/// What a copy is for, and so what it leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It leaves out what it finds that it cannot apply.
    Replace,
    /// It leaves out what the tables that serve have left out.
    Compare,
}

/// Tables of a projection in a schema of their own, and how far they are filled.
pub(super) struct Replica<'a> {
    /// Of the owner. Holds the lock that keeps other rebuilds away.
    pub(super) conn: PgConnection,
    pub(super) projection: &'a Projection,
    pub(super) schema: String,
    pub(super) position: i64,
    pub(super) left_out: LeftOut,
    owner: PgPool,
    purpose: Purpose,
}

impl<'a> Replica<'a> {
    pub(super) async fn new(
        owner: &PgPool,
        projection: &'a Projection,
        purpose: Purpose,
    ) -> Result<Replica<'a>, ProjectionError> {
        let schema = match purpose {
            Purpose::Replace => format!("read_rebuild_{}", projection.name),
            Purpose::Compare => format!("read_verify_{}", projection.name),
        };
        let mut conn = lock(owner, projection).await?;
        let mut tx = conn.begin().await?;
        let make = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};
             GRANT USAGE ON SCHEMA {schema} TO conche_projector"
        );
        raw_sql(AssertSqlSafe(make)).execute(&mut *tx).await?;
        for table in projection.tables {
            sqlx::query!("SELECT read.copy_table($1, $2)", table, schema).execute(&mut *tx).await?;
        }
        let left_out = left_out(&mut tx, projection, purpose).await?;
        tx.commit().await?;
        let owner = owner.clone();
        Ok(Replica { conn, projection, schema, position: 0, left_out, owner, purpose })
    }

    /// Drops what is left of the schema and lets others rebuild.
    pub(super) async fn remove(mut self) {
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        if let Err(error) = raw_sql(AssertSqlSafe(drop)).execute(&mut self.conn).await {
            tracing::warn!(%error, "schema stays until the next rebuild");
        }
        unlock(self.conn).await;
    }

    /// The position of the tables that serve.
    pub(super) async fn live(&mut self) -> Result<i64, StoreError> {
        checkpoint(&mut self.conn, self.projection.name).await
    }

    /// Applies what the live tables have applied, until at most a batch is left.
    pub(super) async fn follow_live(
        &mut self,
        progress: Progress<'_>,
    ) -> Result<(), ProjectionError> {
        loop {
            let live = self.live().await?;
            if live <= self.position + BATCH {
                return Ok(());
            }
            self.refresh().await?;
            self.replay_to(live, progress).await?;
        }
    }

    /// Applies what is in the log, and what comes meanwhile until that is at most a batch.
    pub(super) async fn follow_log(
        &mut self,
        progress: Progress<'_>,
    ) -> Result<(), ProjectionError> {
        for round in 0..ROUNDS_MAX {
            let head = event_store::read::head(&mut self.conn).await?;
            if round > 0 && head <= self.position + BATCH {
                break;
            }
            self.replay_to(head, progress).await?;
        }
        Ok(())
    }

    /// Makes the indexes that a table is filled faster without.
    pub(super) async fn index(&mut self) -> Result<(), sqlx::Error> {
        for table in self.projection.tables {
            let mut tx = self.conn.begin().await?;
            // Sorts in memory what a table of some million rows has.
            raw_sql("SET LOCAL maintenance_work_mem = '256MB'").execute(&mut *tx).await?;
            sqlx::query!("SELECT read.copy_indexes($1, $2)", table, self.schema)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        self.analyze().await
    }

    async fn analyze(&mut self) -> Result<(), sqlx::Error> {
        for table in self.projection.tables {
            let analyze = format!("ANALYZE {}.{table}", self.schema);
            raw_sql(AssertSqlSafe(analyze)).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Applies events up to position `to`, while the next ones are being read.
    pub(super) async fn replay_to(
        &mut self,
        to: i64,
        progress: Progress<'_>,
    ) -> Result<(), ProjectionError> {
        if to <= self.position {
            return Ok(());
        }
        let mut reader = self.owner.acquire().await?.detach();
        raw_sql("SET ROLE conche_projector").execute(&mut reader).await?;
        let (windows, mut ready) = mpsc::channel(WINDOWS_AHEAD);
        // A thread of its own decodes rows while this one makes others of them.
        let mut reading = JoinSet::new();
        let interest = self.projection.interest();
        reading.spawn(read_ahead(reader, interest, (self.position, to), windows));
        while let Some(window) = ready.recv().await {
            self.apply(window?).await?;
            progress(self.position.unsigned_abs(), to.unsigned_abs());
        }
        // It has ended, but for hanging up.
        reading.join_all().await;
        Ok(())
    }

    /// Applies a window, in pieces if an event in it is bad.
    async fn apply(&mut self, window: Window) -> Result<(), ProjectionError> {
        let Window { mut events, through } = window;
        let mut piece = through;
        while self.position < through {
            events = self.left_out.skip(events);
            let end = events.partition_point(|event| event.position <= piece);
            match self.try_apply(&events[..end], piece).await {
                Ok(()) => {
                    events.drain(..end);
                    piece = through;
                }
                Err(Stop::Narrow(fewer, _)) => piece = self.position + fewer,
                Err(Stop::Bad(position, reason)) if self.purpose == Purpose::Replace => {
                    self.park(position, reason).await?;
                }
                Err(stop) => return Err(stop.into_error()),
            }
        }
        Ok(())
    }

    async fn try_apply(&mut self, events: &[Recorded], through: i64) -> Result<(), Stop> {
        if !events.is_empty() {
            let mut tx = self.conn.begin().await?;
            as_projector(&mut tx).await?;
            use_schema(&mut tx, &self.schema).await?;
            let applied = (self.projection.apply)(&mut tx, events).await;
            applied.map_err(|error| Stop::of(error, events, self.position))?;
            tx.commit().await?;
        }
        self.position = through;
        Ok(())
    }

    async fn park(&mut self, position: i64, reason: String) -> Result<(), ProjectionError> {
        let mut tx = self.conn.begin().await?;
        as_projector(&mut tx).await?;
        self.left_out.park(&mut tx, self.projection, (position, reason)).await?;
        Ok(tx.rollback().await?)
    }

    /// What the live tables leave out may have changed.
    async fn refresh(&mut self) -> Result<(), sqlx::Error> {
        if self.purpose == Purpose::Compare {
            let mut tx = self.conn.begin().await?;
            self.left_out = left_out(&mut tx, self.projection, self.purpose).await?;
            tx.rollback().await?;
        }
        Ok(())
    }

    /// Compares with the live tables, at a position that both have.
    pub(super) async fn compare(&mut self) -> Result<Comparison, ProjectionError> {
        self.analyze().await?;
        let mut tables = Vec::new();
        // One snapshot per table: an open one keeps the server from tidying up what appends leave.
        for table in self.projection.tables {
            let schema = self.schema.clone();
            let mut snapshot = self.snapshot().await?;
            tables.push(compare::table(&mut snapshot, table, &schema).await?);
            snapshot.rollback().await?;
        }
        Ok(Comparison { position: self.position, tables })
    }

    /// A transaction that sees the live tables and these at the same position, however they go on.
    /// The projection waits only for the last events to be applied here.
    async fn snapshot(&mut self) -> Result<Transaction<'_, Postgres>, ProjectionError> {
        self.follow_live(&|_, _| {}).await?;
        let mut held = self.owner.begin().await?;
        let live = lock_checkpoint(&mut held, self.projection.name).await?;
        self.refresh().await?;
        self.replay_to(live, &|_, _| {}).await?;
        let mut snapshot = self.conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        as_projector(&mut snapshot).await?;
        // What a transaction sees is decided by its first query.
        event_store::read::head(&mut snapshot).await?;
        held.rollback().await?;
        Ok(snapshot)
    }
}

/// The rights of a projector, until the transaction ends.
async fn as_projector(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    raw_sql("SET LOCAL ROLE conche_projector").execute(conn).await?;
    Ok(())
}

/// Reads windows of the log up to position `to` until nobody wants any more.
async fn read_ahead(
    mut reader: PgConnection,
    interest: Interest<'static>,
    (mut after, to): (i64, i64),
    windows: mpsc::Sender<Result<Window, StoreError>>,
) {
    let mut limit = BATCH;
    while after < to {
        let read = read_window(&mut reader, after, limit.min(to - after), interest).await;
        let read = match read {
            Ok(window) if window.through == after => {
                Err(StoreError::Gap { expected: after + 1, found: None })
            }
            read => read,
        };
        if let Ok(window) = &read {
            after = window.through;
            limit = next_limit(limit, window);
        }
        let failed = read.is_err();
        if windows.send(read).await.is_err() || failed {
            return;
        }
    }
    // Closed either way.
    drop(reader.close().await);
}

/// Positions to look at next, so that a window has about [`WINDOW_BYTES`] of events.
fn next_limit(limit: i64, window: &Window) -> i64 {
    let bytes = window.events.iter().map(|event| event.payload.len() + event.metadata.len());
    match bytes.sum::<usize>() {
        bytes if bytes > WINDOW_BYTES => (limit / 2).max(1),
        bytes if bytes <= WINDOW_BYTES / 2 => (limit * 2).min(LOOK_MAX),
        _ => limit,
    }
}

/// What a copy leaves out for now.
async fn left_out(
    conn: &mut PgConnection,
    projection: &Projection,
    purpose: Purpose,
) -> Result<LeftOut, sqlx::Error> {
    as_projector(&mut *conn).await?;
    let left_out = match purpose {
        Purpose::Replace => LeftOut::discarded(conn, projection).await?,
        Purpose::Compare => LeftOut::by_projection(conn, projection).await?,
    };
    raw_sql("SET LOCAL ROLE NONE").execute(conn).await?;
    Ok(left_out)
}

/// Applies the events after `from` up to `to` in the transaction of `conn`, window by window.
pub(super) async fn finish(
    conn: &mut PgConnection,
    projection: &Projection,
    into: (&str, &LeftOut),
    (mut from, to): (i64, i64),
) -> Result<(), Stop> {
    as_projector(&mut *conn).await?;
    while from < to {
        let done = replay_after(conn, projection, into, from, BATCH.min(to - from)).await?;
        if done == 0 {
            return Err(StoreError::Gap { expected: from + 1, found: None }.into());
        }
        from += done;
    }
    raw_sql("SET LOCAL ROLE NONE").execute(conn).await?;
    Ok(())
}
