//! The store itself: how it does business.

pub use domain::store::{
    HOLD_MINUTES, HOLD_MINUTES_MAX, HOLD_MINUTES_MIN, Policies, Store, StoreCommand, StoreError,
};
use event_schemas::{ids::StoreId, upcast};
use event_store::{Done, Kind, Loaded, StoreError as LogError};

use crate::{CommandError, Ctx, Intent, run};

/// How the engine reads stores. They have no names of their own here.
pub static STORE: Kind<Store> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

/// Does business so from now on. What is under way goes on as it began.
pub async fn set_policies(
    ctx: &Ctx,
    intent: &Intent,
    policies: Policies,
) -> Result<Done, CommandError<StoreError>> {
    let command = StoreCommand::SetPolicies { policies, at: intent.at };
    run(ctx, &STORE, intent.store_id.0, intent, command).await
}

/// The store as it is now; version 0 if it never changed a policy. One round trip, shared with
/// others who load at the same time.
pub async fn load(ctx: &Ctx, store_id: StoreId) -> Result<Loaded<Store>, LogError> {
    ctx.engine.load(&STORE, store_id.0, store_id.0).await
}
