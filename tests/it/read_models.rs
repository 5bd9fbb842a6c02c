//! The read models agree with the log: after stories, after rebuilds, and not after tampering.

use axum::http::StatusCode;
use serde_json::json;

use crate::app::{App, story};

#[test]
fn a_shop_that_was_used_equals_its_replay_and_its_log_is_whole() {
    story(async |app: App| {
        use_shop(&app).await;
        for projection in projections::ALL {
            let differences = projections::verify(&app.owner, projection).await.unwrap();
            assert_eq!(differences, [], "{}", projection.name);
        }
        let readable = |event: &event_store::Recorded| {
            let version = event.schema_version;
            event_schemas::upcast::current(
                &event.category,
                &event.event_type,
                version,
                &event.payload,
            )
            .map(drop)
            .map_err(|error| error.to_string())
        };
        let report = event_store::check::check(&app.owner, &readable, &mut |_, _| {}).await;
        let report = report.unwrap();
        assert!(report.events > 20, "{report:?}");
        assert_eq!(report.findings_total, 0, "{:?}", report.findings);
    });
}

#[test]
fn a_rebuild_changes_nothing_that_was_right() {
    story(async |app: App| {
        use_shop(&app).await;
        let paths = [
            "/api/v1/products",
            "/api/v1/orders",
            "/api/v1/analytics/sales?dateFrom=2026-03-01&dateTo=2026-03-31&granularity=week",
        ];
        let mut before = Vec::new();
        for path in paths {
            before.push(app.get(path).await.body);
        }
        for projection in projections::ALL {
            projections::rebuild(&app.owner, projection, &|_, _| {}).await.unwrap();
        }
        for (path, before) in paths.iter().zip(before) {
            let after = app.get(path).await;
            assert_eq!(after.status, StatusCode::OK, "{:#}", after.body);
            assert_eq!(after.body, before, "{path}");
        }
    });
}

#[test]
fn a_changed_row_is_found() {
    story(async |app: App| {
        use_shop(&app).await;
        let forge = "UPDATE read.analytics_sales SET orders = orders + 1";
        let forged = sqlx::query(forge).execute(&app.owner).await.unwrap();
        assert!(forged.rows_affected() > 0);
        let sales = projections::find("sales").unwrap();
        assert_ne!(projections::verify(&app.owner, sales).await.unwrap(), []);
    });
}

#[test]
fn the_report_adds_up_what_was_paid_and_given_back() {
    story(async |app: App| {
        use_shop(&app).await;
        let path = "/api/v1/analytics/sales?dateFrom=2026-03-14&dateTo=2026-03-14&granularity=day";
        let report = app.get(path).await;
        let totals = &report.body["totals"]["currencies"][0];
        let amount = |name: &str| totals[name]["amount_minor"].as_i64();
        assert_eq!(totals["orders"], 2, "{:#}", report.body);
        assert_eq!(amount("gross"), Some(2 * 450 + 3 * 450));
        assert_eq!(amount("refunds"), Some(3 * 450));
        assert_eq!(amount("net"), Some(2 * 450));
        assert_eq!(totals["cancellations"], 1);
    });
}

/// Two orders, one of them cancelled, and a stock correction.
async fn use_shop(app: &App) {
    let product = app.product("Sea salt bar", 450, 10).await;
    let mut orders = Vec::new();
    for quantity in [2, 3] {
        let checkout = app.begin(&product.variant_id, quantity).await.text("/id");
        orders.push(app.pay(&checkout, "4242424242424242").await.text("/order/id"));
    }
    let path = format!("/api/v1/orders/{}/cancel", orders[1]);
    app.post(&path, &json!({ "reason": "melted" })).await;
    sagas::drain(&app.saga).await.unwrap();
    let path = format!("/api/v1/stock/{}/adjust", product.variant_id);
    app.post(&path, &json!({ "delta": -1, "reason": "broken" })).await;
    app.project().await;
}
