//! Doing to the program what the plan says.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::time::{sleep, timeout};

use crate::{
    fleet::Fleet,
    plan::{Death, Lane},
    points::Slot,
    proxy::Cut,
};

/// How long a process may take to come to the point at which it shall die.
const REACH_PATIENCE: Duration = Duration::from_secs(3);

/// How long an append may take to come to a wire that is to be cut.
const CUT_PATIENCE: Duration = Duration::from_secs(2);

/// How long the first success after a death of PostgreSQL may take.
const WRITES_PATIENCE: Duration = Duration::from_secs(30);

/// Carries out a round; afterwards everything runs again.
pub(crate) async fn round(fleet: &Fleet, lanes: &[Lane]) -> anyhow::Result<()> {
    try_join_all(lanes.iter().map(|lane| carry_out(fleet, lane))).await?;
    fleet.heal().await
}

async fn carry_out(fleet: &Fleet, lane: &Lane) -> anyhow::Result<()> {
    match lane {
        Lane::Deaths(slot, deaths) => die(fleet, *slot, deaths).await,
        Lane::Cuts(slot, cuts) => {
            cut(fleet, *slot, cuts).await;
            Ok(())
        }
        Lane::Pause { slot, after, span } => {
            sleep(*after).await;
            fleet.tally.pause();
            fleet.pause(*slot, *span).await;
            Ok(())
        }
        Lane::Rebuild { projection, killed_after } => {
            let done = fleet.rebuild(*projection, *killed_after).await?;
            fleet.tally.rebuild(done);
            Ok(())
        }
        Lane::Server { after } => kill_server(fleet, *after).await,
    }
}

async fn die(fleet: &Fleet, slot: Slot, deaths: &[Death]) -> anyhow::Result<()> {
    for death in deaths {
        match death {
            Death::At(at) => {
                let reached = fleet.crash(slot, *at, REACH_PATIENCE).await?;
                fleet.tally.crash(at.point, reached);
            }
            Death::After(time) => {
                fleet.restart(slot).await?;
                sleep(*time).await;
            }
        }
        // Whoever has not died yet does now.
        if fleet.kill(slot).await {
            fleet.tally.kill();
        }
    }
    fleet.restart(slot).await
}

async fn cut(fleet: &Fleet, slot: Slot, cuts: &[Cut]) {
    let Some(proxy) = fleet.proxy(slot) else { return };
    for &cut in cuts {
        let reached = proxy.cut(cut, CUT_PATIENCE).await;
        fleet.tally.cut(cut, reached);
    }
}

async fn kill_server(fleet: &Fleet, after: Duration) -> anyhow::Result<()> {
    sleep(after).await;
    let killed = Instant::now();
    let mut answers = fleet.tally.answers();
    let ready = fleet.server.kill_and_restart().await?;
    fleet.tally.server_kill(ready);
    // Of an answer that was on its way while the server died nothing follows.
    answers.mark_unchanged();
    if timeout(WRITES_PATIENCE, answers.changed()).await.is_ok() {
        fleet.tally.writes_back(killed.elapsed());
    }
    Ok(())
}
