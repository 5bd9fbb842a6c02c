//! The tail of the log: events that concern a process become rows that are due.

use std::collections::BTreeSet;

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
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::work::Process;
use crate::{DriveError, SagaCtx};

/// Name of the checkpoint.
const CHECKPOINT: &str = "saga";

const CATEGORIES: &[&str] = &["checkout", "order", "payment"];

/// What people and other processes do to a process; what it does itself wakes nobody. The ends of
/// checkouts stand here so that a checkout that began and ended in one go wakes nobody either.
const TYPES: &[&str] = &[
    "CheckoutStarted",
    "PaymentStarted",
    "CheckoutCompensationStarted",
    "CheckoutCompleted",
    "CheckoutFailed",
    "PaymentActionAnswered",
    "OrderCancellationRequested",
    "OrderRefundRequested",
];

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
    let filter = Filter { categories: CATEGORIES, types: TYPES };
    let read = read::read_after_filtered(&mut tx, position, WINDOW, filter).await?;
    let woken = woken(&read.events);
    if woken.is_empty() && !read.more && read.through - position < IDLE_MOVE {
        // Not left to the pool, which does it at leisure: the next step would find the lock taken.
        tx.rollback().await?;
        return Ok(Tailed { armed: false, more: false });
    }
    arm(&mut tx, &woken, read.through, ctx).await?;
    write_checkpoint(&mut tx, CHECKPOINT, read.through).await?;
    fail_point!("saga::before-arm");
    tx.commit().await?;
    fail_point!("saga::after-arm");
    Ok(Tailed { armed: !woken.is_empty(), more: read.more })
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

/// The processes that events concern.
fn woken(events: &[Recorded]) -> BTreeSet<Key> {
    let mut woken = BTreeSet::new();
    for event in events {
        let store_id = StoreId(event.store_id);
        match (event.category.as_str(), event.event_type.as_str()) {
            ("checkout", "CheckoutCompleted" | "CheckoutFailed") => {
                woken.remove(&(store_id, Process::Checkout, event.stream_id));
            }
            ("checkout", _) => {
                woken.insert((store_id, Process::Checkout, event.stream_id));
            }
            ("payment", _) => {
                if let Some(checkout_id) = journey(event) {
                    woken.insert((store_id, Process::Checkout, checkout_id.0));
                }
            }
            _ => {
                woken.insert((store_id, Process::Order, event.stream_id));
            }
        }
    }
    woken
}

/// The checkout an event belongs to: every event of a payment names it.
fn journey(event: &Recorded) -> Option<CheckoutId> {
    let metadata: Metadata = serde_json::from_slice(&event.metadata).ok()?;
    metadata.correlation_id.parse().ok()
}

/// The generation of a row is where its wake-up came from, so that no other wake-up ever has the
/// same, whatever was lost in a crash or removed meanwhile.
async fn arm(
    conn: &mut PgConnection,
    woken: &BTreeSet<Key>,
    through: i64,
    ctx: &SagaCtx,
) -> Result<(), sqlx::Error> {
    let stores: Vec<Uuid> = woken.iter().map(|(store_id, ..)| store_id.0).collect();
    let processes: Vec<String> =
        woken.iter().map(|(_, process, _)| process.name().to_owned()).collect();
    let ids: Vec<Uuid> = woken.iter().map(|(.., id)| *id).collect();
    sqlx::query!(
        "INSERT INTO process.work AS w (store_id, process, id, due_at, generation)
         SELECT store_id, process, id, $4, $5
           FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS woken(store_id, process, id)
             ON CONFLICT (store_id, process, id) DO UPDATE
            SET due_at = least(w.due_at, $4), generation = greatest(w.generation, $5)",
        &stores,
        &processes,
        &ids,
        ctx.now(),
        through
    )
    .execute(conn)
    .await?;
    Ok(())
}
