//! A connection that one worker keeps to itself, and how long it waits for the server.

use std::io;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, timeout};

use crate::pool::{ACQUIRE_TIMEOUT, CONNECTION_LIFETIME_MAX};

/// How long a worker waits for an answer. A server that is there gives one sooner, if only that
/// `statement_timeout` has passed. One that lost its power, or whose cable was cut, says nothing,
/// and the driver by itself would wait for it for ever, and everybody behind the worker with it.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Ends a call that is not answered within [`ANSWER_WAIT_MAX`]. Its connection is of no use then.
pub(crate) async fn in_time<T>(
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(ANSWER_WAIT_MAX, call).await
}

/// Ends a call that is not answered within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silent = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into());
    timeout(limit, call).await.unwrap_or_else(silent)
}

/// Not from the pool: it never waits for one to come free, and saves the round trips with which a
/// pool makes sure that a stranger's transaction has ended.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<(PgConnection, Instant)>);

impl Kept {
    /// The connection; made with the options of `pool` if there is none, or none young enough.
    pub(crate) async fn open(&mut self, pool: &PgPool) -> Result<&mut PgConnection, sqlx::Error> {
        let young = |since: &Instant| since.elapsed() <= CONNECTION_LIFETIME_MAX;
        let kept = match self.0.take() {
            Some(kept) if young(&kept.1) => kept,
            old => {
                if let Some((old, _)) = old {
                    // It would be replaced whether it closes well or not.
                    let _ = old.close().await;
                }
                let options = pool.connect_options();
                let connection = PgConnection::connect_with(&options);
                (within(ACQUIRE_TIMEOUT, connection).await?, Instant::now())
            }
        };
        Ok(&mut self.0.insert(kept).0)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// After an error: the next use makes a new one.
    pub(crate) fn give_up(&mut self) {
        self.0 = None;
    }
}
