//! Cancelled orders and refunds.

use commands::{
    CommandError,
    checkout::{order_id, payment_id},
    order::{self, NewRefund, OrderError, OrderStatus, RefundState},
    payment::{self, PaymentCommand},
};
use event_schemas::{
    ids::{CheckoutId, VariantId},
    order::{RefundLine, Restock},
};

use crate::shop::{Shop, Stock, gbp};

async fn paid(shop: &Shop, variant: VariantId, quantity: u32) -> CheckoutId {
    let id = shop.begin("begin", &[(variant, quantity)]).await;
    shop.pay("pay", id, "4242424242424242").await;
    assert_eq!(shop.order(id).await.unwrap().status, OrderStatus::Paid);
    id
}

fn refund(amount_minor: i64, lines: Vec<RefundLine>) -> NewRefund {
    let reason = "broken".to_owned();
    NewRefund { reference: Some("CN-1".to_owned()), amount: gbp(amount_minor), lines, reason }
}

#[tokio::test]
async fn a_cancelled_order_gives_back_stock_and_money() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 3).await;
    let id = paid(&shop, bar, 2).await;

    let cancel = |name: &'static str| {
        let intent = shop.intent(name);
        let ctx = shop.ctx.commands.clone();
        async move { order::cancel(&ctx, &intent, order_id(id), "wrong size".to_owned()).await }
    };
    cancel("cancel").await.unwrap();
    assert_eq!(shop.order(id).await.unwrap().status, OrderStatus::Cancelling);
    shop.drain().await;

    let order = shop.order(id).await.unwrap();
    assert_eq!(order.status, OrderStatus::Cancelled);
    let refunds: Vec<_> = order.refunds.values().map(|r| (r.amount, r.state)).collect();
    assert_eq!(refunds, [(gbp(2500), RefundState::Recorded)]);
    assert_eq!(shop.payment(id, 1).await.refundable(), Some(gbp(0)));
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 3, held: 0, allocated: 0 });
    assert_eq!(shop.calls_of("refund"), 1);

    let head = shop.head().await;
    cancel("cancel").await.unwrap();
    let again = cancel("cancel again").await.unwrap_err();
    assert!(matches!(again, CommandError::Rejected(OrderError::AlreadyCancelled)));
    shop.drain().await;
    assert_eq!(shop.head().await, head);
}

#[tokio::test]
async fn some_units_can_be_refunded_and_the_rest_cancelled() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 5).await;
    let id = paid(&shop, bar, 3).await;
    let line_id = shop.order(id).await.unwrap().lines[0].line_id;
    let (ctx, order_id) = (&shop.ctx.commands, order_id(id));

    let new = refund(1250, vec![RefundLine { line_id, quantity: 1, restock: Restock::Cancel }]);
    order::request_refund(ctx, &shop.intent("refund"), order_id, new).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.stock(bar).await.allocated, 2);
    assert_eq!(shop.order(id).await.unwrap().refundable(), gbp(2500));
    let too_many = refund(100, vec![RefundLine { line_id, quantity: 3, restock: Restock::Cancel }]);
    let refused = order::request_refund(ctx, &shop.intent("too many"), order_id, too_many).await;
    assert!(matches!(
        refused,
        Err(CommandError::Rejected(OrderError::QuantityExceedsBought { available: 2, .. }))
    ));

    let reason = "no longer wanted".to_owned();
    order::cancel(ctx, &shop.intent("cancel"), order_id, reason).await.unwrap();
    shop.drain().await;

    let order = shop.order(id).await.unwrap();
    assert_eq!(order.status, OrderStatus::Cancelled);
    assert_eq!(order.refundable(), gbp(0));
    assert_eq!(shop.payment(id, 1).await.refundable(), Some(gbp(0)));
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 5, held: 0, allocated: 0 });
    assert_eq!(shop.calls_of("refund"), 2);
}

#[tokio::test]
async fn a_refund_that_was_refused_frees_nothing_and_can_be_tried_again() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 3).await;
    let id = paid(&shop, bar, 2).await;
    let line_id = shop.order(id).await.unwrap().lines[0].line_id;
    let (ctx, order_id) = (&shop.ctx.commands, order_id(id));
    let new = || refund(1250, vec![RefundLine { line_id, quantity: 2, restock: Restock::Cancel }]);

    let intent = shop.intent("first");
    order::request_refund(ctx, &intent, order_id, new()).await.unwrap();
    let (refund_id, at) = (order::new_refund_id(&intent), shop.now());
    let (amount, reason, code) = (gbp(1250), "broken".to_owned(), "no".to_owned());
    // The sandbox refuses no refund, so the refusal is written down for it.
    let refusal = [
        PaymentCommand::RequestRefund { refund_id, amount, reason, at },
        PaymentCommand::RecordRefundFailed { refund_id, code, at },
    ];
    for (command, name) in refusal.into_iter().zip(["requested", "refused"]) {
        payment::record(ctx, &shop.intent(name), payment_id(id, 1), command).await.unwrap();
    }
    shop.drain().await;
    assert_eq!(shop.order(id).await.unwrap().refunds[&refund_id].state, RefundState::Failed);
    assert_eq!(shop.stock(bar).await.allocated, 2);

    order::request_refund(ctx, &shop.intent("second"), order_id, new()).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.order(id).await.unwrap().refundable(), gbp(1250));
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 3, held: 0, allocated: 0 });
}
