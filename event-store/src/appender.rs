//! Group commit: whatever queued up while the last call ran goes into the next one.
//!
//! One call at a time; what is submitted first is stored first. A worker exists only while there
//! is work, so the appender has no life of its own that would have to be started or ended.

mod batch;

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::append::{AppendError, append};
use crate::chain::Chain;
use crate::connection::Kept;
use crate::lookup::{self, Fate};
use crate::{Done, Refusal, StoreError, TRIES_MAX, Unit};
use batch::Batch;

/// Events one call takes, unless a single unit has more. A longer call is hardly cheaper per event
/// and everybody behind it waits longer.
const EVENTS_PER_CALL_MAX: usize = 500;

/// Bytes of payloads one call takes, unless a single unit has more: what a socket carries in about
/// 10 ms, so that one fat command does not hold up many small ones.
const BYTES_PER_CALL_MAX: usize = 4 * 1024 * 1024;

/// Times lost commands are looked up before their outcome is reported as unknown.
const LOOK_UPS_MAX: u32 = 5;

/// Wait before each look-up but the first: together 4 s, as long as a crashed server needs to
/// recover a short log.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// What became of a unit or a barrier.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The unit is stored.
    Done(Done),
    /// Everything before the barrier is stored, and this is where its stream stands.
    Reached { version: i64, position: i64 },
    /// Not sent, because a decision it rests on was not stored.
    Displaced,
    /// Not stored, for a reason of its own.
    Refused(Refusal),
    /// Not stored: its deadline passed, or the database did not do its part.
    Failed(StoreError),
}

/// Something that waits for its place in the log.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) chain: Arc<Chain>,
    /// `None` is a barrier: settled as soon as everything before it is.
    pub(crate) unit: Option<Unit>,
    pub(crate) deadline: Option<Instant>,
}

/// An entry and who waits for it.
#[derive(Debug)]
struct Waiting {
    entry: Entry,
    reply: Option<oneshot::Sender<Settled>>,
}

impl Waiting {
    fn settle(mut self, settled: Settled) {
        self.entry.chain.settle_one();
        if let Some(reply) = self.reply.take() {
            // The command's task may have panicked meanwhile; its unit is stored all the same.
            let _ = reply.send(settled);
        }
    }
}

impl Drop for Waiting {
    /// Dropped unsettled: the worker panicked. Whoever waits sees the reply closed.
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.entry.chain.break_off();
            self.entry.chain.settle_one();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether there is a worker, which looks at the queue again before it ends.
    at_work: bool,
    /// Kept between two workers.
    connection: Kept,
}

/// The one way from decisions into the log. Its queue is bounded by the commands in flight, each
/// of which has one entry at most.
#[derive(Debug)]
pub(crate) struct Appender {
    pool: PgPool,
    appended: Arc<watch::Sender<i64>>,
    queue: Mutex<Queue>,
}

impl Appender {
    /// `pool` says how to connect, and serves look-ups; appends have a connection of their own.
    pub(crate) fn new(pool: PgPool, appended: Arc<watch::Sender<i64>>) -> Arc<Appender> {
        Arc::new(Appender { pool, appended, queue: Mutex::default() })
    }

    /// Puts an entry into the queue. The receiver ends without a value if the worker panics.
    pub(crate) fn submit(self: &Arc<Self>, entry: Entry) -> oneshot::Receiver<Settled> {
        let (reply, settled) = oneshot::channel();
        entry.chain.add_outstanding();
        let worker = {
            let mut queue = self.queue();
            queue.waiting.push_back(Waiting { entry, reply: Some(reply) });
            let idle = !mem::replace(&mut queue.at_work, true);
            idle.then(|| {
                let connection = mem::take(&mut queue.connection);
                Worker { appender: Arc::clone(self), connection, ended: false }
            })
        };
        // Not under the lock: a runtime that is ending drops the worker on the spot, which takes it.
        if let Some(worker) = worker {
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the queue; each entry is waited for by a command that `drain` waits for"
            )]
            tokio::spawn(worker.run());
        }
        settled
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the log has reached `last`. Appends of several connections may end out of order.
pub(crate) fn announce(appended: &watch::Sender<i64>, last: i64) {
    appended.send_if_modified(|position| {
        let moved = *position < last;
        *position = last.max(*position);
        moved
    });
}

/// Empties the queue, call by call.
struct Worker {
    appender: Arc<Appender>,
    connection: Kept,
    /// Whether it found the queue empty.
    ended: bool,
}

impl Drop for Worker {
    /// After a panic, or with its runtime: the next entry gets another worker.
    fn drop(&mut self) {
        if !self.ended {
            let mut queue = self.appender.queue();
            queue.at_work = false;
            let unsettled = mem::take(&mut queue.waiting);
            drop(queue);
            drop(unsettled);
        }
    }
}

impl Worker {
    async fn run(mut self) {
        while let Some(mut batch) = self.next() {
            self.store(&mut batch).await;
            fail::fail_point!("engine::before-reply");
            if let Some(last) = batch.settle() {
                announce(&self.appender.appended, last);
            }
        }
    }

    /// What fits into one call; `None` ends the worker.
    fn next(&mut self) -> Option<Batch> {
        let mut queue = self.appender.queue();
        let batch = Batch::take(&mut queue.waiting);
        if batch.is_none() {
            queue.at_work = false;
            self.ended = true;
            queue.connection = mem::take(&mut self.connection);
        }
        batch
    }

    /// Gives every unit of the batch its verdict: tries to store all of them; whatever speaks
    /// against some takes those out, and those that rest on them, and leaves the others to the
    /// next try.
    async fn store(&mut self, batch: &mut Batch) {
        batch.drop_late(Instant::now());
        // How a connection died in an append of which nothing is known yet.
        let mut lost = None;
        let mut losses = 0;
        while let Some(units) = batch.units() {
            fail::fail_point!("engine::before-append");
            let result = match self.connection.open(&self.appender.pool).await {
                Ok(connection) => append(connection, &units).await,
                Err(error) => Err(AppendError::Store(error.into())),
            };
            let count = units.len();
            match result {
                Ok(done) => {
                    fail::fail_point!("engine::after-append");
                    return batch.stored(done);
                }
                // What was lost has come after all: it was all or nothing.
                Err(AppendError::Refused(losers))
                    if lost.is_some()
                        && losers.len() == count
                        && losers.iter().all(|loser| loser.why == Refusal::Repeated) => {}
                Err(AppendError::Refused(losers)) => {
                    // Should a lost append still come, it is refused as this one was; unless it was
                    // for a key, which may be let go in between.
                    if losers.iter().any(|loser| !matches!(loser.why, Refusal::KeyTaken { .. })) {
                        lost = None;
                    }
                    batch.refused(losers);
                    continue;
                }
                Err(AppendError::Ambiguous(error)) => {
                    tracing::warn!(%error, units = count, "connection lost in an append");
                    self.connection.give_up();
                    lost = Some(Arc::new(error));
                }
                Err(AppendError::Store(error)) => {
                    self.connection.give_up();
                    return batch.failed(&lost.map_or(error, StoreError::OutcomeUnknown));
                }
            }
            losses += 1;
            let found = look_up(&self.appender.pool, &units).await;
            let cause = lost.clone().expect("set above, or seen by the guard");
            match found {
                Ok(fates) if losses < TRIES_MAX || fates.iter().all(Option::is_some) => {
                    batch.found(fates);
                }
                _ => return batch.failed(&StoreError::OutcomeUnknown(cause)),
            }
        }
    }
}

/// What became of the units; asked again while the database is away.
async fn look_up(pool: &PgPool, units: &[&Unit]) -> Result<Vec<Option<Fate>>, StoreError> {
    let mut look_ups = 1;
    loop {
        match lookup::fates(pool, units).await {
            Ok(fates) => return Ok(fates),
            Err(error) if look_ups == LOOK_UPS_MAX => return Err(error),
            Err(error) => tracing::warn!(?error, look_ups, "cannot look up lost commands"),
        }
        look_ups += 1;
        sleep(LOOK_UP_PAUSE).await;
    }
}
