//! Carrying the process of a checkout on until it rests, so that one call gives one answer.

use std::time::Duration;

use api_kit::Problem;
use commands::checkout::{self, CheckoutView};
use commands::{CommandError, Done};
use tokio::time::{Instant, sleep, timeout};

use super::Journey;
use super::answer::Asked;
use super::problem::problem;
use crate::WriteState;

/// Longest wait. A checkout takes some ten milliseconds; after this the client asks again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest pause between two looks while nothing is appended here: the process may run elsewhere.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Shortest pause between two looks, about what the fastest step takes.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// A pause is at least this part of the time waited so far. Under load everything takes longer,
/// and hundreds of waiters that look at every append would take the connections from the process
/// they wait for.
const PAUSE_PART: u32 = 3;

/// The checkout at its first rest at or after what was `asked` and is `done`, or `None` if that takes too long, for
/// us or for the client.
pub(super) async fn rest(
    state: &WriteState,
    journey: Journey,
    (asked, done): (Asked, Done),
) -> Result<Option<CheckoutView>, Problem> {
    let Journey { store_id, id, deadline } = journey;
    let look = async || {
        let view = checkout::settled(&state.ctx, store_id, id, done.position).await;
        view.map_err(|error| problem(CommandError::Store(error)))
    };
    // What was done long ago has most likely come to rest.
    if done.replayed
        && let Some(view) = look().await?
    {
        return Ok(Some(view));
    }
    let began = Instant::now();
    let wait_max = deadline.within(WAIT_MAX);
    state.driver.drive(journey, asked, began + wait_max).await;
    let mut appended = state.ctx.engine.appended();
    loop {
        appended.mark_unchanged();
        let view = look().await?;
        let waited = began.elapsed();
        if view.is_some() || wait_max <= waited {
            return Ok(view);
        }
        // A runner or another request is at it.
        let pause = PAUSE_MIN.max(waited / PAUSE_PART).min(wait_max.saturating_sub(waited));
        sleep(pause).await;
        // Whichever comes first; both mean: look again.
        let _ = timeout(LOOK_AGAIN.saturating_sub(pause), appended.changed()).await;
    }
}
