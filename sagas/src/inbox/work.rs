//! Working on what has come: one look at the provider for each payment, however much was sent of it.

use std::collections::BTreeMap;
use std::time::Duration as Pause;

use chrono::{DateTime, Duration, Utc};
use event_schemas::ids::{PaymentId, StoreId};
use futures::{StreamExt as _, stream};
use tokio::{sync::watch, time::sleep};
use tracing::{error, warn};

use super::{TRIES_MAX, fill};
use crate::{Attended, DriveError, SagaCtx, attend_payment};

/// Events taken at a time.
const CLAIM_MAX: i64 = 256;

/// Payments looked at at once by one runner. A provider bounds calls of an account to some hundred
/// a second, and each takes it about half a second.
const AT_ONCE: usize = 16;

/// How long a runner may be at what it has taken before another one takes it: every payment of a
/// claim waits for a provider that does not answer, `AT_ONCE` at a time.
const LEASE: Duration = Duration::minutes(5);

/// How often a runner looks for work.
const POLL: Pause = Pause::from_millis(100);

/// Pause after the database failed.
const PAUSE: Pause = Pause::from_secs(1);

/// First and longest wait after a try that failed.
const BACK_OFF_MIN: Duration = Duration::seconds(5);
const BACK_OFF_MAX: Duration = Duration::hours(1);

/// Longest note kept, in characters.
const NOTE_CHARS_MAX: usize = 400;

/// The events of one payment that were taken together.
#[derive(Debug)]
struct Claimed {
    store_id: StoreId,
    payment_id: PaymentId,
    provider: Vec<String>,
    event_ids: Vec<String>,
    attempts: Vec<i32>,
}

/// Works until told to stop; then ends what it is at.
pub(crate) async fn serve(ctx: &SagaCtx, mut shutdown: watch::Receiver<bool>) {
    while !*shutdown.borrow() {
        let pause = match work(ctx).await {
            Ok(0) => POLL,
            Ok(_) => continue,
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "cannot work on the inbox");
                PAUSE
            }
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = sleep(pause) => {}
        }
    }
}

/// Does everything that is due at this moment. Returns how many events were settled or put off.
pub async fn drain(ctx: &SagaCtx) -> Result<u64, DriveError> {
    let mut done = 0;
    loop {
        match round(ctx).await? {
            0 => return Ok(done),
            some => done += some,
        }
    }
}

async fn round(ctx: &SagaCtx) -> Result<u64, DriveError> {
    fill::round(ctx).await?;
    work(ctx).await
}

async fn work(ctx: &SagaCtx) -> Result<u64, DriveError> {
    let claimed = claim(ctx).await?;
    let results: Vec<Result<u64, sqlx::Error>> = stream::iter(claimed)
        .map(|claimed| async move { carry_out(ctx, claimed).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut done = 0;
    for result in results {
        done += result?;
    }
    Ok(done)
}

/// Takes what is due, those due longest first. One round trip.
async fn claim(ctx: &SagaCtx) -> Result<Vec<Claimed>, sqlx::Error> {
    let now = ctx.now();
    let rows = sqlx::query!(
        r#"WITH due AS MATERIALIZED (
               SELECT store_id, provider, event_id FROM process.inbox
                WHERE state = 'waiting' AND due_at <= $1
                  AND (leased_until IS NULL OR leased_until <= $1)
                ORDER BY due_at LIMIT $3
                  FOR UPDATE SKIP LOCKED)
           UPDATE process.inbox i SET leased_until = $2 FROM due
            WHERE (i.store_id, i.provider, i.event_id)
                = (due.store_id, due.provider, due.event_id)
           RETURNING i.store_id, i.provider, i.event_id, i.payment_id AS "payment_id!", i.attempts"#,
        now,
        now + LEASE,
        CLAIM_MAX
    )
    .fetch_all(&ctx.pool)
    .await?;
    let mut claimed = BTreeMap::new();
    for row in rows {
        let of_payment = claimed.entry((row.store_id, row.payment_id)).or_insert_with(|| Claimed {
            store_id: StoreId(row.store_id),
            payment_id: PaymentId(row.payment_id),
            provider: vec![],
            event_ids: vec![],
            attempts: vec![],
        });
        of_payment.provider.push(row.provider);
        of_payment.event_ids.push(row.event_id);
        of_payment.attempts.push(row.attempts);
    }
    Ok(claimed.into_values().collect())
}

async fn carry_out(ctx: &SagaCtx, claimed: Claimed) -> Result<u64, sqlx::Error> {
    match attend_payment(ctx, claimed.store_id, claimed.payment_id).await {
        Ok(Attended::Applied) => settle(ctx, &claimed, "applied", None).await,
        Ok(Attended::Ignored { why }) => settle(ctx, &claimed, "ignored", Some(why)).await,
        Ok(Attended::NotYet) => put_off(ctx, &claimed, "not known yet").await,
        // As after a crash: the lease has to end first.
        Err(DriveError::Stopped) => Ok(0),
        Err(error) => put_off(ctx, &claimed, &error.to_string()).await,
    }
}

async fn settle(
    ctx: &SagaCtx,
    claimed: &Claimed,
    state: &str,
    note: Option<&str>,
) -> Result<u64, sqlx::Error> {
    let settled = sqlx::query!(
        "UPDATE process.inbox i
            SET state = $1, note = $2, settled_at = $3, leased_until = NULL
           FROM unnest($5::text[], $6::text[]) AS d (provider, event_id)
          WHERE i.store_id = $4 AND (i.provider, i.event_id) = (d.provider, d.event_id)
            AND i.state = 'waiting'",
        state,
        note,
        ctx.now(),
        claimed.store_id.0,
        &claimed.provider,
        &claimed.event_ids
    )
    .execute(&ctx.pool)
    .await?;
    Ok(settled.rows_affected())
}

/// Puts events off to their next try, or parks them.
async fn put_off(ctx: &SagaCtx, claimed: &Claimed, note: &str) -> Result<u64, sqlx::Error> {
    let note: String = note.chars().take(NOTE_CHARS_MAX).collect();
    let attempts: Vec<i32> = claimed.attempts.iter().map(|attempts| attempts + 1).collect();
    let due: Vec<DateTime<Utc>> =
        attempts.iter().map(|attempts| ctx.now() + wait(*attempts, claimed.payment_id)).collect();
    if attempts.iter().any(|attempts| TRIES_MAX <= *attempts) {
        warn!(payment = %claimed.payment_id, note, "events of a provider are parked");
    }
    let done = sqlx::query!(
        "UPDATE process.inbox i
            SET attempts = d.attempts, due_at = d.due_at, note = $1, leased_until = NULL,
                state = CASE WHEN $2 <= d.attempts THEN 'parked' ELSE 'waiting' END
           FROM unnest($4::text[], $5::text[], $6::int[], $7::timestamptz[])
                AS d (provider, event_id, attempts, due_at)
          WHERE i.store_id = $3 AND (i.provider, i.event_id) = (d.provider, d.event_id)
            AND i.state = 'waiting'",
        note,
        TRIES_MAX,
        claimed.store_id.0,
        &claimed.provider,
        &claimed.event_ids,
        &attempts,
        &due
    )
    .execute(&ctx.pool)
    .await?;
    Ok(done.rows_affected())
}

/// How long to wait after so many failed tries: 5, 10, 20 … s, and up to a fifth more, another for
/// each payment, so that those which failed together do not come back together.
fn wait(attempts: i32, payment_id: PaymentId) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    let wait = BACK_OFF_MIN.checked_mul(2_i32.pow(doublings)).unwrap_or(BACK_OFF_MAX);
    let wait = wait.min(BACK_OFF_MAX);
    let spread = i32::try_from(payment_id.0.as_u128() % 200).unwrap_or(0);
    wait + wait * spread / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_tries_take_between_two_and_three_hours() {
        let payment = |last| PaymentId(uuid::Uuid::from_u128(last));
        let waits: Vec<i64> = (1..TRIES_MAX).map(|n| wait(n, payment(0)).num_seconds()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]);
        assert_eq!(wait(1, payment(100)).num_milliseconds(), 5_500);
        assert_eq!(wait(i32::MAX, payment(0)), BACK_OFF_MAX);
        let total: i64 = waits.iter().sum();
        assert!((7_200..10_800).contains(&total), "{total}");
    }
}
