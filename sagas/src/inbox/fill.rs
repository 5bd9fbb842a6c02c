//! Filling gaps: once an hour the provider's own list of events is read, for webhooks that were
//! never sent or never came.

use std::time::Duration as Pause;

use chrono::{DateTime, Duration, Utc};
use event_schemas::ids::StoreId;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, error, warn};

use super::{
    Delivery, KEPT, STRIPE,
    ingest::{Source, insert},
};
use crate::{DriveError, SagaCtx};

/// From one reading of a list to the next.
const EVERY: Duration = Duration::hours(1);

/// How far a reading goes back behind the last one: an event may appear in the list after one that
/// happened later.
const OVERLAP: Duration = Duration::minutes(10);

/// How far the first reading of an account goes back. What is older was known or looked up before.
const FIRST: Duration = Duration::days(1);

/// Until a reading that failed is tried again.
const AGAIN: Duration = Duration::minutes(5);

/// Pages of one reading, of a hundred events each. What is not reached is read next: the reading
/// then counts as failed and begins anew, so that nothing newer hides it.
const PAGES_MAX: usize = 1_000;

/// Accounts that are read at once.
const AT_ONCE: usize = 8;

/// How long one account may take: less than [`AGAIN`], after which another runner takes it.
const PATIENCE: Pause = Pause::from_mins(2);

/// How often a runner looks whether an account is due.
const POLL: Pause = Pause::from_secs(5);

/// Settled events removed in one statement.
const PRUNE_MAX: i64 = 10_000;

/// Reads lists until told to stop, which ends what it is at: it is begun anew. Beside the work on
/// what came, which does not wait for a provider that does not answer.
pub(crate) async fn serve(ctx: &SagaCtx, mut shutdown: watch::Receiver<bool>) {
    let reading = async {
        loop {
            if let Err(error) = round(ctx).await {
                error!(error = &error as &dyn std::error::Error, "cannot fill gaps of the inbox");
            }
            sleep(POLL).await;
        }
    };
    tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => {}
        () = reading => {}
    }
}

/// Reads the lists of the accounts that are due, and removes what is past its keeping.
pub(super) async fn round(ctx: &SagaCtx) -> Result<(), DriveError> {
    if !due(ctx).await? {
        return Ok(());
    }
    prune(ctx).await?;
    let stores = ctx.payments.stores().await;
    let stores = stores
        .map_err(|error| DriveError::Failed { step: "accounts", detail: error.to_string() })?;
    let read_due = async |store_id| -> Result<(), DriveError> {
        match claim(ctx, store_id).await? {
            Some(since) => read(ctx, store_id, since).await,
            None => Ok(()),
        }
    };
    stream::iter(stores).map(read_due).buffer_unordered(AT_ONCE).try_collect().await
}

async fn read(ctx: &SagaCtx, store_id: StoreId, since: DateTime<Utc>) -> Result<(), DriveError> {
    let late = |_| DriveError::Failed { step: "list of events", detail: "takes too long".into() };
    let filled = timeout(PATIENCE, fill(ctx, store_id, since)).await;
    match filled.map_err(late).flatten() {
        Ok(found) => debug!(store = %store_id, found, "read a provider's list of events"),
        // The list is a net under the webhooks; it can wait.
        Err(error) => {
            warn!(store = %store_id, error = &error as &dyn std::error::Error, "cannot read a provider's list of events");
            let due_at = ctx.now() + AGAIN;
            put(ctx, store_id, since, due_at).await?;
        }
    }
    Ok(())
}

/// Takes over what happened at the provider of a store since a time and is not known here. Returns
/// how many events were not.
pub async fn fill(
    ctx: &SagaCtx,
    store_id: StoreId,
    since: DateTime<Utc>,
) -> Result<u64, DriveError> {
    let failed = |detail: String| DriveError::Failed { step: "list of events", detail };
    let (now, provider) = (ctx.now(), ctx.provider(store_id).await?);
    let (mut after, mut found) = (None::<String>, 0);
    for _ in 0..PAGES_MAX {
        let page = provider.events(since, after.as_deref()).await;
        let page = page.map_err(|error| failed(error.to_string()))?;
        let events = page.events.into_iter();
        let events: Vec<_> =
            events.filter_map(|event| Delivery::of(store_id, event, now)).collect();
        found += insert(&ctx.pool, &events, Source::List).await?;
        after = page.next;
        if after.is_none() {
            put(ctx, store_id, now - OVERLAP, now + EVERY).await?;
            return Ok(found);
        }
    }
    Err(failed("the list does not end".to_owned()))
}

/// Whether an account may be due. Cheap: it is asked all the time. The row of no store says
/// when somebody has last looked at all of them.
async fn due(ctx: &SagaCtx) -> Result<bool, sqlx::Error> {
    let now = ctx.now();
    let taken = sqlx::query!(
        "INSERT INTO process.inbox_fills AS f (store_id, provider, through, due_at)
         VALUES ('00000000-0000-0000-0000-000000000000', $1, $2, $3)
             ON CONFLICT (store_id, provider) DO UPDATE SET through = $2, due_at = $3
          WHERE f.due_at <= $2",
        STRIPE,
        now,
        now + Duration::minutes(1)
    )
    .execute(&ctx.pool)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Takes the list of one account if it is due. Returns since when to read it.
async fn claim(ctx: &SagaCtx, store_id: StoreId) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let now = ctx.now();
    sqlx::query_scalar!(
        "INSERT INTO process.inbox_fills AS f (store_id, provider, through, due_at)
         VALUES ($1, $2, $3, $5)
             ON CONFLICT (store_id, provider) DO UPDATE SET due_at = $5
          WHERE f.due_at <= $4
         RETURNING through",
        store_id.0,
        STRIPE,
        now - FIRST,
        now,
        now + AGAIN
    )
    .fetch_optional(&ctx.pool)
    .await
}

async fn put(
    ctx: &SagaCtx,
    store_id: StoreId,
    through: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE process.inbox_fills SET through = $3, due_at = $4
          WHERE store_id = $1 AND provider = $2",
        store_id.0,
        STRIPE,
        through,
        due_at
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}

async fn prune(ctx: &SagaCtx) -> Result<(), sqlx::Error> {
    let before = ctx.now() - KEPT;
    loop {
        let gone = sqlx::query!(
            "DELETE FROM process.inbox WHERE (store_id, provider, event_id) IN (
                 SELECT store_id, provider, event_id FROM process.inbox
                  WHERE settled_at < $1 LIMIT $2)",
            before,
            PRUNE_MAX
        );
        if gone.execute(&ctx.pool).await?.rows_affected() < PRUNE_MAX.unsigned_abs() {
            return Ok(());
        }
    }
}
