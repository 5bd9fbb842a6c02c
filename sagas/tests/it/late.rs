//! A provider that does not answer in time.

use chrono::Duration;
use commands::{
    CommandError,
    checkout::{self, CheckoutError, CheckoutStatus, HOLD},
    payment::PaymentStatus,
};
use event_schemas::checkout::FailureCause;
use providers::payment::{
    PaymentProvider,
    stripe::{Account, Stripe},
};
use sagas::{SagaCtx, checkout::EXTENSION};

use crate::shop::{Shop, Stock};

const LATE_SUCCESS: &str = "4000 0000 0000 0101";
const LATE_DECLINE: &str = "4000 0000 0000 0119";

#[tokio::test]
async fn a_late_success_completes_the_checkout() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    assert_eq!(shop.pay("pay", id, LATE_SUCCESS).await.status, CheckoutStatus::PaymentPending);

    // Looked up after 1, 2 and 4 seconds, in vain, and after 8.
    for second in 1..=8 {
        shop.advance(Duration::seconds(1));
        shop.drain().await;
        let expected =
            if second < 8 { CheckoutStatus::PaymentPending } else { CheckoutStatus::Completed };
        assert_eq!(shop.status(id).await, expected, "after {second} s");
    }

    assert_eq!((shop.calls_of("authorise"), shop.calls_of("look_up")), (1, 4));
    assert_eq!(shop.orders().await.len(), 1);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 1, held: 0, allocated: 1 });
}

#[tokio::test]
async fn a_late_decline_asks_for_another_card() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.pay("pay", id, LATE_DECLINE).await;

    shop.advance(Duration::seconds(10));
    shop.drain().await;

    let view = shop.view(id).await;
    assert_eq!(view.status, CheckoutStatus::AwaitingPayment);
    assert_eq!(view.last_decline.unwrap().code, "card_declined");
    assert_eq!(shop.pay("other", id, "4242424242424242").await.status, CheckoutStatus::Completed);
}

#[tokio::test]
async fn no_second_card_while_the_first_is_unclear() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.pay("pay", id, LATE_SUCCESS).await;

    let second = shop.start_payment("second", id, "4242424242424242").await.unwrap_err();
    assert!(matches!(second, CommandError::Rejected(CheckoutError::PaymentInProgress)));
    let intent = shop.intent("abandon");
    let given_up = checkout::abandon(&shop.ctx.commands, &intent, id).await.unwrap_err();
    assert!(matches!(given_up, CommandError::Rejected(CheckoutError::PaymentInProgress)));
}

#[tokio::test]
async fn a_payment_under_way_extends_the_hold_once() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    let hold_until = shop.view(id).await.hold_until;
    shop.pay("pay", id, "4000002500003155").await;

    shop.advance(HOLD - Duration::seconds(30));
    shop.drain().await;
    assert_eq!(shop.view(id).await.hold_until, hold_until + EXTENSION);
    shop.advance(EXTENSION);
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::ActionRequired);
    assert_eq!(shop.stock(bar).await.held, 1);

    shop.advance(Duration::seconds(30));
    shop.drain().await;
    assert_eq!(shop.view(id).await.failure, Some(FailureCause::Expired));
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Voided);
    assert_eq!(shop.stock(bar).await.held, 0);
}

#[tokio::test]
async fn money_that_comes_after_the_hold_is_voided() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.advance(HOLD - Duration::milliseconds(10));
    shop.pay("pay", id, LATE_SUCCESS).await;

    // The hold ends, extension and all, before anybody looks the payment up.
    shop.advance(EXTENSION + Duration::seconds(1));
    shop.drain().await;

    let view = shop.view(id).await;
    assert_eq!((view.status, view.failure), (CheckoutStatus::Failed, Some(FailureCause::Expired)));
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Voided);
    assert_eq!((shop.calls_of("void"), shop.calls_of("capture")), (1, 0));
    assert_eq!(shop.orders().await, []);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 1, held: 0, allocated: 0 });
}

#[tokio::test]
async fn a_checkout_fails_only_when_the_fate_of_its_payment_is_known() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    // The first card used up the extension, the second is tried two seconds before the end.
    shop.pay("first", id, "4000002500003155").await;
    shop.advance(HOLD - Duration::seconds(1));
    shop.drain().await;
    shop.answer("answer", id, "fail").await;
    shop.advance(EXTENSION - Duration::seconds(1));
    let view = shop.pay("second", id, LATE_SUCCESS).await;
    assert_eq!(view.status, CheckoutStatus::PaymentPending);

    shop.advance(Duration::seconds(2));
    shop.drain().await;
    let view = shop.view(id).await;
    assert_eq!(view.status, CheckoutStatus::Compensating);
    assert_eq!(view.failure, Some(FailureCause::Expired));
    assert_eq!(shop.stock(bar).await.held, 0);

    shop.advance(Duration::seconds(10));
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::Failed);
    assert_eq!(shop.payment(id, 2).await.status, PaymentStatus::Voided);
    assert_eq!((shop.calls_of("capture"), shop.orders().await.len()), (0, 0));
}

/// A key that was revoked, say: the provider answers nobody, and does not begin to by itself.
#[tokio::test]
async fn a_provider_that_never_answers_is_seen_by_a_person() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let nobody = Account {
        secret_key: "sk_test_nobody".to_owned(),
        publishable_key: None,
        webhook_secrets: vec![],
        // Nothing listens on the port that discards.
        base_url: Some("http://127.0.0.1:9".to_owned()),
    };
    let stripe = PaymentProvider::Stripe(Stripe::new(&nobody).unwrap());
    let ctx = SagaCtx { payments: stripe.into(), ..shop.ctx.clone() };
    let id = shop.try_begin("begin", &[(bar, 1)], Some("pm_card_visa")).await.unwrap();
    sagas::drain(&ctx).await.unwrap();
    assert_eq!(shop.status(id).await, CheckoutStatus::PaymentPending);
    let watch = async |minutes: i64| {
        for _ in 0..minutes {
            shop.advance(Duration::minutes(1));
            sagas::drain(&ctx).await.unwrap();
        }
        sagas::stuck(&shop.db.process).await.unwrap()
    };

    assert_eq!(watch(9).await, []);
    let stuck = watch(8).await;
    assert_eq!(stuck.len(), 1);
    assert!(stuck[0].last_error.as_ref().unwrap().contains("has not answered"), "{stuck:?}");
    assert_eq!(sagas::backlog(&shop.db.process).await.unwrap().stuck, 1);
    let checkout = checkout::load(&shop.ctx.commands, shop.store_id, id).await.unwrap().state;
    assert_eq!(checkout.stuck.unwrap().step, "answer");
}
