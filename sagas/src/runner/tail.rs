//! The tail of the log: events that concern a process become rows that are due.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use event_schemas::{
    ids::{CheckoutId, StoreId},
    metadata::Metadata,
};
use event_store::{
    Recorded,
    checkpoint::{lock_checkpoint, try_lock_checkpoint, write_checkpoint},
    read::{self, Filter},
};
use fail::fail_point;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::work::Process;
use crate::{DriveError, SagaCtx};

/// Name of the checkpoint.
const CHECKPOINT: &str = "saga";

const CATEGORIES: &[&str] = &["checkout", "order", "payment"];

/// What people and other processes do to a process, and where it comes to rest; the rest of what it
/// does itself wakes nobody.
const TYPES: &[&str] = &[
    "CheckoutStarted",
    "CheckoutStockSecured",
    "PaymentStarted",
    "CheckoutCompensationStarted",
    "CheckoutCompleted",
    "CheckoutFailed",
    "PaymentActionAnswered",
    "PaymentIntegrityViolated",
    "LatePaymentFound",
    "OrderCancellationRequested",
    "OrderRefundRequested",
    "FulfilmentShipped",
];

/// When somebody looks after a checkout whose shopper shall pay: most have paid by then. A runner
/// that looks finds out when the hold ends.
const AT_LEISURE: Duration = Duration::minutes(1);

/// Version of a checkout that holds its stock and waits for a payment: it has begun, and that.
const UNPAID: i64 = 2;

/// Events taken at a time.
const WINDOW: i64 = 500;

/// The checkpoint moves without work once it is that far behind: each move is a commit.
const IDLE_MOVE: i64 = 200;

/// What one step of the tail did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tailed {
    /// There is new work.
    pub(super) armed: bool,
    /// There is more to read at once.
    pub(super) more: bool,
}

/// Reads on and wakes what has to be woken, in one transaction. Does nothing while another
/// runner is at it.
pub(super) async fn step(ctx: &SagaCtx) -> Result<Tailed, DriveError> {
    let mut tx = ctx.pool.begin().await?;
    let Some(position) = try_lock_checkpoint(&mut tx, CHECKPOINT).await? else {
        tx.rollback().await?;
        return Ok(Tailed { armed: false, more: false });
    };
    read_on(ctx, tx, position).await
}

/// As [`step`], after whoever is at it: when this returns, what was in the log before is seen to.
pub(super) async fn step_in_turn(ctx: &SagaCtx) -> Result<Tailed, DriveError> {
    let mut tx = ctx.pool.begin().await?;
    let position = lock_checkpoint(&mut tx, CHECKPOINT).await?;
    read_on(ctx, tx, position).await
}

async fn read_on(
    ctx: &SagaCtx,
    mut tx: Transaction<'_, Postgres>,
    position: i64,
) -> Result<Tailed, DriveError> {
    let filter = Filter { categories: CATEGORIES, types: TYPES };
    let read = read::read_after_filtered(&mut tx, position, WINDOW, filter).await?;
    let woken = woken(&read.events);
    if woken.is_empty() && !read.more && read.through - position < IDLE_MOVE {
        // Not left to the pool, which does it at leisure: the next step would find the lock taken.
        tx.rollback().await?;
        return Ok(Tailed { armed: false, more: false });
    }
    let armed = arm(&mut tx, &woken, read.through, ctx).await?;
    write_checkpoint(&mut tx, CHECKPOINT, read.through).await?;
    fail_point!("saga::before-arm");
    tx.commit().await?;
    fail_point!("saga::after-arm");
    Ok(Tailed { armed, more: read.more })
}

/// Passes over the events after `from` and up to `through`, of which the caller knows that they
/// wake nobody: every process in them has ended. Does nothing if the tail is not there yet, or if
/// somebody else has appended since. Several round trips.
pub async fn pass_over(pool: &PgPool, from: i64, through: i64) -> Result<(), DriveError> {
    let mut tx = pool.begin().await?;
    let position = lock_checkpoint(&mut tx, CHECKPOINT).await?;
    let head = read::head(&mut tx).await?;
    if from <= position && position < through && head == through {
        write_checkpoint(&mut tx, CHECKPOINT, through).await?;
    }
    tx.commit().await?;
    Ok(())
}

type Key = (StoreId, Process, Uuid);

/// When a process has to be driven after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    /// Whoever made the event, then, drives it at once; somebody else has to only if they do not
    /// come to the end.
    IfLeft(DateTime<Utc>),
    AtLeisure(DateTime<Utc>),
    Never,
}

/// The processes that events concern, each with what its last event asks for.
fn woken(events: &[Recorded]) -> BTreeMap<Key, Due> {
    let mut woken = BTreeMap::new();
    for event in events {
        if let Some((key, due)) = wake(event) {
            woken.insert(key, due);
        }
    }
    woken
}

fn wake(event: &Recorded) -> Option<(Key, Due)> {
    let store_id = StoreId(event.store_id);
    let metadata: Option<Metadata> = serde_json::from_slice(&event.metadata).ok();
    let (process, id) = match event.category.as_str() {
        "checkout" => (Process::Checkout, event.stream_id),
        "payment" if event.event_type != "PaymentActionAnswered" => {
            (Process::Payment, event.stream_id)
        }
        // Every event of a payment names the checkout.
        "payment" => {
            let checkout_id: CheckoutId = metadata.as_ref()?.correlation_id.parse().ok()?;
            (Process::Checkout, checkout_id.0)
        }
        _ => (Process::Order, event.stream_id),
    };
    let since = metadata.map(|metadata| metadata.occurred_at);
    let due = match (event.event_type.as_str(), since) {
        ("CheckoutCompleted", _) => Due::Never,
        // With a payment started before, it goes on at once, as that asks for.
        ("CheckoutStockSecured", _) if event.version != UNPAID => return None,
        ("CheckoutStockSecured", Some(since)) => Due::AtLeisure(since),
        (_, Some(since)) if process == Process::Checkout => Due::IfLeft(since),
        _ => Due::Now,
    };
    Some(((store_id, process, id), due))
}

/// Puts each process to its time, or its row away. Returns whether one is due now. The generation
/// of a row is where its wake-up came from, so that no other wake-up ever has the same, whatever was
/// lost in a crash or removed meanwhile.
async fn arm(
    conn: &mut PgConnection,
    woken: &BTreeMap<Key, Due>,
    through: i64,
    ctx: &SagaCtx,
) -> Result<bool, sqlx::Error> {
    let now = ctx.now();
    let (mut ended, mut soon, mut late) = (Rows::default(), Rows::default(), Rows::default());
    for (key, due) in woken {
        match due {
            Due::Never => ended.push(*key, now),
            Due::Now => soon.push(*key, now),
            Due::IfLeft(since) => soon.push(*key, *since + ctx.grace),
            Due::AtLeisure(since) => late.push(*key, *since + AT_LEISURE),
        }
    }
    if !ended.ids.is_empty() {
        ended.remove(&mut *conn).await?;
    }
    if !soon.ids.is_empty() {
        soon.wake(&mut *conn, through).await?;
    }
    if !late.ids.is_empty() {
        late.postpone(conn, through, now + ctx.grace).await?;
    }
    Ok(soon.due_at.iter().any(|due_at| *due_at <= now))
}

/// Rows of `process.work`, as columns.
#[derive(Default)]
struct Rows {
    stores: Vec<Uuid>,
    processes: Vec<&'static str>,
    ids: Vec<Uuid>,
    due_at: Vec<DateTime<Utc>>,
}

impl Rows {
    fn push(&mut self, (store_id, process, id): Key, due_at: DateTime<Utc>) {
        self.stores.push(store_id.0);
        self.processes.push(process.name());
        self.ids.push(id);
        self.due_at.push(due_at);
    }

    async fn wake(&self, conn: &mut PgConnection, through: i64) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO process.work AS w (store_id, process, id, due_at, generation)
             SELECT woken.*, $5
               FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) AS woken
                 ON CONFLICT (store_id, process, id) DO UPDATE
                SET due_at = least(w.due_at, EXCLUDED.due_at),
                    generation = greatest(w.generation, EXCLUDED.generation)",
            &self.stores,
            &self.processes as &[&str],
            &self.ids,
            &self.due_at,
            through
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Where `soon` is not the time that a runner found out itself, or is finding out.
    async fn postpone(
        &self,
        conn: &mut PgConnection,
        through: i64,
        soon: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO process.work AS w (store_id, process, id, due_at, generation)
             SELECT woken.*, $5
               FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) AS woken
                 ON CONFLICT (store_id, process, id) DO UPDATE
                SET due_at = EXCLUDED.due_at, generation = EXCLUDED.generation
              WHERE w.due_at <= $6 AND w.leased_until IS NULL",
            &self.stores,
            &self.processes as &[&str],
            &self.ids,
            &self.due_at,
            through,
            soon
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn remove(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "DELETE FROM process.work w
              USING unnest($1::uuid[], $2::text[], $3::uuid[]) AS ended (store_id, process, id)
              WHERE (w.store_id, w.process, w.id) = (ended.store_id, ended.process, ended.id)",
            &self.stores,
            &self.processes as &[&str],
            &self.ids
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
