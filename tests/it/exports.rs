//! Orders and products as files.

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use conche::{config::BenchLoad, load};

use crate::app::{App, story};

const STORE: &str = "bench";

async fn text(body: Body) -> String {
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn filled(app: &App) {
    let until = "2026-11-01".parse().unwrap();
    let store = STORE.to_owned();
    // More orders than are read at a time.
    let load = BenchLoad { products: 20, orders: 1_100, first: None, seed: 7, store, until };
    load::fill(&app.saga, &app.owner, &load).await.unwrap();
    app.project().await;
}

/// Answers `503` with a time to come again.
async fn is_refused(app: &App, store: &str, path: &str) {
    let answer = app.open(store, path).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
}

/// Transactions of the database that are open.
async fn open_transactions(app: &App) -> i64 {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND state = 'idle in transaction'";
    sqlx::query_scalar(open).fetch_one(&app.owner).await.unwrap()
}

/// One story, because a process makes two exports at once, whoever asks.
#[test]
fn an_export_is_the_whole_list_and_a_store_has_one_at_a_time() {
    story(|app| async move {
        filled(&app).await;
        let all = "/api/v1/orders/export.csv";
        let answer = app.open(STORE, all).await;
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
        let file = text(answer.into_body()).await;
        let lines: Vec<&str> = file.trim_end().split("\r\n").collect();
        assert_eq!(lines.len(), 1 + 1_100);
        assert!(lines[0].starts_with("number,status,financial_status,placed_at,"), "{}", lines[0]);
        assert!(lines[1].starts_with("1001100,"), "the last order first: {}", lines[1]);
        assert!(lines[1_100].starts_with("1000001,"), "{}", lines[1_100]);

        let some = format!("{all}?status=cancelled&sort=number");
        let file = text(app.open(STORE, &some).await.into_body()).await;
        let lines: Vec<&str> = file.trim_end().split("\r\n").skip(1).collect();
        assert!(5 < lines.len() && lines.iter().all(|line| line.contains(",cancelled,refunded,")));
        assert!(lines.is_sorted());

        let other = text(app.open("other", all).await.into_body()).await;
        assert_eq!(other.lines().count(), 1, "another store has no orders");

        let one = app.open(STORE, all).await;
        assert_eq!(one.status(), StatusCode::OK);
        is_refused(&app, STORE, all).await;
        let other = app.open("other", all).await;
        assert_eq!(other.status(), StatusCode::OK, "the place of another store");
        assert_eq!(text(other.into_body()).await.lines().count(), 1);
        // A client that does not read keeps no snapshot open.
        while 0 < open_transactions(&app).await {
            tokio::task::yield_now().await;
        }
        // A client that goes away makes room.
        drop(one);
        let two = loop {
            let two = app.open(STORE, all).await;
            if two.status() == StatusCode::OK {
                break two;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(text(two.into_body()).await.lines().count(), 1_101);
        products_come_back_as_they_went(&app).await;
    });
}

#[test]
fn a_list_can_be_counted() {
    story(|app| async move {
        filled(&app).await;
        let open = async |path: &str| {
            let body = text(app.open(STORE, path).await.into_body()).await;
            serde_json::from_str::<serde_json::Value>(&body).unwrap()
        };
        let page = open("/api/v1/orders?count=exact&sort=-total&limit=2").await;
        assert_eq!(page["total"], serde_json::json!({ "value": 1_100, "capped": false }));
        let totals = page["data"].as_array().unwrap().iter();
        let totals: Vec<i64> =
            totals.map(|order| order["total"]["amount_minor"].as_i64().unwrap()).collect();
        assert!(totals[1] <= totals[0]);
        let next = page["page"]["next"].as_str().unwrap();
        let wrong = open(&format!("/api/v1/orders?sort=total&after={next}")).await;
        assert_eq!(wrong["code"], "bad_cursor", "a cursor of another order");
        assert_eq!(open("/api/v1/orders").await["total"], serde_json::Value::Null);
    });
}

/// What is special in a file, a spreadsheet or a shop.
const PRODUCTS: &str = "\
Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Grams,Variant Inventory Qty,Variant Price,Variant Compare At Price,Variant Barcode,Status
bar,\"Bar, \"\"70 %\"\"\",\"<p>Dark
- and =bitter; ;=1</p>\",=Sum,Bars,\"dark, vegan\",TRUE,Size,Small,Nib,Yes,BAR-S,100,12,4.50,5.00,'12,active
bar,,,,,,,,Large,,No,BAR-L,,0,9.00,,,
tin,''Nduja tin,,-maker,,,FALSE,Title,Default Title,,,,,3,7.00,,,draft
idea,@idea,,,,,FALSE,Title,Default Title,,,IDEA,,,,,,draft
";

/// The lines of each product, by handle, which come in the order they were made in.
fn products_of(file: &str) -> std::collections::BTreeMap<String, Vec<Vec<String>>> {
    let mut found = std::collections::BTreeMap::<String, Vec<Vec<String>>>::new();
    for line in csv::Reader::from_reader(file.as_bytes()).into_records() {
        let line = line.unwrap();
        let fields = line.iter().map(ToOwned::to_owned).collect();
        found.entry(line[0].to_owned()).or_default().push(fields);
    }
    found
}

async fn products_come_back_as_they_went(app: &App) {
    let path = "/api/v1/products/export.csv";
    app.import_products_into("first", PRODUCTS.as_bytes()).await;
    app.project().await;
    let first = text(app.open("first", path).await.into_body()).await;
    let products = products_of(&first);
    assert_eq!(products.values().map(Vec::len).sum::<usize>(), 4, "{first}");
    assert_eq!(products["bar"][0][1], "Bar, \"70 %\"");
    assert_eq!(products["bar"][0][3], "'=Sum", "no spreadsheet adds it up");
    assert_eq!(products["bar"][1][13..17], ["BAR-L", "", "0", "9.00"]);

    app.import_products_into("second", first.as_bytes()).await;
    app.project().await;
    let second = text(app.open("second", path).await.into_body()).await;
    assert_eq!(products_of(&second), products);
    let draft = text(app.open("second", &format!("{path}?status=draft")).await.into_body()).await;
    assert_eq!(products_of(&draft).len(), 2);
}
