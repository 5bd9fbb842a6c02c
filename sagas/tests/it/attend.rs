//! Somebody says that something happened to a payment: it is looked up, and only that counts.

use chrono::Duration;
use commands::{
    checkout::{self, CheckoutStatus, HOLD},
    order::{self, NewRefund, RefundState},
    payment::{self, PaymentCommand, PaymentStatus},
};
use event_schemas::{
    checkout::FailureCause,
    ids::{CheckoutId, PaymentId},
    payment::PaymentAction,
};
use sagas::{Attended, attend_payment, checkout::EXTENSION};

use crate::shop::{Shop, Stock, gbp};

const NOTHING_NEW: Attended = Attended::Ignored { why: "nothing is new" };

async fn attend(shop: &Shop, id: CheckoutId, attempt: u32) -> Attended {
    attend_payment(&shop.ctx, shop.store_id, checkout::payment_id(id, attempt)).await.unwrap()
}

async fn paying(shop: &Shop, token: &str) -> CheckoutId {
    let name = token.replace('_', "-");
    let bar = shop.variant(&name, 1).await;
    let id = shop.try_begin(&name, &[(bar, 1)], Some(token)).await.unwrap();
    shop.drain().await;
    id
}

/// Writes down what another provider than the sandbox would say.
async fn record(shop: &Shop, name: &str, id: PaymentId, command: PaymentCommand) {
    payment::record(&shop.ctx.commands, &shop.intent(name), id, command).await.unwrap();
}

#[tokio::test]
async fn a_slow_payment_that_works_completes_its_checkout_however_often_that_is_said() {
    let shop = Shop::new().await;
    let id = paying(&shop, "sbx_bank_debit").await;
    assert_eq!(shop.status(id).await, CheckoutStatus::PaymentPending);
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Processing);
    assert_eq!(attend(&shop, id, 1).await, NOTHING_NEW);

    shop.advance(Duration::seconds(5));
    let twice = tokio::join!(attend(&shop, id, 1), attend(&shop, id, 1));
    assert!(twice.0 == Attended::Applied || twice.1 == Attended::Applied, "{twice:?}");
    assert_eq!(shop.status(id).await, CheckoutStatus::Completed);
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Captured);
    assert_eq!((shop.orders().await.len(), shop.calls_of("capture")), (1, 0));
    let head = shop.head().await;
    assert_eq!(attend(&shop, id, 1).await, NOTHING_NEW);
    shop.drain().await;
    assert_eq!(shop.head().await, head);
}

#[tokio::test]
async fn a_slow_payment_that_fails_asks_for_another_means() {
    let shop = Shop::new().await;
    let id = paying(&shop, "sbx_bank_debit_fails").await;
    shop.advance(Duration::seconds(5));
    // Nobody says anything: it is found out all the same.
    shop.advance(Duration::minutes(1));
    shop.drain().await;
    let view = shop.view(id).await;
    assert_eq!(view.status, CheckoutStatus::AwaitingPayment);
    assert_eq!(view.last_decline.unwrap().code, "insufficient_funds");
    let paid = shop.pay("other", id, "4242424242424242").await;
    assert_eq!(paid.status, CheckoutStatus::Completed);
}

#[tokio::test]
async fn a_payment_still_processed_at_the_end_of_the_hold_ends_the_checkout_and_goes_back() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    let (intent, debit) = (shop.intent("pay"), "sbx_bank_debit".to_owned());
    let payment = checkout::NewPayment::by(debit);
    let paid = checkout::start_payment(&shop.ctx.commands, &intent, id, payment);
    Box::pin(paid).await.unwrap();
    sagas::drive_checkout(&shop.ctx, shop.store_id, id).await.unwrap();
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Processing);
    // Nobody looks until it is too late, and then the money is there.
    shop.advance(HOLD + EXTENSION);
    shop.drain().await;

    assert_eq!(shop.view(id).await.failure, Some(FailureCause::Expired));
    assert_eq!(shop.status(id).await, CheckoutStatus::Failed);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 1, held: 0, allocated: 0 });
    let payment = shop.payment(id, 1).await;
    assert_eq!(payment.status, PaymentStatus::Captured);
    assert_eq!((payment.refunds.len(), payment.refundable()), (1, Some(gbp(0))));
    assert_eq!((shop.calls_of("refund"), shop.orders().await.len()), (1, 0));
}

#[tokio::test]
async fn money_that_turns_up_for_a_dead_checkout_goes_back_exactly_once() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.pay("pay", id, "4000000000000002").await;
    shop.advance(HOLD);
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::Failed);

    let (payment_id, at) = (checkout::payment_id(id, 1), shop.now());
    let provider_reference = "sbx_ok.late".to_owned();
    let found = PaymentCommand::RecordCaptured { provider_reference, amount: gbp(1250), at };
    record(&shop, "late", payment_id, found.clone()).await;
    record(&shop, "late again", payment_id, found).await;
    let both = tokio::join!(
        sagas::drive_payment(&shop.ctx, shop.store_id, payment_id),
        sagas::drive_payment(&shop.ctx, shop.store_id, payment_id),
    );
    assert!(both.0.is_ok() || both.1.is_ok(), "{both:?}");
    shop.drain().await;

    let payment = shop.payment(id, 1).await;
    assert_eq!((payment.refunds.len(), payment.refundable()), (1, Some(gbp(0))));
    let mut refunds = shop.calls();
    refunds.retain(|call| call.starts_with("refund "));
    refunds.dedup();
    assert_eq!(refunds.len(), 1, "one refund under one key");
    assert_eq!((shop.status(id).await, shop.orders().await.len()), (CheckoutStatus::Failed, 0));
}

#[tokio::test]
async fn money_that_is_not_what_was_asked_for_is_given_back_and_makes_no_order() {
    let shop = Shop::new().await;
    for (name, captured) in [("reserved", false), ("taken", true)] {
        let bar = shop.variant(name, 1).await;
        let id = shop.begin(name, &[(bar, 1)]).await;
        // Requested, and the process dies before it hears the answer.
        shop.start_payment(&format!("pay {name}"), id, "4242424242424242").await.unwrap();
        let mortal = crate::crash::mortal(&shop, 1);
        let _ = sagas::drive_checkout(&mortal, shop.store_id, id).await;
        let (payment_id, at) = (checkout::payment_id(id, 1), shop.now());
        let (provider_reference, amount) = ("sbx_ok.wrong".to_owned(), gbp(1));
        let found = if captured {
            PaymentCommand::RecordCaptured { provider_reference, amount, at }
        } else {
            PaymentCommand::RecordAuthorised { provider_reference, amount, expires_at: None, at }
        };
        record(&shop, &format!("found {name}"), payment_id, found).await;
        shop.drain().await;

        let view = shop.view(id).await;
        assert_eq!(view.status, CheckoutStatus::AwaitingPayment, "{name}");
        assert_eq!(view.last_decline.unwrap().code, "integrity_violated");
        let payment = shop.payment(id, 1).await;
        if captured {
            assert_eq!(payment.refunds.values().next().unwrap().amount, gbp(1));
            assert_eq!(payment.refundable(), Some(gbp(0)));
        } else {
            assert_eq!(payment.status, PaymentStatus::Voided);
        }
        let paid = shop.pay(&format!("again {name}"), id, "4242424242424242").await;
        assert_eq!(paid.status, CheckoutStatus::Completed);
    }
    assert_eq!(shop.calls_of("capture"), 2, "of the second attempts");
}

#[tokio::test]
async fn a_shopper_confirms_with_the_provider_and_comes_back() {
    let shop = Shop::new().await;
    let id = paying(&shop, checkout::CONFIRM_WITH_PROVIDER).await;
    let view = shop.view(id).await;
    assert_eq!(view.status, CheckoutStatus::ActionRequired);
    assert_eq!(view.required_action, Some(PaymentAction::Confirm));
    let secret = sagas::client_secret(&shop.ctx, shop.store_id, id).await.unwrap();
    assert!(secret.is_some());
    // The provider has nothing yet, whoever says it has.
    assert_eq!(attend(&shop, id, 1).await, NOTHING_NEW);
    assert_eq!(shop.status(id).await, CheckoutStatus::ActionRequired);

    let view = shop.answer("return", id, "pass").await;
    assert_eq!(view.status, CheckoutStatus::Completed);
    assert_eq!(sagas::client_secret(&shop.ctx, shop.store_id, id).await.unwrap(), None);
    let log = "SELECT count(*) FROM log.events_json WHERE payload::text LIKE '%_secret%'";
    let stored: i64 = sqlx::query_scalar(log).fetch_one(&shop.db.writer).await.unwrap();
    assert_eq!(stored, 0, "what the shopper's browser needs is stored nowhere");
}

#[tokio::test]
async fn a_payment_nobody_knows_of_is_asked_for_again_later() {
    let shop = Shop::new().await;
    let nobody = PaymentId::derive(&[b"nobody"]);
    let attended = attend_payment(&shop.ctx, shop.store_id, nobody).await.unwrap();
    assert_eq!(attended, Attended::NotYet);
}

#[tokio::test]
async fn a_slow_refund_is_pending_until_the_provider_says_yes_or_no() {
    let shop = Shop::new().await;
    for (token, state) in
        [("sbx_refund_pending", RefundState::Recorded), ("sbx_refund_fails", RefundState::Failed)]
    {
        let id = paying(&shop, token).await;
        let order_id = checkout::order_id(id);
        let reason = "broken".to_owned();
        let new = NewRefund { reference: None, amount: gbp(500), lines: vec![], reason };
        let intent = shop.intent(&format!("refund {token}"));
        order::request_refund(&shop.ctx.commands, &intent, order_id, new).await.unwrap();
        shop.drain().await;
        let payment = shop.payment(id, 1).await;
        assert!(payment.has_pending_refund());
        assert_eq!(payment.refundable(), Some(gbp(750)), "what is on its way is not there");
        let refund_id = order::new_refund_id(&intent);
        let recorded = async || shop.order(id).await.unwrap().refunds[&refund_id].state;
        assert_eq!(recorded().await, RefundState::Pending);

        shop.advance(Duration::seconds(5));
        assert_eq!(attend(&shop, id, 1).await, Attended::Applied);
        assert_eq!(recorded().await, state);
        let left = if state == RefundState::Recorded { 750 } else { 1250 };
        assert_eq!(shop.payment(id, 1).await.refundable(), Some(gbp(left)));
        assert_eq!(attend(&shop, id, 1).await, NOTHING_NEW);
    }
    assert_eq!(shop.calls_of("refund"), 2);
}
