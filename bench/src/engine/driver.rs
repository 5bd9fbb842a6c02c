//! The engine as the program sets it up, without HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use commands::Ctx;
use conche::{database::Database, roles};
use event_store::{Done, ExecuteError, Request, StoreError};
use uuid::Uuid;

use crate::account::{ACCOUNT, Texts};

/// An engine with a pool of its own. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Driver {
    ctx: Ctx,
    store_id: Uuid,
    texts: Texts,
    metadata: Arc<[u8]>,
    answered: Arc<AtomicU64>,
}

impl Driver {
    /// With the pool, the bounds and the ids of the program itself.
    pub(super) async fn new(database: &Database, texts: &Texts) -> anyhow::Result<Driver> {
        let ctx = roles::ctx(database).await?;
        Ok(Driver {
            store_id: (ctx.new_id)(),
            ctx,
            texts: texts.clone(),
            metadata: texts.metadata().into(),
            answered: Arc::default(),
        })
    }

    /// One command.
    pub(super) async fn deposit(&self, id: Uuid, turn: u64) -> anyhow::Result<Done> {
        Ok(self.try_deposit(id, turn).await?)
    }

    /// One command; `None` if the engine was too busy for it.
    pub(super) async fn offer(&self, id: Uuid, turn: u64) -> anyhow::Result<Option<Done>> {
        match self.try_deposit(id, turn).await {
            Err(ExecuteError::Store(StoreError::Busy)) => Ok(None),
            answer => Ok(Some(answer?)),
        }
    }

    async fn try_deposit(
        &self,
        id: Uuid,
        turn: u64,
    ) -> Result<Done, ExecuteError<std::convert::Infallible>> {
        let command_id = self.new_id();
        let mut fingerprint = [0; 32];
        fingerprint[..16].copy_from_slice(command_id.as_bytes());
        let request = Request {
            store_id: self.store_id,
            id,
            command: self.texts.deposit(turn),
            command_id,
            fingerprint,
            expected: None,
            metadata: self.metadata.to_vec(),
            priority: commands::Priority::Normal,
            deadline: None,
        };
        let done = self.ctx.engine.execute(&ACCOUNT, request).await?;
        self.answered.fetch_add(1, Relaxed);
        Ok(done)
    }

    pub(super) fn new_id(&self) -> Uuid {
        (self.ctx.new_id)()
    }

    /// Commands answered with success so far.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Lets everything in flight end, then hangs up.
    pub(super) async fn close(self) {
        self.ctx.engine.drain().await;
        self.ctx.engine.pool().close().await;
    }
}
