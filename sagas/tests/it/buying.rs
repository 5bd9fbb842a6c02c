//! Buying, card by card.

use chrono::Duration;
use commands::{
    CommandError,
    checkout::{self, BeginError, CheckoutError, CheckoutStatus, LineProblem},
    order::OrderStatus,
    payment::PaymentStatus,
};
use event_schemas::{checkout::FailureCause, payment::DeclineAdvice};

use crate::shop::{Shop, Stock, gbp};

const GOOD: &str = "4242 4242 4242 4242";
const DECLINED: &str = "4000 0000 0000 0002";
const THREE_D_SECURE: &str = "4000 0025 0000 3155";
const CAPTURE_FAILS: &str = "4000 0000 0000 0341";

#[tokio::test]
async fn a_good_card_makes_a_paid_order() {
    let shop = Shop::new().await;
    let (bar, box_) = (shop.variant("bar", 10).await, shop.variant("box", 10).await);
    let id = shop.begin("begin", &[(bar, 2), (box_, 1), (bar, 1)]).await;
    assert_eq!(shop.status(id).await, CheckoutStatus::AwaitingPayment);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 10, held: 3, allocated: 0 });

    let view = shop.pay("pay", id, GOOD).await;

    assert_eq!(view.status, CheckoutStatus::Completed);
    assert_eq!(view.order_number.as_deref(), Some("1001"));
    assert_eq!(view.total, gbp(5000));
    let order = shop.order(id).await.unwrap();
    assert_eq!((order.status, order.paid), (OrderStatus::Paid, Some(gbp(5000))));
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Captured);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 10, held: 0, allocated: 3 });
    assert_eq!(shop.stock(box_).await, Stock { on_hand: 10, held: 0, allocated: 1 });
    let key = checkout::payment_id(id, 1);
    assert_eq!(shop.calls(), [format!("authorise {key}"), format!("capture {key}/capture")]);
}

#[tokio::test]
async fn nothing_more_happens_to_what_is_finished() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.pay("pay", id, GOOD).await;
    let head = shop.head().await;

    shop.advance(Duration::days(1));
    shop.drain().await;
    sagas::drive_checkout(&shop.ctx, shop.store_id, id).await.unwrap();

    assert_eq!(shop.head().await, head);
    let refused = shop.start_payment("pay again", id, GOOD).await.unwrap_err();
    assert!(matches!(refused, CommandError::Rejected(CheckoutError::AlreadyCompleted)));
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    let declined = shop.pay("first card", id, DECLINED).await;
    let completed = shop.pay("second card", id, GOOD).await;
    assert_ne!(declined, completed);
    let head = shop.head().await;

    assert_eq!(shop.pay("first card", id, DECLINED).await, declined);
    assert_eq!(shop.pay("second card", id, GOOD).await, completed);
    assert_eq!(shop.try_begin("begin", &[(bar, 1)], None).await.unwrap(), id);
    assert_eq!(shop.head().await, head);
}

#[tokio::test]
async fn a_declined_card_leaves_the_hold_for_another() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;

    let view = shop.pay("first card", id, DECLINED).await;

    assert_eq!(view.status, CheckoutStatus::AwaitingPayment);
    let decline = view.last_decline.unwrap();
    assert_eq!((&*decline.code, decline.advice), ("card_declined", DeclineAdvice::OtherMethod));
    assert_eq!(shop.stock(bar).await.held, 1);
    assert_eq!(shop.orders().await, []);

    let view = shop.pay("second card", id, GOOD).await;
    assert_eq!(view.status, CheckoutStatus::Completed);
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Declined);
    assert_eq!(shop.payment(id, 2).await.status, PaymentStatus::Captured);
}

#[tokio::test]
async fn three_d_secure_passes_with_the_right_answer() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    let view = shop.pay("pay", id, THREE_D_SECURE).await;
    assert_eq!(view.status, CheckoutStatus::ActionRequired);
    assert!(view.required_action.is_some());

    let view = shop.answer("answer", id, "pass").await;

    assert_eq!(view.status, CheckoutStatus::Completed);
    assert_eq!(shop.answer("answer", id, "pass").await, view);
}

#[tokio::test]
async fn three_d_secure_that_fails_is_a_decline() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.pay("pay", id, THREE_D_SECURE).await;

    let view = shop.answer("answer", id, "fail").await;

    assert_eq!(view.status, CheckoutStatus::AwaitingPayment);
    assert_eq!(view.last_decline.unwrap().code, "authentication_failed");
    assert_eq!(shop.pay("other card", id, GOOD).await.status, CheckoutStatus::Completed);
}

#[tokio::test]
async fn a_capture_that_fails_undoes_everything() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;

    let view = shop.pay("pay", id, CAPTURE_FAILS).await;

    assert_eq!(view.status, CheckoutStatus::Failed);
    let provider_code = "capture_failed".to_owned();
    assert_eq!(view.failure, Some(FailureCause::CaptureFailed { provider_code }));
    assert_eq!(shop.order(id).await.unwrap().status, OrderStatus::Cancelled);
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Voided);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 1, held: 0, allocated: 0 });
}

#[tokio::test]
async fn a_checkout_that_is_given_up_holds_nothing() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    shop.pay("pay", id, THREE_D_SECURE).await;

    let intent = shop.intent("abandon");
    let done = checkout::abandon(&shop.ctx.commands, &intent, id).await.unwrap();
    shop.drain().await;

    let view = shop.settled(id, done.position).await;
    assert_eq!(
        (view.status, view.failure),
        (CheckoutStatus::Failed, Some(FailureCause::Abandoned))
    );
    assert_eq!(shop.payment(id, 1).await.status, PaymentStatus::Voided);
    assert_eq!(shop.stock(bar).await.held, 0);
}

#[tokio::test]
async fn one_step_begins_and_pays() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.try_begin("begin", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::Completed);
}

#[tokio::test]
async fn lines_that_cannot_be_bought_are_named() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let unknown = event_schemas::ids::VariantId::derive(&[b"nothing"]);

    let refused = shop.try_begin("begin", &[(bar, 0), (bar, 1000), (unknown, 1)], None).await;

    let Err(BeginError::Lines(lines)) = refused else { panic!("{refused:?}") };
    let problems: Vec<_> = lines.into_iter().map(|line| (line.index, line.problem)).collect();
    let out_of_range = LineProblem::QuantityOutOfRange { max: 999 };
    let expected = [(0, out_of_range.clone()), (1, out_of_range), (2, LineProblem::UnknownVariant)];
    assert_eq!(problems, expected);
}
