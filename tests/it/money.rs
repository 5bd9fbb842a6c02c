//! The audit of the books, and that it finds what is wrong with them.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use chrono::TimeDelta;
use conche::admin::money::check;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::app::{App, Product, story};

/// A day of a shop: paid, declined, abandoned, expired, refunded, cancelled.
async fn a_day(app: &App) -> Product {
    let product = app.product("Praline", 700, 5).await;
    let begin = async || app.begin(&product.variant_id, 1).await.text("/id");
    let paid = app.pay(&begin().await, "4242 4242 4242 4242").await;
    assert_eq!(paid.status, StatusCode::OK, "{:#}", paid.body);
    let cancelled = app.pay(&begin().await, "4242 4242 4242 4242").await.text("/order/id");
    let path = format!("/api/v1/orders/{cancelled}/cancel");
    let answer = app.post(&path, &json!({ "reason": "changed their mind" })).await;
    assert!(answer.status.is_success(), "{:#}", answer.body);
    app.pay(&begin().await, "4000 0000 0000 0002").await;
    let abandoned = begin().await;
    app.post(&format!("/api/v1/checkouts/{abandoned}/abandon"), &json!({})).await;
    app.wait(TimeDelta::hours(2));
    app.rest().await;
    product
}

async fn findings(app: &App) -> Vec<String> {
    check(&app.owner, &app.saga, app.ctx.now()).await.unwrap().findings
}

/// Changes what is stored about one kind of event, as nobody can but the owner of the database.
async fn falsify(app: &App, kind: &str, (from, to): (&str, &str)) {
    let sql = format!(
        "UPDATE log.events SET payload = convert_to(regexp_replace(
             convert_from(payload, 'UTF8'), '{from}', '{to}'), 'UTF8')
          WHERE event_type = '{kind}' AND convert_from(payload, 'UTF8') ~ '{from}'"
    );
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&app.owner).await.unwrap();
    assert!(0 < done.rows_affected(), "{kind}: {from}");
}

#[test]
fn the_books_of_a_shop_are_right_and_the_audit_notices_when_they_are_not() {
    story(async |app: App| {
        a_day(&app).await;
        let verdict = check(&app.owner, &app.saga, app.ctx.now()).await.unwrap();
        assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
        assert!(30 < verdict.events && verdict.payments == 3, "{verdict:?}");

        for (kind, lie, truth, found) in [
            (
                "StockReceived",
                (r#""quantity":5"#, r#""quantity":1"#),
                r#""quantity":5"#,
                "oversold",
            ),
            ("PaymentCaptured", ("700", "699"), "700", "to go back of 699 captured"),
            ("PaymentCaptured", ("700", "701"), "700", "700 paid, 701 captured"),
            ("OrderPlaced", (r#""quantity":1"#, r#""quantity":2"#), r#""quantity":1"#, "its parts"),
        ] {
            falsify(&app, kind, lie).await;
            let findings = findings(&app).await;
            assert!(findings.iter().any(|finding| finding.contains(found)), "{kind}: {findings:?}");
            falsify(&app, kind, (lie.1, truth)).await;
        }
        assert!(findings(&app).await.is_empty());
        let lost =
            "DELETE FROM log.events WHERE event_type IN ('CheckoutCompleted', 'CheckoutFailed')";
        sqlx::query(lost).execute(&app.owner).await.unwrap();
        let findings = findings(&app).await;
        assert!(findings.iter().any(|finding| finding.contains("has not ended")), "{findings:?}");
    });
}

#[test]
fn every_call_of_the_provider_about_money_is_a_transaction() {
    story(async |app: App| {
        let product = app.product("Praline", 700, 5).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        app.pay(&checkout, "4000 0000 0000 0002").await;
        let order = app.pay(&checkout, "4242 4242 4242 4242").await.text("/order/id");
        let path = format!("/api/v1/orders/{order}/cancel");
        app.post(&path, &json!({ "reason": "changed their mind" })).await;
        sagas::drain(&app.saga).await.unwrap();
        app.project().await;

        let path = format!("/api/v1/orders/{order}/transactions");
        let ledger = app.get(&path).await;
        assert_eq!(ledger.status, StatusCode::OK, "{:#}", ledger.body);
        let rows = ledger.body["data"].as_array().unwrap();
        let mut seen: Vec<_> = rows
            .iter()
            .map(|row| {
                assert_eq!(row["amount"]["amount_minor"], json!(700), "{row:#}");
                assert_eq!(row["provider"], json!("sandbox"), "{row:#}");
                let text = |name: &str| row[name].as_str().unwrap_or("none").to_owned();
                (text("kind"), text("status"), text("code"))
            })
            .collect();
        seen.sort();
        let expected = [
            ("authorisation", "failure", "card_declined"),
            ("authorisation", "success", "none"),
            ("capture", "success", "none"),
            ("refund", "success", "none"),
        ];
        let expected = expected
            .map(|(kind, status, code)| (kind.to_owned(), status.to_owned(), code.to_owned()));
        assert_eq!(seen, expected);

        let page = app.get("/api/v1/transactions?limit=3").await;
        let next = page.text("/page/next");
        let rest = app.get(&format!("/api/v1/transactions?limit=3&after={next}")).await;
        assert_eq!(page.body["data"].as_array().unwrap().len(), 3);
        assert_eq!(rest.body["data"].as_array().unwrap().len(), 1, "{:#}", rest.body);

        let stranger = app.token("elsewhere", api_kit::Permission::ALL);
        for (path, status) in
            [(path.as_str(), StatusCode::NOT_FOUND), ("/api/v1/transactions", StatusCode::OK)]
        {
            let request = Request::get(path).header("authorization", format!("Bearer {stranger}"));
            let answer = app.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, status, "{path}");
            assert!(!answer.body.to_string().contains("sandbox"), "{path}");
        }
        let verified = projections::verify(&app.owner, &projections::payment::PROJECTION).await;
        assert!(verified.unwrap().is_empty());
    });
}
