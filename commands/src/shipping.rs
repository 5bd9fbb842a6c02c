//! The shipping profile of a store.

use domain::shipping::ShippingCommand;
pub use domain::shipping::{Parcel, ShippingError, ShippingProfile};
use event_schemas::{ids::StoreId, shipping::ShippingZone, upcast};
use event_store::{Done, Kind, Loaded, StoreError};

use crate::{CommandError, Ctx, Intent, run};

/// How the engine reads shipping profiles. A store has one, under its own id.
pub static SHIPPING_PROFILE: Kind<ShippingProfile> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

/// Makes these the zones of the store.
pub async fn define(
    ctx: &Ctx,
    intent: &Intent,
    zones: Vec<ShippingZone>,
) -> Result<Done, CommandError<ShippingError>> {
    let command = ShippingCommand::Define { zones, at: intent.at };
    run(ctx, &SHIPPING_PROFILE, intent.store_id.0, intent, command).await
}

/// The profile as it is now; version 0 if the store has none.
pub async fn load(ctx: &Ctx, store_id: StoreId) -> Result<Loaded<ShippingProfile>, StoreError> {
    ctx.engine.load(&SHIPPING_PROFILE, store_id.0, store_id.0).await
}
