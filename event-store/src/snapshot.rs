//! Snapshots of long streams. A cache in the database: nothing is lost with it, and what is wrong
//! with one only costs the replay it would have saved.

use cqrs_es::Aggregate;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use crate::{Kind, StoreError, StreamKey};

/// Events after which a stream's state is kept again: a replay that takes some milliseconds. Few
/// where the program is killed on purpose, so that it dies over snapshots too.
pub const SNAPSHOT_EVERY: i64 = if cfg!(feature = "failpoints") { 20 } else { 500 };

/// Bytes of a state that is kept. Above this, reading it would cost more than it saves.
const SNAPSHOT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A row of `log.snapshots`.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) version: i64,
    pub(crate) position: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) state: Vec<u8>,
}

/// A state that waits for its last event to be stored.
#[derive(Debug)]
pub(crate) struct Draft {
    version: i64,
    digest: [u8; 32],
    state: Vec<u8>,
}

impl Draft {
    /// `None` if the state is too large, or does not serialise.
    pub(crate) fn of<A: Aggregate>(
        kind: &Kind<A>,
        key: &StreamKey,
        version: i64,
        state: &A,
    ) -> Option<Draft> {
        let state = serde_json::to_vec(state).inspect_err(|error| {
            tracing::error!(%error, category = key.category, "a state does not serialise");
        });
        let state = state.ok().filter(|state| state.len() <= SNAPSHOT_BYTES_MAX)?;
        Some(Draft { version, digest: digest(kind.schema, key, version, &state), state })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state.len()
    }

    /// Keeps it. `position` is that of the event the state ends with.
    pub(crate) async fn save(
        self,
        pool: &PgPool,
        key: &StreamKey,
        position: i64,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "SELECT log.save_snapshot($1, $2, $3, $4, $5, $6, $7)",
            key.store_id,
            key.category,
            key.id,
            self.version,
            position,
            &self.digest[..],
            self.state
        )
        .execute(pool)
        .await?;
        Ok(())
    }
}

impl Stored {
    /// The state, if it was written under this schema, for this stream, and is whole.
    pub(crate) fn state<A: Aggregate>(&self, kind: &Kind<A>, key: &StreamKey) -> Option<A> {
        let fits = self.digest == digest(kind.schema, key, self.version, &self.state);
        fits.then(|| serde_json::from_slice(&self.state).ok()).flatten()
    }
}

/// What a snapshot is known by. Texts end with a zero byte, which neither contains.
fn digest(schema: &str, key: &StreamKey, version: i64, state: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(schema);
    hasher.update([0]);
    hasher.update(key.store_id);
    hasher.update(key.category);
    hasher.update([0]);
    hasher.update(key.id);
    hasher.update(version.to_be_bytes());
    hasher.update(state);
    hasher.finalize().into()
}
