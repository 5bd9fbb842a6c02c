//! Wake-ups between processes: what one appends, the others hear of within milliseconds.
//!
//! A NOTIFY on one channel, sent after the append and on a connection of its own: inside the append
//! it would hold a lock of the whole server to the end of the commit. It carries the last position
//! and is a hint and nothing more. Whoever misses one finds the events by looking, 250 ms later.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::sleep;

use crate::appender::announce;
use crate::connection::{Kept, within};
use crate::pool::ACQUIRE_TIMEOUT;
use crate::{Engine, StoreError, read};

/// The channel. Its payload is a position in decimal digits.
const CHANNEL: &str = "conche_log";

/// Shortest time between two notifications of one process: what is appended in between shares one,
/// so that 200 a second is the most, and all of them together a hundredth of a core.
const NOTIFY_EVERY: Duration = Duration::from_millis(5);

/// How often the head of the log is looked at, in case a notification was missed: how late an append
/// shows then. One probe of one row.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After so many looks the listener must have heard what the first of them saw. Otherwise its
/// connection is dead, which it cannot notice itself: it never sends anything.
const DEAF_AFTER_LOOKS: u32 = 40;

/// First pause after a connection was lost; doubles up to [`RECONNECT_MAX`].
const RECONNECT_MIN: Duration = Duration::from_millis(100);

/// Longest pause before another connection is tried.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Tells other processes what the engine's process appends, and wakes this one
/// ([`Engine::appended`]) for what they append, until `shutdown` says `true` or its sender is gone.
///
/// One per process. `pool` is one of [`crate::pool::Role::Process`] with one connection, which
/// listens; another is opened beside it. Nothing depends on either: while they are away, the log is
/// looked at.
pub async fn run(engine: Engine, pool: PgPool, mut shutdown: watch::Receiver<bool>) {
    let wakeups = Wakeups {
        engine,
        pool,
        connection: Mutex::default(),
        heard: AtomicI64::new(0),
        deaf: Notify::new(),
    };
    tokio::select! {
        () = wakeups.tell() => {}
        () = wakeups.hear() => {}
        () = wakeups.look() => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

struct Wakeups {
    engine: Engine,
    pool: PgPool,
    /// Notifies and looks.
    connection: Mutex<Kept>,
    /// The last position that came by notification, our own included.
    heard: AtomicI64,
    /// The listener should connect anew.
    deaf: Notify,
}

impl Wakeups {
    /// Never ends.
    async fn tell(&self) {
        let mut appended = self.engine.appended();
        let mut pause = RECONNECT_MIN;
        loop {
            if appended.changed().await.is_err() {
                return std::future::pending().await;
            }
            let position = *appended.borrow_and_update();
            // Positions are visible in their order: whoever heard of this one knows all before.
            if position <= self.heard.load(Ordering::Relaxed) {
                continue;
            }
            match self.notify(position).await {
                Ok(()) => {
                    pause = RECONNECT_MIN;
                    sleep(NOTIFY_EVERY).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "not notified; the others look for themselves");
                    sleep(pause).await;
                    pause = RECONNECT_MAX.min(pause * 2);
                }
            }
        }
    }

    async fn notify(&self, position: i64) -> Result<(), sqlx::Error> {
        let mut kept = self.connection.lock().await;
        let connection = kept.open(&self.pool).await?;
        let notify =
            sqlx::query!("SELECT pg_notify($1, $2) AS done", CHANNEL, position.to_string());
        let notified = within(ACQUIRE_TIMEOUT, notify.execute(connection)).await;
        if notified.is_err() {
            kept.give_up();
        }
        notified.map(drop)
    }

    /// Never ends.
    async fn hear(&self) {
        let mut pause = RECONNECT_MIN;
        loop {
            match self.listen().await {
                Ok(listener) => {
                    pause = RECONNECT_MIN;
                    tokio::select! {
                        () = self.attend(listener) => {}
                        () = self.deaf.notified() => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "not listening; the log is looked at"),
            }
            sleep(pause).await;
            pause = RECONNECT_MAX.min(pause * 2);
        }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.eager_reconnect(false);
        within(ACQUIRE_TIMEOUT, listener.listen(CHANNEL)).await?;
        Ok(listener)
    }

    /// Until the connection is lost.
    async fn attend(&self, mut listener: PgListener) {
        while let Ok(Some(notification)) = listener.try_recv().await {
            // Others may use the channel for something else, and anybody may name any position: the
            // log says how far it is. What this process appended it knows.
            let named: i64 = notification.payload().parse().unwrap_or_default();
            let known = *self.engine.appended_by_anyone().borrow();
            let position = if named <= known { named } else { self.head().await.unwrap_or(known) };
            self.heard.fetch_max(position, Ordering::Relaxed);
            announce(self.engine.appended_by_anyone(), position);
        }
    }

    /// Never ends.
    async fn look(&self) {
        let mut looks = 0;
        let mut must_be_heard = 0;
        loop {
            sleep(LOOK_EVERY).await;
            let Ok(head) = self.head().await else { continue };
            announce(self.engine.appended_by_anyone(), head);
            looks += 1;
            if looks == DEAF_AFTER_LOOKS {
                if self.heard.load(Ordering::Relaxed) < must_be_heard {
                    self.deaf.notify_one();
                }
                (looks, must_be_heard) = (0, head);
            }
        }
    }

    async fn head(&self) -> Result<i64, StoreError> {
        let mut kept = self.connection.lock().await;
        let connection = kept.open(&self.pool).await?;
        let head = within(ACQUIRE_TIMEOUT, async { Ok(read::head(connection).await) }).await;
        let head = head.map_err(StoreError::from).flatten();
        if head.is_err() {
            kept.give_up();
        }
        head
    }
}
