//! The sales demo as one story: browse, add to the cart, see the stock fall live, pay, ship, refund.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::app::{Answer, App, story};
use crate::live::Ear;

const GOOD_CARD: &str = "4242 4242 4242 4242";

#[test]
fn a_shopper_browses_gathers_pays_and_sends_one_back_and_all_see_the_stock() {
    story(async |app: App| {
        let bar = app.product("Sea salt bar", 450, 12).await;
        app.product("Hazelnut truffles", 1495, 5).await;
        app.project().await;

        // Browse.
        let found = app.get("/api/v1/products?limit=10").await;
        assert_eq!(found.body["data"].as_array().unwrap().len(), 2, "{:#}", found.body);
        let page = app.get(&format!("/api/v1/products/{}", bar.id)).await;
        assert_eq!(page.text("/title"), "Sea salt bar");
        let mut ear = app.listen(&format!("/api/v1/products/{}/events", bar.id), None).await;
        hears(&mut ear, 12).await;

        // Gather as a guest, log in.
        let cart = app.post("/api/v1/carts", &json!({})).await.text("/id");
        let item = json!({ "variant_id": bar.variant_id, "quantity": 3 });
        let gathered = app.post(&format!("/api/v1/carts/{cart}/items"), &item).await;
        assert_eq!(gathered.body["subtotal"]["amount_minor"], 1350, "{:#}", gathered.body);
        assert_eq!(gathered.body["items"][0]["available"], 12, "a cart holds nothing");
        let customer = json!({ "customer_reference": "C-1042" });
        let mine = app.put(&format!("/api/v1/carts/{cart}/customer"), &customer).await;
        assert_eq!(mine.text("/customer_reference"), "C-1042", "{:#}", mine.body);

        // Check out: the stock is held, and everybody sees it.
        let begun = app.post("/api/v1/checkouts", &json!({ "cart_id": cart })).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{:#}", begun.body);
        app.project().await;
        hears(&mut ear, 9).await;
        let checkout = begun.text("/id");
        let address = json!({
            "email": "ada@example.com", "name": "Ada Example", "line1": "1 Cocoa Lane",
            "city": "York", "postcode": "YO1 7AA", "country": "GB",
        });
        let told = app.put(&format!("/api/v1/checkouts/{checkout}/address"), &address).await;
        assert_eq!(told.status, StatusCode::OK, "{:#}", told.body);

        // A card that is refused, another one that is not.
        let refused = app.pay(&checkout, "4000000000000002").await;
        assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED, "{:#}", refused.body);
        let paid = app.pay(&checkout, GOOD_CARD).await;
        assert_eq!(paid.text("/status"), "completed", "{:#}", paid.body);
        let order = format!("/api/v1/orders/{}", paid.text("/order/id"));
        let shown = app.seen(&order).await;
        assert_eq!(shown.text("/financial_status"), "paid", "{:#}", shown.body);
        assert_eq!(shown.body["total"]["amount_minor"], 1350);
        let bought = app.get(&format!("/api/v1/carts/{cart}")).await;
        assert_eq!(bought.text("/status"), "checked_out");

        ships(&app, &order, &shown.text("/lines/0/id"), 3).await;
        let shown = app.seen(&order).await;
        assert_eq!(shown.text("/fulfilment_status"), "delivered", "{:#}", shown.body);

        // One goes back, with its money, and can be sold again.
        let shown = sends_back(&app, &order, &shown.text("/lines/0/id")).await;
        assert_eq!(shown.text("/financial_status"), "partially_refunded", "{:#}", shown.body);
        assert_eq!(shown.body["refunded"]["amount_minor"], 450, "{:#}", shown.body);
        hears(&mut ear, 10).await;
    });
}

/// Packs so many units of a line, ships and delivers them.
async fn ships(app: &App, order: &str, line: &str, quantity: u32) {
    let lines = json!([{ "line_id": line, "quantity": quantity }]);
    let parcels = format!("{order}/fulfilments");
    let packed = app.post(&parcels, &json!({ "lines": lines })).await;
    assert_eq!(packed.status, StatusCode::CREATED, "{:#}", packed.body);
    let parcel = format!("{parcels}/{}", packed.text("/fulfilment_id"));
    for what in ["ship", "deliver"] {
        let told = app.post(&format!("{parcel}/{what}"), &json!({})).await;
        assert_eq!(told.status, StatusCode::OK, "{:#}", told.body);
        sagas::drain(&app.saga).await.unwrap();
    }
}

/// Gives the money for one unit of a line back. The order then.
async fn sends_back(app: &App, order: &str, line: &str) -> Answer {
    let lines = json!([{ "line_id": line, "quantity": 1 }]);
    let back = json!({ "lines": lines, "reason": "a present too many" });
    let refund = app.post(&format!("{order}/refunds"), &back).await;
    assert_eq!(refund.status, StatusCode::ACCEPTED, "{:#}", refund.body);
    sagas::drain(&app.saga).await.unwrap();
    app.seen(order).await
}

/// Listens until the feed of a product says that so many can be bought.
async fn hears(ear: &mut Ear, units: u64) {
    loop {
        let heard = ear.next().await.expect("the feed goes on");
        if heard.data["variants"][0]["available"].as_u64() == Some(units) {
            return;
        }
    }
}

impl App {
    async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PUT, path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// What the read models show, once they have everything.
    async fn seen(&self, path: &str) -> Answer {
        self.project().await;
        self.get(path).await
    }
}
