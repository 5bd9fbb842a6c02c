//! Files of other systems, and the demo shop: taken over once, however often and however far.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use conche::{
    config::Progress,
    demo,
    import::{Importer, orders, problem::Problems, products, report::Report},
};
use event_schemas::{
    catalog::ProductEvent,
    ids::StoreId,
    inventory::StockItemEvent,
    money::Currency,
    order::{AdjustmentEvent, OrderEvent},
    upcast,
};
use event_store::{Recorded, read};
use serde::de::DeserializeOwned;

use crate::app::{App, STORE, story};

impl App {
    fn importer(&self) -> Importer {
        Importer::new(self.saga.clone(), StoreId::of_slug(STORE), Progress::Never)
    }

    async fn import_products(&self, file: &[u8]) -> Report {
        self.import_products_into(STORE, file).await
    }

    pub(crate) async fn import_products_into(&self, store: &str, file: &[u8]) -> Report {
        let mut problems = Problems::default();
        let store = StoreId::of_slug(store);
        let catalogue = products::read(file, store, Currency::GBP, &mut problems);
        assert_eq!(problems.to_string(), "");
        let importer = Importer::new(self.saga.clone(), store, Progress::Never);
        products::take_over(&importer, &catalogue).await.unwrap()
    }

    pub(crate) async fn import_orders(&self, file: &[u8]) -> Report {
        let mut problems = Problems::default();
        let history = orders::read(file, Currency::GBP, &mut problems);
        assert_eq!(problems.to_string(), "");
        orders::take_over(&self.importer(), &history).await.unwrap()
    }

    /// Every event of the log.
    async fn log(&self) -> Vec<Recorded> {
        let mut conn = self.owner.acquire().await.unwrap();
        let mut events: Vec<Recorded> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.position);
            let window = read::read_after(&mut conn, after, read::WINDOW_MAX).await.unwrap();
            if window.is_empty() {
                return events;
            }
            events.extend(window);
        }
    }
}

fn decode<E: DeserializeOwned>(event: &Recorded) -> E {
    upcast::decode(&event.event_type, event.schema_version, &event.payload).unwrap()
}

/// What an auditor adds up, in pence.
#[derive(Debug, Default, PartialEq, Eq)]
struct Books {
    orders: usize,
    sold: i64,
    paid: i64,
    refunds: usize,
    adjustments: usize,
    given_back: i64,
    corrections: usize,
    /// Units that came in, by stream of stock.
    received: BTreeMap<uuid::Uuid, u64>,
    failed_checkouts: usize,
}

fn books(log: &[Recorded]) -> Books {
    let mut books = Books::default();
    for event in log {
        match event.category.as_str() {
            "order" => match decode(event) {
                OrderEvent::Placed(it) => {
                    books.orders += 1;
                    books.sold += it.total.amount_minor;
                }
                OrderEvent::Paid(it) => books.paid += it.amount.amount_minor,
                OrderEvent::RefundRecorded(it) => {
                    books.refunds += 1;
                    books.given_back += it.amount.amount_minor;
                }
                _ => {}
            },
            "stock_item" => match decode(event) {
                StockItemEvent::Received(it) => {
                    *books.received.entry(event.stream_id).or_default() += u64::from(it.quantity);
                }
                StockItemEvent::Adjusted(_) => books.corrections += 1,
                _ => {}
            },
            "refund_adjustment" => {
                let AdjustmentEvent::Recorded(it) = decode(event);
                books.adjustments += 1;
                books.given_back += it.amount.amount_minor;
            }
            _ => books.failed_checkouts += usize::from(event.event_type == "CheckoutFailed"),
        }
    }
    books
}

/// A file of the real data, unless the folder is missing here.
pub(crate) fn real_data(file: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("CONCHE_TEST_DATA").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = folder.unwrap_or(default).join(file);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: {} is missing; CONCHE_TEST_DATA names its folder", path.display());
        }
    }
    bytes
}

#[test]
fn real_catalogues_come_in_once() {
    let Some(apparel) = real_data("shopify-apparel.csv") else { return };
    let Some(home) = real_data("shopify-home-and-garden.csv") else { return };
    story(|app| async move {
        for file in [&apparel, &home] {
            let report = app.import_products(file).await;
            assert_eq!(report.tally(products::PRODUCTS).created, 20, "{report}");
        }
        let log = app.log().await;
        let variants = log.iter().filter(|event| event.event_type == "VariantAdded");
        assert_eq!(variants.count(), 43);
        for file in [&apparel, &home] {
            let report = app.import_products(file).await;
            assert_eq!(report.tally(products::PRODUCTS).unchanged, 20, "{report}");
        }
        assert_eq!(app.log().await.len(), log.len(), "a second import appends nothing");
    });
}

fn prices(log: &[Recorded]) -> Vec<i64> {
    let of_products = log.iter().filter(|event| event.category == "product");
    of_products
        .filter_map(|event| match decode(event) {
            ProductEvent::PriceSet(set) => Some(set.price.amount_minor),
            _ => None,
        })
        .collect()
}

#[test]
fn another_price_in_the_file_is_an_update_and_so_is_the_old_one_again() {
    let file = |price: &str| format!("Handle,Title,Variant Price\nbar,Bar,{price}\n").into_bytes();
    story(move |app| async move {
        app.import_products(&file("1.00")).await;
        for price in ["2.00", "1.00", "2.00"] {
            let report = app.import_products(&file(price)).await;
            assert_eq!(report.tally(products::PRODUCTS).updated, 1, "{report}");
        }
        assert_eq!(prices(&app.log().await), [100, 200, 100, 200]);
    });
}

#[test]
fn a_file_adds_variants_rewrites_texts_and_takes_off_sale() {
    let header = "Handle,Title,Tags,Published,Option1 Name,Option1 Value,Variant Price,Variant Inventory Qty\n";
    let first = format!("{header}bar,Bar,dark,true,Size,S,1,5\n");
    let second = format!("{header}bar,Dark Bar,dark,false,Size,S,1,9\nbar,,,,,L,2,3\n");
    story(move |app| async move {
        app.import_products(first.as_bytes()).await;
        let before = app.log().await.len();
        let report = app.import_products(second.as_bytes()).await;
        assert_eq!(report.problems.to_string(), "");
        let log = app.log().await;
        let new: Vec<&str> = log[before..].iter().map(|event| event.event_type.as_str()).collect();
        // The stock of S was opened before: another number in the file is no delivery.
        let expected = [
            "ProductDetailsChanged",
            "VariantAdded",
            "PriceSet",
            "ProductUnpublished",
            "StockReceived",
        ];
        assert_eq!(new, expected);
    });
}

#[test]
fn a_taken_sku_is_told_by_row_and_the_rest_goes_on() {
    let header = "Handle,Title,Variant SKU,Variant Price\n";
    let first = format!("{header}bar,Bar,B-1,1\n");
    let second = format!("{header}tin,Tin,T-1,1\ncopy,Copy,B-1,1\nbox,Box,X-1,1\n");
    story(move |app| async move {
        app.import_products(first.as_bytes()).await;
        let report = app.import_products(second.as_bytes()).await;
        let tally = report.tally(products::PRODUCTS);
        assert_eq!((tally.created, tally.failed), (2, 1));
        let told = "row 3: sku `B-1` is in use elsewhere in the store; change it here or there\n";
        assert_eq!(report.problems.to_string(), told);
    });
}

#[test]
fn real_orders_add_up_to_the_penny_and_come_in_once() {
    let Some(file) = real_data("online-retail-5k.csv") else { return };
    story(|app| async move {
        let report = app.import_orders(&file).await;
        assert_eq!(report.problems.to_string(), "");
        let log = app.log().await;
        let books = books(&log);
        assert_eq!((books.orders, books.corrections, books.failed_checkouts), (259, 12, 0));
        assert_eq!(books.refunds + books.adjustments, 29);
        assert_eq!((books.sold, books.paid), (10_405_557, 10_405_557));
        assert_eq!(books.paid - books.given_back, 10_218_924);
        let again = app.import_orders(&file).await;
        assert_eq!(again.tally(orders::ORDERS).unchanged, 259, "{again}");
        assert_eq!(app.log().await.len(), log.len(), "a second import appends nothing");
    });
}

const ORDERS: &str = "\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,BAR,Bar,6,1/12/2010 8:26,2.50,Ann,France
1,BAR,Bar,4,1/12/2010 8:26,2.00,Ann,France
1,TIN,Tin,1,1/12/2010 8:26,0,Ann,France
1,POST,Postage,1,1/12/2010 8:26,3.95,Ann,France
1,D,Discount,-1,1/12/2010 8:26,1.00,Ann,France
2,BAR,,3,2/12/2010,2.50,,United Kingdom
3,TIN,,-2,2/12/2010,0,,United Kingdom
4,EGG,,7,2/12/2010,0,,United Kingdom
C5,BAR,Bar,-2,3/12/2010,2.50,Ann,France
C6,POST,Postage,-1,3/12/2010,3.95,Ann,France
C7,BAR,Bar,-1,3/12/2010,9.00,Ann,France
";

#[test]
fn every_line_stays_what_it_is() {
    story(|app| async move {
        let report = app.import_orders(ORDERS.as_bytes()).await;
        assert_eq!(report.problems.to_string(), "");
        let log = app.log().await;
        let orders = log.iter().filter(|event| event.event_type == "OrderPlaced");
        let mut orders: Vec<_> = orders
            .map(|event| match decode(event) {
                OrderEvent::Placed(placed) => placed,
                other => panic!("{other:?}"),
            })
            .collect();
        orders.sort_by(|a, b| a.number.cmp(&b.number));
        let first = &orders[0];
        assert_eq!(first.at.to_rfc3339(), "2010-12-01T08:26:00+00:00");
        let lines: Vec<_> =
            first.lines.iter().map(|it| (it.quantity, it.unit_price.amount_minor)).collect();
        assert_eq!(lines, [(6, 250), (4, 200), (1, 0)]);
        let charges: Vec<_> =
            first.charges.iter().map(|it| (it.code.as_str(), it.amount.amount_minor)).collect();
        assert_eq!(charges, [("POST", 395), ("D", -100)]);
        assert_eq!(first.total.amount_minor, 1500 + 800 + 395 - 100);
        assert_eq!(first.customer_reference.as_deref(), Some("Ann"));
        assert_eq!(orders[1].customer_reference, None);
        let books = books(&log);
        assert_eq!((books.refunds, books.adjustments, books.corrections), (2, 1, 2));
        assert_eq!(books.given_back, 500 + 395 + 900);
        let received: Vec<u64> = books.received.values().copied().collect();
        assert_eq!(received.iter().sum::<u64>(), 13 + 3, "bars and tins, but no eggs");
    });
}

#[test]
fn a_correction_cut_short_between_two_lines_is_finished() {
    let header = ORDERS.lines().next().unwrap();
    let line = |code: &str| format!("3,{code},,-2,2/12/2010,0,,United Kingdom\n");
    // The beginning of the invoice leaves what a kill between two of its lines leaves.
    let cut = format!("{header}\n{}{}", line("TIN"), line("BAR"));
    let whole = format!("{cut}{}{}", line("TIN"), line("BAR"));
    story(move |app| async move {
        app.import_orders(cut.as_bytes()).await;
        let report = app.import_orders(whole.as_bytes()).await;
        assert_eq!(report.problems.to_string(), "");
        let log = app.log().await;
        let books = books(&log);
        assert_eq!(books.corrections, 4);
        assert_eq!(books.received.values().sum::<u64>(), 8, "what left, and nothing more");
        app.import_orders(whole.as_bytes()).await;
        assert_eq!(app.log().await.len(), log.len());
    });
}

#[test]
fn a_number_that_is_taken_is_told_by_row() {
    story(|app| async move {
        app.import_orders(ORDERS.as_bytes()).await;
        // The same number, of a run that this one cannot know of.
        let other = Importer::new(app.saga.clone(), StoreId::of_slug(STORE), Progress::Never);
        let forged = other.intent(&["somebody", "else"], app.ctx.now());
        let lines = vec![];
        let charge = event_schemas::order::Charge {
            kind: event_schemas::order::ChargeKind::Manual,
            code: "M".into(),
            title: "Manual".into(),
            amount: event_schemas::money::Money { amount_minor: 100, currency: Currency::GBP },
        };
        let new = commands::checkout::NewCheckout {
            lines,
            charges: vec![charge],
            customer_reference: None,
            country: None,
            cart_id: None,
            coupons: vec![],
            channel: event_schemas::order::Channel::Import,
            order_number: Some("9".into()),
            hold_until: None,
            backdated_to: None,
            payment_method: Some("sbx_ok".into()),
        };
        let begun = commands::checkout::begin(&app.ctx, &forged, new).await.unwrap();
        sagas::drive_to_rest(&app.saga, StoreId::of_slug(STORE), begun.checkout_id).await.unwrap();
        let file = ORDERS.lines().next().unwrap().to_owned() + "\n9,BAR,Bar,1,1/12/2010,2,Ann,\n";
        let report = app.import_orders(file.as_bytes()).await;
        let told = "row 2: order number `9` belongs to another order of the store; give the \
                    invoice another one\n";
        assert_eq!(report.problems.to_string(), told);
    });
}

#[test]
fn an_import_cut_short_anywhere_is_finished_by_the_next() {
    let expected = std::sync::Arc::new(std::sync::Mutex::new(None));
    for cut in [0, 15, 40, 90, 180, 300] {
        let expected = std::sync::Arc::clone(&expected);
        story(move |app| async move {
            for share in 0..4 {
                // Dropping the work is what a kill does to it, apart from commands in flight.
                let work = app.import_orders(ORDERS.as_bytes());
                let _ = tokio::time::timeout(Duration::from_millis(cut + share * 7), work).await;
            }
            let report = app.import_orders(ORDERS.as_bytes()).await;
            assert_eq!(report.problems.to_string(), "", "cut after {cut} ms");
            let books = books(&app.log().await);
            let first =
                expected.lock().unwrap().get_or_insert_with(|| format!("{books:#?}")).clone();
            assert_eq!(format!("{books:#?}"), first, "cut after {cut} ms");
        });
    }
}

#[test]
fn the_demo_shop_loads_once_even_if_its_first_start_is_cut_short() {
    story(|app| async move {
        let cut = tokio::time::timeout(Duration::from_millis(1_500), demo::load(&app.saga)).await;
        assert!(cut.is_err(), "the shop takes longer than that");
        let told = demo::load(&app.saga).await.unwrap();
        assert_eq!(told, "The demo shop is loaded: 57 products, 300 orders.");
        let log = app.log().await;
        let of_type = |name: &str| log.iter().filter(|event| event.event_type == name).count();
        let (placed, left) = (of_type("OrderPlaced"), of_type("CheckoutFailed"));
        assert_eq!(placed + left, 300);
        assert!(left >= 3 && of_type("OrderCancelled") >= 3 && of_type("OrderRefundRecorded") >= 8);
        assert_eq!(of_type("VariantAdded"), 88);
        assert_eq!(demo::load(&app.saga).await.unwrap(), "The demo shop is loaded.");
        assert_eq!(app.log().await.len(), log.len());
    });
}

#[test]
fn the_demo_shop_stays_out_of_a_store_in_use() {
    story(|app| async move {
        app.import_products(b"Handle,Title,Variant Price\nbar,Bar,1\n").await;
        let before = app.log().await.len();
        let told = demo::load(&app.saga).await.unwrap();
        assert!(told.contains("stays out"), "{told}");
        assert_eq!(app.log().await.len(), before);
    });
}
