//! The catalogue: from events of products and stock to lists and availability.

use chrono::DateTime;
use event_schemas::{
    catalog::{
        Change, PriceSet, ProductArchived, ProductCreated, ProductDetailsChanged, ProductEvent,
        ProductPublished, VariantAdded,
    },
    inventory::{
        PlaceChoice, ReleaseCause, StockAdjusted, StockAllocated, StockDeallocated, StockItemEvent,
        StockReceived, StockReservationExtended, StockReservationReleased, StockReserved,
        StockSource,
    },
};
use projections::{
    as_store,
    catalog::{
        documents::{self, ProductDocument},
        products::{self, ProductsFrom},
        stock::{self, StockLevel},
        variants,
    },
};

use crate::shop::{STORE, Shop, checkout, day, gbp, order, product, units, variant};

pub(crate) fn created(handle: &str, title: &str, tags: &[&str], at: u64) -> ProductEvent {
    ProductEvent::Created(ProductCreated {
        handle: handle.to_owned(),
        title: title.to_owned(),
        description: "<p>Good.</p>".to_owned(),
        vendor: "Conche".to_owned(),
        product_type: "Bar".to_owned(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        options: vec!["Size".to_owned()],
        at: day(at),
    })
}

pub(crate) fn renamed(title: &str) -> ProductEvent {
    ProductEvent::DetailsChanged(ProductDetailsChanged {
        title: Some(Change { from: String::new(), to: title.to_owned() }),
        at: day(4),
        ..ProductDetailsChanged::default()
    })
}

pub(crate) fn variant_added(n: u128, sku: &str) -> ProductEvent {
    ProductEvent::VariantAdded(VariantAdded {
        variant_id: variant(n),
        sku: Some(sku.to_owned()),
        barcode: None,
        title: "70 g".to_owned(),
        option_values: vec!["70 g".to_owned()],
        weight_g: Some(70),
        at: day(0),
    })
}

pub(crate) fn price_set(n: u128, minor: i64, compare_at: Option<i64>) -> ProductEvent {
    ProductEvent::PriceSet(PriceSet {
        variant_id: variant(n),
        price: gbp(minor),
        compare_at: compare_at.map(gbp),
        at: day(0),
    })
}

pub(crate) fn received(location: &str, quantity: u32) -> StockItemEvent {
    StockItemEvent::Received(StockReceived {
        location: location.to_owned(),
        quantity,
        source: StockSource::Purchase,
        unit_cost: None,
        reference: None,
        at: day(0),
    })
}

async fn titles(shop: &Shop, status: Option<&str>) -> Vec<String> {
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = products::newest(&mut tx, STORE, status, &ProductsFrom::Start, 100).await.unwrap();
    found.into_iter().map(|product| product.title).collect()
}

async fn three_products(shop: &Shop) {
    let append = |n, events| async move {
        shop.append(STORE, ("product", product(n).0), events).await;
    };
    let published = || ProductEvent::Published(ProductPublished { at: day(3) });
    let dark = [
        created("dark-70", "dark Chocolate Bar 70%", &["Vegan", "gift"], 0),
        variant_added(1, "BAR-70"),
        price_set(1, 300, None),
        price_set(1, 250, Some(300)),
        published(),
    ];
    append(1, &dark).await;
    let milk = [
        created("milk", "Milk bar", &["gift"], 1),
        variant_added(2, "BAR-40"),
        variant_added(3, "BAR-40-XL"),
        price_set(3, 900, None),
    ];
    append(2, &milk).await;
    let boxed = [
        created("praline", "Praline", &[], 2),
        renamed("Éclair box"),
        ProductEvent::Archived(ProductArchived { at: day(5) }),
    ];
    append(3, &boxed).await;
    shop.project().await;
}

#[tokio::test]
async fn products_show_as_they_are_now() {
    let shop = Shop::new().await;
    three_products(&shop).await;

    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let dark = products::get(&mut tx, STORE, product(1).0).await.unwrap().unwrap();
    assert_eq!((dark.status.as_str(), dark.published_at), ("active", Some(day(3))));
    assert_eq!((dark.version, dark.created_at), (5, day(0)));
    let boxed = products::get_by_handle(&mut tx, STORE, "praline").await.unwrap().unwrap();
    assert_eq!((boxed.title.as_str(), boxed.status.as_str()), ("Éclair box", "archived"));
    assert_eq!(products::get_by_handle(&mut tx, STORE, "none").await.unwrap(), None);

    let ids = [product(1).0, product(2).0];
    let variants = variants::of_products(&mut tx, STORE, &ids).await.unwrap();
    let shown: Vec<_> = variants
        .iter()
        .map(|v| (v.sku.as_deref().unwrap(), v.price_minor, v.compare_at_minor, v.position))
        .collect();
    assert_eq!(
        shown,
        [
            ("BAR-70", Some(250), Some(300), 1),
            ("BAR-40", None, None, 1),
            ("BAR-40-XL", Some(900), None, 2)
        ]
    );
}

#[tokio::test]
async fn products_are_listed_newest_first_and_by_status() {
    let shop = Shop::new().await;
    three_products(&shop).await;
    let dark = "dark Chocolate Bar 70%";
    assert_eq!(titles(&shop, None).await, ["Éclair box", "Milk bar", dark]);
    assert_eq!(titles(&shop, Some("active")).await, [dark]);
    assert_eq!(titles(&shop, Some("archived")).await, ["Éclair box"]);
    assert_eq!(titles(&shop, Some("none")).await, [""; 0]);

    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let ids = [product(2).0, product(9).0, product(1).0];
    let found = products::of_ids(&mut tx, STORE, &ids).await.unwrap();
    let found: Vec<_> = found.iter().map(|product| product.title.as_str()).collect();
    assert_eq!(found, ["Milk bar", dark], "as asked for, without what is not there");
}

#[tokio::test]
async fn pages_meet_without_gap_or_overlap_in_both_directions() {
    let shop = Shop::new().await;
    for n in 0..7 {
        let event = created(&format!("p{n}"), &format!("Bar {}", n % 3), &[], u64::from(n == 6));
        shop.append(STORE, ("product", product(n).0), &[event]).await;
    }
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let mut page =
        async |from: ProductsFrom| products::newest(&mut tx, STORE, None, &from, 3).await.unwrap();
    let mut forwards = Vec::new();
    let mut from = ProductsFrom::Start;
    loop {
        let rows = page(from).await;
        forwards.extend_from_slice(&rows);
        let Some(last) = rows.last() else { break };
        from = ProductsFrom::After(last.cursor());
    }
    assert_eq!(forwards.len(), 7);
    let mut back = page(ProductsFrom::Before(forwards[6].cursor())).await;
    back.reverse();
    assert_eq!(back, forwards[3..6]);
    let mut back = page(ProductsFrom::Before(forwards[2].cursor())).await;
    back.reverse();
    assert_eq!(back, forwards[0..2]);
}

/// What the search index is told, all of it and since a position.
#[tokio::test]
async fn documents_are_products_with_what_their_variants_add() {
    let shop = Shop::new().await;
    three_products(&shop).await;
    let position = shop.append(STORE, ("stock_item", variant(3).0), &[received("main", 4)]).await;
    shop.project().await;

    let (mut tx, at) = documents::begin(&shop.db.projector).await.unwrap();
    assert_eq!(at, position);
    let nil = uuid::Uuid::nil();
    let all = documents::all(&mut tx, (nil, nil), 100).await.unwrap();
    let shown: Vec<_> = all
        .iter()
        .map(|d| (d.product_id, d.price_minor, d.currency.as_deref(), d.in_stock, d.codes.len()))
        .collect();
    let (dark, milk, boxed) = (product(1).0, product(2).0, product(3).0);
    assert_eq!(
        shown,
        [
            (dark, Some(250), Some("GBP"), false, 2),
            (milk, Some(900), Some("GBP"), true, 4),
            (boxed, None, None, false, 0)
        ]
    );
    let second = documents::all(&mut tx, (STORE.0, dark), 1).await.unwrap();
    assert_eq!(second, [all[1].clone()], "a page goes on where the last one ended");

    let changed = documents::changed(&mut tx, position - 1, (nil, nil), 100).await.unwrap();
    assert_eq!(changed, [all[1].clone()], "the stock of one changed last");
    let none: Vec<ProductDocument> =
        documents::changed(&mut tx, position, (nil, nil), 100).await.unwrap();
    assert_eq!(none, []);
    tx.rollback().await.unwrap();

    shop.append(STORE, ("product", dark), &[renamed("Darker")]).await;
    shop.project().await;
    let (mut tx, _) = documents::begin(&shop.db.projector).await.unwrap();
    let changed = documents::changed(&mut tx, position, (nil, nil), 100).await.unwrap();
    assert_eq!(changed.iter().map(|d| d.title.as_str()).collect::<Vec<_>>(), ["Darker"]);
}

#[tokio::test]
async fn stock_is_what_is_there_less_what_is_promised() {
    let shop = Shop::new().await;
    three_products(&shop).await;
    let item = ("stock_item", variant(1).0);
    let hold = |n, parts| {
        StockItemEvent::Reserved(StockReserved {
            reason: PlaceChoice::FirstPlace,
            reservation_id: checkout(n),
            parts,
            until: DateTime::UNIX_EPOCH,
            at: day(0),
        })
    };
    let events = [
        received("main", 10),
        received("shop", 4),
        StockItemEvent::Adjusted(StockAdjusted {
            location: "shop".to_owned(),
            delta: -1,
            reason: "broken".to_owned(),
            reference: None,
            at: day(0),
        }),
        hold(1, vec![units("main", 5), units("shop", 2)]),
        hold(2, vec![units("main", 1)]),
        StockItemEvent::ReservationExtended(StockReservationExtended {
            reservation_id: checkout(2),
            until: day(9),
            at: day(0),
        }),
        StockItemEvent::Allocated(StockAllocated {
            reservation_id: checkout(1),
            order_id: order(1),
            parts: vec![units("main", 5), units("shop", 2)],
            at: day(0),
        }),
        StockItemEvent::Deallocated(StockDeallocated {
            order_id: order(1),
            reference: "C1".to_owned(),
            parts: vec![units("shop", 1)],
            at: day(0),
        }),
    ];
    shop.append(STORE, item, &events).await;
    shop.project().await;

    let level = |location: &str, on_hand, reserved, allocated, available| StockLevel {
        location: location.to_owned(),
        on_hand,
        reserved,
        allocated,
        available,
    };
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = stock::get(&mut tx, STORE, variant(1).0).await.unwrap().unwrap();
    assert_eq!(found.version, 8);
    assert_eq!(found.levels, [level("main", 10, 1, 5, 4), level("shop", 3, 0, 1, 2)]);
    assert_eq!(stock::get(&mut tx, STORE, variant(2).0).await.unwrap(), None);
    let variants = variants::of_products(&mut tx, STORE, &[product(1).0]).await.unwrap();
    assert_eq!((variants[0].on_hand, variants[0].available), (13, 6));
    drop(tx);

    let released = StockItemEvent::ReservationReleased(StockReservationReleased {
        reservation_id: checkout(2),
        parts: vec![units("main", 1)],
        cause: ReleaseCause::Expired,
        at: day(1),
    });
    shop.append(STORE, item, &[released]).await;
    shop.project().await;
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    let found = stock::get(&mut tx, STORE, variant(1).0).await.unwrap().unwrap();
    assert_eq!((found.version, &found.levels[0]), (9, &level("main", 10, 0, 5, 5)));
}
