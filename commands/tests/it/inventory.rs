//! Stock through the engine.

use chrono::Duration;
use commands::{
    CommandError,
    catalog::{create, new_product_id, new_variant_id},
    inventory::{NewHold, adjust, level, receive, reserve},
};
use domain::inventory::{Correction, Receipt, StockItemError};
use event_schemas::{
    ids::{CheckoutId, StoreId, VariantId},
    inventory::StockSource,
};

use crate::{
    db::new_id,
    shop::{Shop, noon, truffles},
};

async fn variant(shop: &Shop) -> VariantId {
    let intent = shop.intent();
    let variant_id = new_variant_id(&intent, 0);
    let product = truffles(variant_id, "A1");
    create(&shop.ctx, &intent, new_product_id(&intent), product).await.unwrap();
    variant_id
}

fn receipt(quantity: u32) -> Receipt {
    let source = StockSource::Purchase;
    Receipt { location: "main".into(), quantity, source, unit_cost: None, reference: None }
}

fn correction() -> Correction {
    let (location, reason) = ("main".to_owned(), "counted".to_owned());
    Correction { location, delta: 1, reason, reference: None, expected_on_hand: None }
}

#[tokio::test]
async fn a_variant_nobody_sells_has_no_stock() {
    let shop = Shop::new().await;
    let known = variant(&shop).await;
    let unknown = VariantId(new_id());
    let unknown_variant =
        |result| matches!(result, Err(CommandError::Rejected(StockItemError::UnknownVariant)));
    let received = receive(&shop.ctx, &shop.intent(), unknown, receipt(1)).await;
    assert!(unknown_variant(received));
    assert!(unknown_variant(adjust(&shop.ctx, &shop.intent(), unknown, correction()).await));
    let mut elsewhere = shop.intent();
    elsewhere.store_id = StoreId::of_slug("elsewhere");
    assert!(unknown_variant(receive(&shop.ctx, &elsewhere, known, receipt(1)).await));
    assert!(receive(&shop.ctx, &shop.intent(), known, receipt(1)).await.is_ok());
    assert!(adjust(&shop.ctx, &shop.intent(), known, correction()).await.is_ok());
}

#[tokio::test]
async fn a_delivery_sent_twice_arrives_once() {
    let shop = Shop::new().await;
    let variant_id = variant(&shop).await;
    let intent = shop.intent();
    receive(&shop.ctx, &intent, variant_id, receipt(10)).await.unwrap();
    let again = receive(&shop.ctx, &intent, variant_id, receipt(10)).await.unwrap();
    assert!(again.replayed);
    let (item, version) = level(&shop.ctx, shop.store_id, variant_id).await.unwrap();
    assert_eq!((item.available(noon()), version), (10, 1));
}

#[tokio::test]
async fn fifty_buyers_at_once_get_ten_units() {
    let shop = Shop::new().await;
    let variant_id = variant(&shop).await;
    receive(&shop.ctx, &shop.intent(), variant_id, receipt(10)).await.unwrap();
    let mut buyers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (ctx, intent) = (shop.ctx.clone(), shop.intent());
        buyers.spawn(async move {
            let until = noon() + Duration::minutes(15);
            let new = NewHold { reservation_id: CheckoutId(new_id()), quantity: 1, until };
            reserve(&ctx, &intent, variant_id, new).await
        });
    }
    let results = buyers.join_all().await;
    let held = results.iter().filter(|result| result.is_ok()).count();
    let sold_out = |error: &StockItemError| {
        matches!(error, StockItemError::InsufficientStock { requested: 1, available: 0 })
    };
    let refused = results
        .iter()
        .filter(|result| matches!(result, Err(CommandError::Rejected(error)) if sold_out(error)))
        .count();
    assert_eq!((held, refused), (10, 40));
    let (item, _) = level(&shop.ctx, shop.store_id, variant_id).await.unwrap();
    assert_eq!(item.available(noon()), 0);
    assert_eq!(item.available(noon() + Duration::minutes(15)), 10);
}
