//! One task per process that looks how far the read models are, so that no request has to: it
//! wakes those who wait for a position, says what has changed to the cache, and to live clients.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use projections::follow::{self, Reach, Reached, StreamKey, WINDOW_MAX};
use projections::{Projection, catalog, order};
use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::catalog::At;
use crate::changes::Changes;
use crate::live::Feeds;

/// Between two looks while somebody waits for a position: a projector needs about as long for a
/// batch.
const LOOK_WAITED_FOR: Duration = Duration::from_millis(5);

/// Between two looks while events are on their way into the read models: how much older than its
/// read model an answer from the cache is at most, as long as somebody says that there are events.
const LOOK_BUSY: Duration = Duration::from_millis(20);

/// Between two looks while nothing happens: how late it shows if nobody said that there are events.
const LOOK_IDLE: Duration = Duration::from_millis(250);

/// Between two looks, whoever asks for them: a crowd of requests that wait must not be a crowd of
/// looks.
const LOOK_MIN: Duration = Duration::from_millis(2);

/// After a look that failed.
const LOOK_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// What was seen longer ago than this is not relied upon: nothing is answered from the cache.
const TRUSTED: Duration = Duration::from_secs(1);

/// Categories that are read from the log itself.
const CHECKOUTS: &[&str] = &["checkout"];

/// What the last look saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    reached: Reached,
    /// How many looks there were.
    looks: u64,
    /// When it was; `None` before the first.
    at: Option<Instant>,
}

/// What the follower knows and whom it tells.
#[derive(Debug, Default)]
pub(crate) struct Following {
    seen: watch::Sender<Seen>,
    pub(crate) changes: Changes,
    pub(crate) feeds: Feeds,
    /// How many wait for a position.
    waiting: AtomicUsize,
    look_now: Notify,
}

/// Counts one who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Following {
    /// What the last look saw of a projection; `None` if that is too long ago.
    pub(crate) fn reach(&self, projection: &Projection) -> Option<Reach> {
        let seen = self.seen.borrow();
        seen.at.filter(|at| at.elapsed() <= TRUSTED)?;
        seen.reached.projections.get(nth(projection)).cloned()
    }

    /// Waits until the projection is at another generation or a later position than `at`.
    pub(crate) async fn beyond(&self, projection: &Projection, at: Option<At>) -> Reach {
        let mut seen = self.seen.subscribe();
        let nth = nth(projection);
        let beyond = |reach: &Reach| {
            at.is_none_or(|at| at.generation != reach.generation || at.position < reach.position)
        };
        let moved = seen.wait_for(|seen| seen.reached.projections.get(nth).is_some_and(beyond));
        let moved = moved.await.map(|seen| seen.reached.projections[nth].clone());
        match moved {
            Ok(reach) => reach,
            // Nobody looks any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the projection has reached `position`, at most until `end`; `None` if nobody
    /// looks. Where the log itself is (`is_primary`), does not wait for what is not in it.
    pub(crate) async fn wait_for(
        &self,
        projection: &Projection,
        position: i64,
        (end, is_primary): (Instant, bool),
    ) -> Option<bool> {
        if position <= self.reach(projection)?.position {
            return Some(true);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(&self.waiting);
        let mut seen = self.seen.subscribe();
        // The look after the next began after this.
        let settled = seen.borrow().looks + 2;
        self.look_now.notify_one();
        let nth = nth(projection);
        let decided = seen.wait_for(|seen| {
            let there = |reach: &Reach| position <= reach.position;
            seen.reached.projections.get(nth).is_some_and(there)
                || (is_primary && settled <= seen.looks && seen.reached.head < position)
        });
        let reached = match timeout_at(end, decided).await {
            Ok(Ok(seen)) => position <= seen.reached.projections[nth].position,
            Ok(Err(_)) | Err(_) => false,
        };
        drop(waiting);
        Some(reached)
    }
}

fn nth(projection: &Projection) -> usize {
    let found = projections::ALL.iter().position(|other| other.name == projection.name);
    found.expect("every projection is in ALL")
}

/// The task.
pub(crate) struct Follower<'a> {
    pool: &'a PgPool,
    following: &'a Following,
    /// How far changes of each were taken in; `None` while nobody wants them.
    catalogue: Option<Reach>,
    orders: Option<Reach>,
    checkouts: Option<Reach>,
    /// Whether the cache wants changes of the catalogue.
    cached: bool,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(pool: &'a PgPool, following: &'a Following, cached: bool) -> Follower<'a> {
        Follower { pool, following, catalogue: None, orders: None, checkouts: None, cached }
    }

    /// Looks until `stop` says `true` or its sender is gone.
    pub(crate) async fn run(
        mut self,
        mut wakeups: watch::Receiver<i64>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut failed = false;
        while !*stop.borrow() {
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    if !failed {
                        tracing::warn!(%error, "cannot see how far the read models are");
                    }
                    // What it missed is not known.
                    self = Follower::new(self.pool, self.following, self.cached);
                    LOOK_AFTER_FAILURE
                }
            };
            failed = pause == LOOK_AFTER_FAILURE;
            let idle = pause == LOOK_IDLE;
            let woken = async {
                if !idle || wakeups.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = woken => {}
                () = self.following.look_now.notified(), if !failed => {}
                () = sleep(pause) => continue,
                stopped = stop.changed() => {
                    if stopped.is_err() {
                        return;
                    }
                }
            }
            sleep(LOOK_MIN).await;
        }
    }

    /// One look; returns how long to wait for the next.
    async fn look(&mut self) -> Result<Duration, sqlx::Error> {
        let reached = follow::reached(self.pool).await?;
        let Following { seen, feeds, waiting, .. } = self.following;
        let changed = self.changes(&reached).await?;
        let behind = reached.projections.iter().any(|reach| reach.position < reached.head);
        let mut moved = false;
        // After the cache knows of the changes: who is told this position gets no older answer.
        seen.send_modify(|seen| {
            moved = seen.reached != reached;
            *seen = Seen { reached, looks: seen.looks + 1, at: Some(Instant::now()) };
        });
        // After everybody can read them.
        match changed {
            Some(streams) => feeds.tell(&streams),
            None => feeds.tell_all(),
        }
        Ok(if 0 < waiting.load(Ordering::Acquire) {
            LOOK_WAITED_FOR
        } else if behind || moved {
            LOOK_BUSY
        } else {
            LOOK_IDLE
        })
    }

    /// Streams whose changes show since the last look; `None` if that may be any.
    async fn changes(&mut self, reached: &Reached) -> Result<Option<Vec<StreamKey>>, sqlx::Error> {
        let reach = |projection| reached.projections[nth(projection)].clone();
        let catalogue = reach(&catalog::PROJECTION);
        let orders = reach(&order::PROJECTION);
        let head = Reach { position: reached.head, ..Reach::default() };
        let live = self.following.feeds.any();
        let position = catalogue.position;
        let catalogue = window(
            self.pool,
            &mut self.catalogue,
            catalogue,
            (catalog::PROJECTION.categories, live || self.cached),
        );
        let catalogue = catalogue.await?;
        match &catalogue {
            Some(streams) => self.following.changes.note(position, streams),
            None => self.following.changes.forget(position),
        }
        let orders =
            window(self.pool, &mut self.orders, orders, (order::PROJECTION.categories, live))
                .await?;
        let checkouts = window(self.pool, &mut self.checkouts, head, (CHECKOUTS, live)).await?;
        let (Some(catalogue), Some(orders), Some(checkouts)) = (catalogue, orders, checkouts)
        else {
            return Ok(None);
        };
        Ok(Some([catalogue, orders, checkouts].concat()))
    }
}

/// Streams that changed since `last`, which becomes `now`. `None` if they are not known: nobody
/// wanted them before, they are too many, or rows changed without an event.
async fn window(
    pool: &PgPool,
    last: &mut Option<Reach>,
    now: Reach,
    (categories, wanted): (&[&str], bool),
) -> Result<Option<Vec<StreamKey>>, sqlx::Error> {
    let through = now.position;
    let generation = now.generation;
    // After a failure the next look begins anew.
    let before = last.take();
    if !wanted {
        return Ok(None);
    }
    let streams = match before {
        Some(before) if before.generation == generation && before.position <= through => {
            match through - before.position {
                0 => Some(Vec::new()),
                1..=WINDOW_MAX => {
                    let window = (before.position, through);
                    Some(follow::streams_changed(pool, window, categories).await?)
                }
                _ => None,
            }
        }
        _ => None,
    };
    *last = Some(now);
    Ok(streams)
}
