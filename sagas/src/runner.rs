//! The runner: finds out which processes have something to do, and drives them.
//!
//! A tail of the log turns events that come from outside a process into rows of `process.work`,
//! in the transaction that moves its checkpoint. Workers take rows that are due, drive the process
//! and put the row to its next time or away. Several runners share the work; a lease keeps them
//! from doing the same thing at once, and doing it twice does no harm.

use std::{sync::Arc, time::Duration};

use commands::checkout::{self, Checkout};
use event_schemas::ids::{CheckoutId, OrderId, PaymentId, StoreId};
use event_store::Loaded;
use fail::fail_point;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, error, warn};

use crate::{
    DriveError, Next, SagaCtx,
    checkout::{drive_checkout, drive_payment, mark_stuck},
    inbox,
    refund::drive_order,
};

mod tail;
mod work;

use work::{Process, Work};

/// Processes driven at once by one runner. Each waits for its next command to be stored most of the
/// time, and what many of them store at once is one flush of the disk.
const WORKERS_MAX: usize = 64;

/// How often a runner looks for work nobody told it about: timers, other processes' appends.
const POLL: Duration = Duration::from_millis(100);

/// Shortest time between two looks at the log. Most appends are of processes that somebody drives
/// already and wake nobody; looking at each of them would cost the server as much as they do.
const PAUSE_MIN: Duration = Duration::from_millis(25);

/// Pause after the database failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Failures in a row after which a checkout shows that it does not go on. With waits of 1, 2, 4 …
/// seconds that is after about a minute. It is tried again nevertheless, once a minute.
pub(crate) const STUCK_AFTER: i32 = 6;

pub use tail::pass_over;

/// Runs until `shutdown` says true; then ends what it is at, which takes as long as the longest
/// step.
pub async fn run(ctx: SagaCtx, shutdown: watch::Receiver<bool>) {
    let woken = Arc::new(Notify::new());
    tokio::join!(
        follow(&ctx, &woken, shutdown.clone()),
        serve(&ctx, &woken, shutdown.clone()),
        inbox::serve(&ctx, shutdown.clone()),
        inbox::read_lists(&ctx, shutdown)
    );
}

/// Turns events into work until told to stop.
async fn follow(ctx: &SagaCtx, woken: &Notify, mut shutdown: watch::Receiver<bool>) {
    let mut appended = ctx.commands.engine.appended();
    while !*shutdown.borrow() {
        appended.mark_unchanged();
        let pause = match tail::step(ctx).await {
            Ok(tail::Tailed { armed, more }) => {
                if armed {
                    woken.notify_one();
                }
                if more {
                    continue;
                }
                POLL
            }
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "cannot follow the log");
                PAUSE
            }
        };
        let woken = async {
            if appended.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(PAUSE_MIN).await;
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = woken => {}
            () = sleep(pause) => {}
        }
    }
}

/// Takes work and has it done until told to stop.
async fn serve(ctx: &SagaCtx, woken: &Notify, mut shutdown: watch::Receiver<bool>) {
    let mut workers = JoinSet::new();
    while !*shutdown.borrow() {
        let claimed = match WORKERS_MAX - workers.len() {
            0 => Ok(vec![]),
            free => work::claim(ctx, free).await,
        };
        let pause = match claimed {
            Ok(claimed) => {
                for work in claimed {
                    let ctx = ctx.clone();
                    workers.spawn(async move { carry_out(&ctx, work).await });
                }
                POLL
            }
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "cannot take work");
                PAUSE
            }
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            Some(_) = workers.join_next() => {}
            () = woken.notified() => {}
            () = sleep(pause) => {}
        }
    }
    while workers.join_next().await.is_some() {}
}

/// Does everything there is to do at this moment, until nothing is due: for tests and imports.
/// Work that fails is left for later. Returns how often a process was driven.
pub async fn drain(ctx: &SagaCtx) -> Result<u64, DriveError> {
    let mut driven = 0;
    loop {
        while tail::step_in_turn(ctx).await?.more {}
        let claimed = work::claim(ctx, WORKERS_MAX).await?;
        if claimed.is_empty() {
            return Ok(driven);
        }
        let mut workers = JoinSet::new();
        for work in claimed {
            driven += 1;
            let ctx = ctx.clone();
            workers.spawn(async move { carry_out(&ctx, work).await });
        }
        while workers.join_next().await.is_some() {}
    }
}

/// Takes a checkout before it begins, so that no runner does: the caller drives it itself, with
/// [`drive_to_rest`]. The lease ends by itself if the caller does not come to it.
pub async fn lease(
    ctx: &SagaCtx,
    store_id: StoreId,
    checkout_id: CheckoutId,
) -> Result<(), DriveError> {
    Ok(work::lease(ctx, store_id, (Process::Checkout, checkout_id.0)).await?)
}

/// Drives a checkout taken with [`lease`] as far as it goes, and hands it over to the runners if
/// it has not ended.
pub async fn drive_to_rest(
    ctx: &SagaCtx,
    store_id: StoreId,
    checkout_id: CheckoutId,
) -> Result<Loaded<Checkout>, DriveError> {
    let next = drive_checkout(ctx, store_id, checkout_id).await?;
    let loaded = checkout::load(&ctx.commands, store_id, checkout_id).await?;
    let row = (Process::Checkout, checkout_id.0);
    match next {
        Next::Done if loaded.state.phase.is_end() => work::remove(ctx, store_id, row).await?,
        Next::Done => {}
        Next::At(_) | Next::Unanswered { .. } => work::hand_over(ctx, store_id, row).await?,
    }
    Ok(loaded)
}

/// Drives one process and puts its row where it belongs.
async fn carry_out(ctx: &SagaCtx, work: Work) {
    fail_point!("saga::after-claim");
    let result = match work.process {
        Process::Checkout => drive_checkout(ctx, work.store_id, CheckoutId(work.id)).await,
        Process::Order => drive_order(ctx, work.store_id, OrderId(work.id)).await,
        Process::Payment => drive_payment(ctx, work.store_id, PaymentId(work.id)).await,
    };
    fail_point!("saga::before-put");
    let put = match result {
        Ok(Next::Done) => work::finish(ctx, &work).await,
        Ok(Next::At(due_at)) => work::reschedule(ctx, &work, due_at).await,
        // Nothing went wrong here, but it does not go on, and nobody would see it.
        Ok(Next::Unanswered { since }) => fail(ctx, &work, &DriveError::Unanswered { since }).await,
        // As after a crash: the lease has to end first.
        Err(DriveError::Stopped) => return,
        Err(error) => fail(ctx, &work, &error).await,
    };
    fail_point!("saga::after-put");
    if let Err(error) = put {
        // The lease ends, and somebody does it again.
        warn!(error = &error as &dyn std::error::Error, "cannot put work away");
    }
}

async fn fail(ctx: &SagaCtx, work: &Work, error: &DriveError) -> Result<(), sqlx::Error> {
    let attempts = work.attempts + 1;
    let process = work.process.name();
    debug!(%process, id = %work.id, attempts, step = error.step(), "a process does not go on");
    if attempts == STUCK_AFTER {
        warn!(%process, id = %work.id, error = error as &dyn std::error::Error, "a process is stuck");
    }
    if attempts >= STUCK_AFTER && work.process == Process::Checkout {
        let marked = mark_stuck(ctx, work.store_id, CheckoutId(work.id), error).await;
        if let Err(error) = marked {
            warn!(error = &error as &dyn std::error::Error, "cannot mark a checkout as stuck");
        }
    }
    work::fail(ctx, work, attempts, &error.to_string()).await
}
