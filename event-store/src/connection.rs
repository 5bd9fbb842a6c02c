//! A connection that one worker keeps to itself.

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;

use crate::pool::CONNECTION_LIFETIME_MAX;

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
                (PgConnection::connect_with(&pool.connect_options()).await?, Instant::now())
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
