//! Products through the engine.

use commands::{
    CommandError, Intent,
    catalog::{
        FoundVariant, archive, create, find_by_handle, find_by_sku, find_variant, new_product_id,
        new_variant_id, publish,
    },
};
use domain::catalog::{NotSellable, ProductError};
use event_schemas::ids::{ProductId, StoreId};

use crate::shop::{Shop, truffles};

async fn make(
    shop: &Shop,
    intent: &Intent,
    sku: &str,
) -> Result<ProductId, CommandError<ProductError>> {
    let id = new_product_id(intent);
    let product = truffles(new_variant_id(intent, 0), sku);
    create(&shop.ctx, intent, id, product).await.map(|_| id)
}

#[tokio::test]
async fn a_variant_is_found_by_id_sku_and_handle() {
    let shop = Shop::new().await;
    let intent = shop.intent();
    let id = make(&shop, &intent, "A1").await.unwrap();
    publish(&shop.ctx, &shop.intent(), id).await.unwrap();

    let variant_id = new_variant_id(&intent, 0);
    let found = find_variant(&shop.ctx, shop.store_id, variant_id).await.unwrap().unwrap();
    assert_eq!((found.product_id, found.variant_id, found.product_version), (id, variant_id, 4));
    assert_eq!(found.offer.price.unwrap().amount_minor, 1495);
    assert_eq!(find_by_sku(&shop.ctx, shop.store_id, "A1").await.unwrap(), Some(found));
    let by_handle = find_by_handle(&shop.ctx, shop.store_id, "truffles-a1").await.unwrap();
    assert_eq!(by_handle, Some(id));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_nothing_of_another_store_is() {
    let shop = Shop::new().await;
    let intent = shop.intent();
    make(&shop, &intent, "A1").await.unwrap();

    let variant_id = new_variant_id(&intent, 0);
    let elsewhere = StoreId::of_slug("elsewhere");
    assert!(find_variant(&shop.ctx, shop.store_id, variant_id).await.unwrap().is_some());
    assert_eq!(find_variant(&shop.ctx, elsewhere, variant_id).await.unwrap(), None);
    assert_eq!(find_by_sku(&shop.ctx, elsewhere, "A1").await.unwrap(), None);
    assert_eq!(find_by_sku(&shop.ctx, shop.store_id, "A2").await.unwrap(), None);
    assert_eq!(find_by_handle(&shop.ctx, elsewhere, "truffles-a1").await.unwrap(), None);
}

#[tokio::test]
async fn the_same_request_makes_one_product() {
    let shop = Shop::new().await;
    let intent = shop.intent();
    let first = make(&shop, &intent, "A1").await.unwrap();
    let id = new_product_id(&intent);
    let product = truffles(new_variant_id(&intent, 0), "A1");
    let again = create(&shop.ctx, &intent, id, product).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.id, again.version), (first.0, 3));
}

#[tokio::test]
async fn names_are_taken_once_per_store_and_stay_taken() {
    let shop = Shop::new().await;
    let id = make(&shop, &shop.intent(), "A1").await.unwrap();
    archive(&shop.ctx, &shop.intent(), id).await.unwrap();

    let intent = shop.intent();
    let mut other = truffles(new_variant_id(&intent, 0), "A1");
    other.handle = "other".to_owned();
    let taken = create(&shop.ctx, &intent, new_product_id(&intent), other).await;
    let Err(CommandError::Taken { scope, key }) = taken else { panic!("{taken:?}") };
    assert_eq!((scope.as_str(), key.as_str()), ("sku", "A1"));

    let intent = shop.intent();
    let mut other = truffles(new_variant_id(&intent, 0), "B1");
    other.handle = "truffles-a1".to_owned();
    let taken = create(&shop.ctx, &intent, new_product_id(&intent), other).await;
    let Err(CommandError::Taken { scope, key }) = taken else { panic!("{taken:?}") };
    assert_eq!((scope.as_str(), key.as_str()), ("handle", "truffles-a1"));

    let found = find_by_sku(&shop.ctx, shop.store_id, "A1").await.unwrap();
    let price = found.map(|FoundVariant { offer, .. }| offer.price);
    assert_eq!(price, Some(Err(NotSellable::Archived)));
}

#[tokio::test]
async fn the_largest_product_there_may_be_is_stored() {
    let shop = Shop::new().await;
    let intent = shop.intent();
    let template = truffles(new_variant_id(&intent, 0), "A1");
    let variant = |index: usize| {
        let mut variant = template.variants[0].clone();
        variant.variant_id = new_variant_id(&intent, index);
        variant.sku = Some(format!("{index:0255}"));
        variant.option_values =
            ["\"", "\\", "é"].map(|c| format!("{index}{}", c.repeat(250))).to_vec();
        variant
    };
    let product = domain::catalog::NewProduct {
        description: "\"".repeat(domain::catalog::DESCRIPTION_BYTES_MAX / 2),
        tags: (0..125).map(|n| format!("{n:0250}")).collect(),
        options: ["a", "b", "c"].map(|c| c.repeat(255)).to_vec(),
        variants: (0..domain::catalog::NEW_VARIANTS_MAX).map(variant).collect(),
        ..template.clone()
    };
    let id = new_product_id(&intent);
    create(&shop.ctx, &intent, id, product).await.unwrap();

    let details = domain::catalog::NewDetails {
        description: Some("\\".repeat(domain::catalog::DESCRIPTION_BYTES_MAX / 2)),
        tags: Some((125..250).map(|n| format!("{n:0250}")).collect()),
        ..Default::default()
    };
    commands::catalog::describe(&shop.ctx, &shop.intent(), id, details).await.unwrap();
}
