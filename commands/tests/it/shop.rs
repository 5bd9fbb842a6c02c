//! A store with a still clock.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use commands::{Ctx, Intent};
use domain::catalog::{NewProduct, NewVariant};
use event_schemas::{
    ids::{ActorId, CommandId, StoreId, VariantId},
    metadata::{Actor, ActorKind},
    money::{Currency, Money},
};

use crate::db::{Db, new_id};

pub(crate) struct Shop {
    pub(crate) ctx: Ctx,
    pub(crate) store_id: StoreId,
    /// Dropped last: the database goes with it.
    _db: Db,
}

impl Shop {
    pub(crate) async fn new() -> Shop {
        let db = Db::new().await;
        let now = Arc::new(noon);
        let ctx = Ctx { engine: db.engine(), now, new_id };
        Shop { ctx, store_id: StoreId::of_slug("demo"), _db: db }
    }

    /// A new request.
    pub(crate) fn intent(&self) -> Intent {
        Intent {
            store_id: self.store_id,
            actor: Actor { kind: ActorKind::User, id: ActorId::derive(&[b"clerk"]) },
            command_id: CommandId(new_id()),
            fingerprint: [1; 32],
            correlation_id: "test".to_owned(),
            request_id: None,
            expected: None,
            at: self.ctx.now(),
            priority: commands::Priority::Normal,
            deadline: None,
        }
    }
}

pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::hours(12)
}

/// One box of truffles, priced.
pub(crate) fn truffles(variant_id: VariantId, sku: &str) -> NewProduct {
    let variant = NewVariant {
        variant_id,
        sku: Some(sku.to_owned()),
        barcode: None,
        option_values: vec![],
        weight_g: Some(310),
        price: Some(Money { amount_minor: 1495, currency: Currency::GBP }),
        compare_at: None,
    };
    NewProduct {
        handle: format!("truffles-{}", sku.to_lowercase()),
        title: "Truffles".to_owned(),
        variants: vec![variant],
        ..NewProduct::default()
    }
}
