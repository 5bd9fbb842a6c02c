//! The tax policy of a store.

use domain::tax::TaxCommand;
pub use domain::tax::{NewTaxPolicy, NewTaxRate, NewTaxZone, TaxError, TaxPolicy, TaxZone};
use event_schemas::{ids::StoreId, upcast};
use event_store::{Done, Kind, Loaded, StoreError};

use crate::{CommandError, Ctx, Intent, run};

/// How the engine reads tax policies. A store has one, under its own id.
pub static TAX_POLICY: Kind<TaxPolicy> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

/// Makes the policy what is given. Rates are added, and never changed for the past.
pub async fn define(
    ctx: &Ctx,
    intent: &Intent,
    policy: NewTaxPolicy,
) -> Result<Done, CommandError<TaxError>> {
    let command = TaxCommand::Define { policy: Box::new(policy), at: intent.at };
    run(ctx, &TAX_POLICY, intent.store_id.0, intent, command).await
}

/// The policy as it is now; version 0 if the store has none.
pub async fn load(ctx: &Ctx, store_id: StoreId) -> Result<Loaded<TaxPolicy>, StoreError> {
    ctx.engine.load(&TAX_POLICY, store_id.0, store_id.0).await
}
