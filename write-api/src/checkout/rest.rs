//! Waiting for the process of a checkout to rest, so that one call gives one answer.

use std::time::Duration;

use api_kit::Problem;
use commands::checkout::{self, CheckoutView};
use commands::{CommandError, Ctx};
use event_schemas::ids::{CheckoutId, StoreId};
use tokio::time::{Instant, sleep, timeout};

use super::problem::problem;

/// Longest wait. A checkout takes some ten milliseconds; after this the client asks again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often we look when no append of this process wakes us: the process may run elsewhere.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Pause between two looks, doubled each time up to [`LOOK_AGAIN`]: every append wakes every
/// waiter, and hundreds of them must not read the log at every append.
const PAUSE: Duration = Duration::from_millis(2);

/// The checkout at its first rest at or after `position`, or `None` if that takes too long.
pub(super) async fn rest(
    ctx: &Ctx,
    store_id: StoreId,
    id: CheckoutId,
    position: i64,
) -> Result<Option<CheckoutView>, Problem> {
    let deadline = Instant::now() + WAIT_MAX;
    let mut appended = ctx.engine.appended();
    let mut pause = PAUSE;
    loop {
        appended.mark_unchanged();
        let view = checkout::settled(ctx, store_id, id, position).await;
        let view = view.map_err(|error| problem(CommandError::Store(error)))?;
        if view.is_some() || deadline <= Instant::now() + pause {
            return Ok(view);
        }
        sleep(pause).await;
        // Whichever comes first; both mean: look again.
        let _ = timeout(LOOK_AGAIN.saturating_sub(pause), appended.changed()).await;
        pause = LOOK_AGAIN.min(pause * 2);
    }
}
