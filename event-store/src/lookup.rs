//! What commands need to know from the log, read for many of them at once: whoever comes while a
//! round trip runs shares the next one.

use std::collections::HashMap;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::{PgConnection, PgPool};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::connection::{Kept, in_time, within};
use crate::pool::ACQUIRE_TIMEOUT;
use crate::read::{Recorded, Row};
use crate::snapshot::Stored;
use crate::{CommandRecord, StoreError, StreamKey, Unit};

/// Streams one round trip reads: with [`FIRST_EVENTS`] each, under 1 MiB of ordinary events, and
/// 256 MiB of the largest there may be.
const STREAMS_PER_CALL_MAX: usize = 16;

/// Commands one round trip looks up.
const CHECKS_PER_CALL_MAX: usize = 512;

/// Keys whose owners one round trip looks up.
const OWNERS_PER_CALL_MAX: usize = 512;

/// Events of a stream (after its snapshot) that come with the first read; most streams have fewer.
pub(crate) const FIRST_EVENTS: i64 = 32;

/// The beginning of a stream.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) snapshot: Option<Stored>,
    /// From the event that the snapshot ends with, or from the first: up to [`FIRST_EVENTS`].
    pub(crate) events: Vec<Recorded>,
}

/// What speaks for or against an answer that stores nothing.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What the command did the first time, if it did something.
    pub(crate) record: Option<CommandRecord>,
    /// Where the stream stands now; zeros if it does not exist.
    pub(crate) version: i64,
    pub(crate) position: i64,
}

/// A unique key: its store, its scope, itself.
pub(crate) type UniqueKey = (Uuid, String, String);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A read for many, under way: one answer for each, in their order.
type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<Vec<T>, sqlx::Error>> + Send + 'a>>;

/// Questions, each with where its answer goes.
#[derive(Debug, Default)]
struct Asked {
    streams: Vec<(StreamKey, Reply<Beginning>)>,
    checks: Vec<((StreamKey, Uuid), Reply<Checked>)>,
    owners: Vec<(UniqueKey, Reply<Option<Uuid>>)>,
}

impl Asked {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.checks.is_empty() && self.owners.is_empty()
    }

    /// The first of them, as many of each kind as one round trip reads.
    fn take_call(&mut self) -> Asked {
        Asked {
            streams: first(&mut self.streams, STREAMS_PER_CALL_MAX),
            checks: first(&mut self.checks, CHECKS_PER_CALL_MAX),
            owners: first(&mut self.owners, OWNERS_PER_CALL_MAX),
        }
    }
}

fn first<T>(of: &mut Vec<T>, max: usize) -> Vec<T> {
    of.drain(..of.len().min(max)).collect()
}

#[derive(Debug, Default)]
struct Queue {
    asked: Asked,
    at_work: bool,
    connection: Kept,
}

/// Bounded by the commands in flight and the loads their callers make.
#[derive(Debug)]
pub(crate) struct Lookup {
    pool: PgPool,
    queue: Mutex<Queue>,
}

impl Lookup {
    /// `pool` says how to connect; look-ups have a connection of their own.
    pub(crate) fn new(pool: PgPool) -> Arc<Lookup> {
        Arc::new(Lookup { pool, queue: Mutex::default() })
    }

    /// The newest snapshot and the events after it.
    pub(crate) async fn stream(self: &Arc<Self>, key: StreamKey) -> Result<Beginning, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(|queue| queue.asked.streams.push((key, reply)));
        answer.await.unwrap_or(Err(StoreError::Panicked))
    }

    /// Whether the command is known, and where the stream stands.
    pub(crate) async fn check(
        self: &Arc<Self>,
        key: StreamKey,
        command_id: Uuid,
    ) -> Result<Checked, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(|queue| queue.asked.checks.push(((key, command_id), reply)));
        answer.await.unwrap_or(Err(StoreError::Panicked))
    }

    /// The stream that holds a unique key.
    pub(crate) async fn owner(
        self: &Arc<Self>,
        key: UniqueKey,
    ) -> Result<Option<Uuid>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(|queue| queue.asked.owners.push((key, reply)));
        answer.await.unwrap_or(Err(StoreError::Panicked))
    }

    fn ask(self: &Arc<Self>, question: impl FnOnce(&mut Queue)) {
        let worker = {
            let mut queue = self.queue();
            question(&mut queue);
            let idle = !mem::replace(&mut queue.at_work, true);
            idle.then(|| {
                let connection = mem::take(&mut queue.connection);
                Worker { lookup: Arc::clone(self), connection, ended: false }
            })
        };
        // Not under the lock: a runtime that is ending drops the worker on the spot, which takes it.
        if let Some(worker) = worker {
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the queue; whoever asked waits for the answer"
            )]
            tokio::spawn(worker.run());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    lookup: Arc<Lookup>,
    connection: Kept,
    /// Whether it found the queue empty.
    ended: bool,
}

impl Drop for Worker {
    /// After a panic, or with its runtime: the next question gets another worker.
    fn drop(&mut self) {
        if !self.ended {
            let mut queue = self.lookup.queue();
            queue.at_work = false;
            let unanswered = mem::take(&mut queue.asked);
            drop(queue);
            drop(unanswered);
        }
    }
}

impl Worker {
    async fn run(mut self) {
        loop {
            let Asked { streams, checks, owners } = {
                let mut queue = self.lookup.queue();
                if queue.asked.is_empty() {
                    queue.at_work = false;
                    self.ended = true;
                    queue.connection = mem::take(&mut self.connection);
                    return;
                }
                queue.asked.take_call()
            };
            self.answer(streams, |conn, keys| Box::pin(beginnings(conn, keys))).await;
            self.answer(checks, |conn, asked| Box::pin(checked(conn, asked))).await;
            self.answer(owners, |conn, keys| Box::pin(owned(conn, keys))).await;
        }
    }

    async fn answer<K, T>(
        &mut self,
        questions: Vec<(K, Reply<T>)>,
        read: for<'a> fn(&'a mut PgConnection, &'a [K]) -> Reading<'a, T>,
    ) {
        if questions.is_empty() {
            return;
        }
        let (keys, replies): (Vec<K>, Vec<Reply<T>>) = questions.into_iter().unzip();
        answer(replies, self.read(&keys, read).await);
    }

    /// Reads, and once more on a new connection if the kept one fails: it may have died long ago,
    /// and reading twice does no harm.
    async fn read<K, T>(
        &mut self,
        keys: &[K],
        read: for<'a> fn(&'a mut PgConnection, &'a [K]) -> Reading<'a, T>,
    ) -> Result<Vec<T>, StoreError> {
        loop {
            let kept = self.connection.is_open();
            let conn = self.connection.open(&self.lookup.pool).await?;
            match in_time(read(conn, keys)).await {
                Ok(found) => return Ok(found),
                Err(error) if kept => tracing::info!(%error, "reading again on a new connection"),
                Err(error) => {
                    self.connection.give_up();
                    return Err(error.into());
                }
            }
            self.connection.give_up();
        }
    }
}

fn answer<T>(replies: Vec<Reply<T>>, found: Result<Vec<T>, StoreError>) {
    match found {
        Ok(found) => {
            for (reply, found) in replies.into_iter().zip(found) {
                let _ = reply.send(Ok(found));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

#[derive(Default)]
struct KeyColumns {
    stores: Vec<Uuid>,
    categories: Vec<&'static str>,
    ids: Vec<Uuid>,
}

impl KeyColumns {
    fn of(keys: impl IntoIterator<Item = StreamKey>) -> KeyColumns {
        let mut columns = KeyColumns::default();
        for key in keys {
            columns.stores.push(key.store_id);
            columns.categories.push(key.category);
            columns.ids.push(key.id);
        }
        columns
    }
}

async fn beginnings(
    conn: &mut PgConnection,
    keys: &[StreamKey],
) -> Result<Vec<Beginning>, sqlx::Error> {
    let columns = KeyColumns::of(keys.iter().copied());
    let snapshots = sqlx::query!(
        r#"SELECT k.n AS "n!", s.version, s.position, s.digest, s.state
             FROM unnest($1::uuid[], $2::text[], $3::uuid[])
                  WITH ORDINALITY k(store, category, stream, n)
             JOIN log.snapshots s ON s.store_id = k.store AND s.category = k.category
                  AND s.stream_id = k.stream"#,
        &columns.stores,
        &columns.categories as &[&str],
        &columns.ids
    );
    let mut found: Vec<Beginning> =
        keys.iter().map(|_| Beginning { snapshot: None, events: Vec::new() }).collect();
    let mut first = vec![1; keys.len()];
    for row in snapshots.fetch_all(&mut *conn).await? {
        let at = ordinal(row.n);
        first[at] = row.version;
        let (version, position) = (row.version, row.position);
        found[at].snapshot =
            Some(Stored { version, position, digest: row.digest, state: row.state });
    }
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", e.position AS "position!", e.store_id AS "store_id!",
                  e.category AS "category!", e.stream_id AS "stream_id!", e.version AS "version!",
                  e.event_type AS "event_type!", e.schema_version AS "schema_version!",
                  e.event_id AS "event_id!", e.recorded_at AS "recorded_at!",
                  e.payload AS "payload!", e.metadata AS "metadata!", e.leaf_hash AS "leaf_hash!"
             FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[])
                  WITH ORDINALITY k(store, category, stream, first, n)
            CROSS JOIN LATERAL (
                  SELECT * FROM log.events e
                   WHERE e.store_id = k.store AND e.category = k.category
                     AND e.stream_id = k.stream AND e.version >= k.first
                   ORDER BY e.version LIMIT $5) e
            ORDER BY k.n, e.version"#,
        &columns.stores,
        &columns.categories as &[&str],
        &columns.ids,
        &first,
        FIRST_EVENTS
    );
    for row in rows.fetch_all(conn).await? {
        let event = Row {
            position: row.position,
            store_id: row.store_id,
            category: row.category,
            stream_id: row.stream_id,
            version: row.version,
            event_type: row.event_type,
            schema_version: row.schema_version,
            event_id: row.event_id,
            recorded_at: row.recorded_at,
            payload: row.payload,
            metadata: row.metadata,
            leaf_hash: row.leaf_hash,
        };
        found[ordinal(row.n)].events.push(event.into());
    }
    Ok(found)
}

async fn checked(
    conn: &mut PgConnection,
    asked: &[(StreamKey, Uuid)],
) -> Result<Vec<Checked>, sqlx::Error> {
    let columns = KeyColumns::of(asked.iter().map(|(key, _)| *key));
    let commands: Vec<Uuid> = asked.iter().map(|(_, command_id)| *command_id).collect();
    // The records first: a command carried out elsewhere between the two has moved its stream.
    let records = records(&mut *conn, &columns.stores, &commands).await?;
    let streams = sqlx::query!(
        r#"SELECT coalesce(s.version, 0) AS "version!", coalesce(s.position, 0) AS "position!"
             FROM unnest($1::uuid[], $2::text[], $3::uuid[])
                  WITH ORDINALITY k(store, category, stream, n)
             LEFT JOIN log.streams s ON s.store_id = k.store AND s.category = k.category
                  AND s.stream_id = k.stream
            ORDER BY k.n"#,
        &columns.stores,
        &columns.categories as &[&str],
        &columns.ids
    );
    let both = records.into_iter().zip(streams.fetch_all(conn).await?);
    let checked = both.map(|(record, stream)| {
        let (version, position) = (stream.version, stream.position);
        Checked { record, version, position }
    });
    Ok(checked.collect())
}

async fn owned(
    conn: &mut PgConnection,
    asked: &[UniqueKey],
) -> Result<Vec<Option<Uuid>>, sqlx::Error> {
    let stores: Vec<Uuid> = asked.iter().map(|(store_id, ..)| *store_id).collect();
    let scopes: Vec<&str> = asked.iter().map(|(_, scope, _)| scope.as_str()).collect();
    let keys: Vec<&str> = asked.iter().map(|(.., key)| key.as_str()).collect();
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", u.stream_id
             FROM unnest($1::uuid[], $2::text[], $3::text[])
                  WITH ORDINALITY k(store, scope, key, n)
             JOIN log.unique_keys u ON u.store_id = k.store AND u.scope = k.scope
                  AND u.key = k.key"#,
        &stores,
        &scopes as &[&str],
        &keys as &[&str]
    );
    let mut found = vec![None; asked.len()];
    for row in rows.fetch_all(conn).await? {
        found[ordinal(row.n)] = Some(row.stream_id);
    }
    Ok(found)
}

/// What the log knows of a command that was sent and not heard of again.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) record: CommandRecord,
    /// The last event it made: tells our own append from another process's.
    pub(crate) event_id: Option<Uuid>,
}

/// The fate of the units' commands, in their order.
pub(crate) async fn fates(pool: &PgPool, units: &[&Unit]) -> Result<Vec<Option<Fate>>, StoreError> {
    let mut conn = pool.acquire().await?;
    let found = within(ACQUIRE_TIMEOUT, fates_by(&mut conn, units)).await;
    if found.is_err() {
        // The pool would ask it whether it is well, which may take for ever.
        drop(conn.detach());
    }
    Ok(found?)
}

async fn fates_by(
    conn: &mut PgConnection,
    units: &[&Unit],
) -> Result<Vec<Option<Fate>>, sqlx::Error> {
    let stores: Vec<Uuid> = units.iter().map(|unit| unit.stream.store_id).collect();
    let commands: Vec<Uuid> = units.iter().map(|unit| unit.command_id).collect();
    let records = records(&mut *conn, &stores, &commands).await?;
    let positions: Vec<i64> = records.iter().flatten().map(|record| record.position).collect();
    let last_events = sqlx::query!(
        "SELECT position, event_id FROM log.events WHERE position = ANY ($1)",
        &positions
    );
    let last_events: HashMap<i64, Uuid> = last_events
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|event| (event.position, event.event_id))
        .collect();
    let fate = |record: CommandRecord| {
        let event_id = last_events.get(&record.position).copied();
        Fate { record, event_id }
    };
    Ok(records.into_iter().map(|record| record.map(fate)).collect())
}

/// The records of commands, in the order of their ids.
async fn records(
    conn: &mut PgConnection,
    stores: &[Uuid],
    commands: &[Uuid],
) -> Result<Vec<Option<CommandRecord>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", c.fingerprint, c.category, c.stream_id, c.version, c.position,
                  c.recorded_at
             FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY k(store, command, n)
             JOIN log.commands c ON c.store_id = k.store AND c.command_id = k.command"#,
        stores,
        commands
    );
    let mut found: Vec<Option<CommandRecord>> = commands.iter().map(|_| None).collect();
    for row in rows.fetch_all(conn).await? {
        found[ordinal(row.n)] = Some(CommandRecord {
            fingerprint: row.fingerprint,
            category: row.category,
            stream_id: row.stream_id,
            version: row.version,
            position: row.position,
            recorded_at: row.recorded_at,
        });
    }
    Ok(found)
}

/// An index from an ordinality of PostgreSQL, which counts from 1.
fn ordinal(n: i64) -> usize {
    usize::try_from(n - 1).expect("counted from 1 over an array we sent")
}
