//! Two processes drive one checkout, because the lease of the first is over: whatever the second
//! one gets done between two steps of the first, money, goods and order end on the same side.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use chrono::Duration;
use commands::{
    Ctx,
    checkout::{self, CheckoutCommand, CheckoutStatus},
    inventory::{self, NewHold},
    order::OrderStatus,
    payment::{PaymentRefundState, PaymentStatus},
};
use event_schemas::{
    checkout::FailureCause,
    ids::{CheckoutId, VariantId},
    inventory::ReleaseCause,
};
use sagas::{DriveError, SagaCtx};

use crate::{
    crash::{EFFECTS_MAX, mortal},
    shop::{Shop, Stock},
};

/// Effects of a purchase whose stock is held, up to and with the order that is placed.
const EFFECTS_TO_PLACE: u32 = 5;

/// More effects than it takes from there to the end.
const EFFECTS_TO_PAY: u32 = 9;

/// Looks a process takes at the clock between finding too little and giving the order up.
const LOOKS: std::ops::RangeInclusive<u32> = 2..=3;

/// A bar that was held for the checkout and is somebody else's now, and an order for it.
async fn placed_and_short(shop: &Shop, name: &str) -> (CheckoutId, VariantId) {
    let bar = shop.variant(name, 1).await;
    let id = shop.begin(name, &[(bar, 1)]).await;
    shop.start_payment(&format!("pay {name}"), id, "4242424242424242").await.unwrap();
    let ctx = mortal(shop, EFFECTS_TO_PLACE);
    let stopped = sagas::drive_checkout(&ctx, shop.store_id, id).await;
    assert!(matches!(stopped, Err(DriveError::Stopped)));
    assert_eq!(shop.order(id).await.unwrap().status, OrderStatus::Placed);
    let (commands, other) = (&shop.ctx.commands, CheckoutId::derive(&[b"other", id.0.as_bytes()]));
    let (release, reserve) = (format!("release {name}"), format!("reserve {name}"));
    let cause = ReleaseCause::Cancelled;
    inventory::release(commands, &shop.intent(&release), bar, id, cause).await.unwrap();
    let until = shop.now() + Duration::hours(1);
    let hold = NewHold { reservation_id: other, quantity: 1, until };
    inventory::reserve(commands, &shop.intent(&reserve), bar, hold).await.unwrap();
    (id, bar)
}

/// The context of a process during whose `look`th look at the clock the stock arrives and another
/// process gets `effects` further.
fn overtaken(
    shop: &Arc<Shop>,
    name: &str,
    (id, bar): (CheckoutId, VariantId),
    when: (u32, u32),
) -> SagaCtx {
    let (shop, name, (look, effects)) = (Arc::clone(shop), name.to_owned(), when);
    let (ctx, looks, here) =
        (shop.ctx.clone(), AtomicU32::new(0), tokio::runtime::Handle::current());
    let now = move || {
        if looks.fetch_add(1, Ordering::SeqCst) == look {
            tokio::task::block_in_place(|| {
                here.block_on(async {
                    shop.receive(&format!("more {name}"), bar, 1).await;
                    let other = mortal(&shop, effects);
                    // It dies at some point, which is the point.
                    let _ = sagas::drive_checkout(&other, shop.store_id, id).await;
                });
            });
        }
        shop.now()
    };
    SagaCtx { commands: Ctx { now: Arc::new(now), ..ctx.commands.clone() }, ..ctx }
}

/// Nobody pays for nothing, and nobody gets anything for nothing.
async fn assert_settled(shop: &Shop, id: CheckoutId, (bar, free): (VariantId, Stock), what: &str) {
    let status = shop.status(id).await;
    let order = shop.order(id).await.map(|order| order.status);
    let payment = shop.payment(id, 1).await;
    let allocated = shop.stock(bar).await.allocated - free.allocated;
    if status == CheckoutStatus::Completed {
        assert_eq!(order, Some(OrderStatus::Paid), "{what}");
        assert_eq!((payment.status, allocated), (PaymentStatus::Captured, 1), "{what}");
        assert!(payment.refunds.is_empty(), "{what}");
        return;
    }
    assert_eq!(status, CheckoutStatus::Failed, "{what}");
    assert!(matches!(order, None | Some(OrderStatus::Cancelled)), "{what}: {order:?}");
    let refunded = |state: &PaymentRefundState| *state == PaymentRefundState::Succeeded;
    match payment.status {
        PaymentStatus::Captured => {
            assert_eq!(payment.refunds.len(), 1, "{what}");
            assert!(payment.refunds.values().all(|refund| refunded(&refund.state)), "{what}");
        }
        PaymentStatus::Voided | PaymentStatus::Absent => {}
        other => panic!("{what}: the payment is {other:?}"),
    }
    assert_eq!(shop.stock(bar).await, free, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_that_arrives_for_one_process_only_leaves_no_paid_order_without_money() {
    let shop = Arc::new(Shop::new().await);
    for look in LOOKS {
        for effects in 0..=EFFECTS_TO_PAY {
            let name = format!("bar-{look}-{effects}");
            let (id, bar) = placed_and_short(&shop, &name).await;
            let ctx = overtaken(&shop, &name, (id, bar), (look, effects));
            // Refused steps are driven again.
            let _ = sagas::drive_checkout(&ctx, shop.store_id, id).await;
            shop.advance(Duration::minutes(1));
            shop.drain().await;

            let free = Stock { on_hand: 2, held: 1, allocated: 0 };
            assert_settled(&shop, id, (bar, free), &name).await;
        }
    }
}

#[tokio::test]
async fn a_purchase_that_is_undone_at_any_moment_is_undone_as_a_whole() {
    let shop = Shop::new().await;
    for effects in 0..EFFECTS_MAX {
        let name = format!("bar-{effects}");
        let bar = shop.variant(&name, 1).await;
        let id = shop.try_begin(&name, &[(bar, 1)], Some("sbx_ok")).await.unwrap();
        let lived = sagas::drive_checkout(&mortal(&shop, effects), shop.store_id, id).await.is_ok();
        // As another process does that still believes there is too little.
        let undo = CheckoutCommand::StartCompensation {
            cause: FailureCause::InsufficientStock { lines: vec![] },
            at: shop.now(),
        };
        let intent = shop.intent(&format!("undo {name}"));
        checkout::record(&shop.ctx.commands, &intent, id, undo).await.unwrap();
        shop.drain().await;

        let free = Stock { on_hand: 1, held: 0, allocated: 0 };
        assert_settled(&shop, id, (bar, free), &name).await;
        if lived {
            assert!(effects > EFFECTS_TO_PAY, "the story has effects");
            return;
        }
    }
    panic!("no process lived to the end");
}

#[tokio::test]
async fn what_is_known_after_a_command_is_what_is_in_the_log() {
    let shop = Shop::new().await;
    let (ctx, bar) = (&shop.ctx.commands, shop.variant("bar", 1).await);
    let id = shop.try_begin("begin", &[(bar, 1)], None).await.unwrap();
    let at = shop.now();
    let mut known = checkout::load(ctx, shop.store_id, id).await.unwrap();
    let secure = CheckoutCommand::SecureStock { at };
    let undo = CheckoutCommand::StartCompensation { cause: FailureCause::Expired, at };
    // Done, of no effect, repeated, of no effect on what another process has moved meanwhile.
    for (name, command, meanwhile) in [
        ("secure", secure.clone(), None),
        ("again", secure.clone(), None),
        ("secure", secure.clone(), None),
        ("late", secure, Some(undo)),
        ("fail", CheckoutCommand::Fail { at }, None),
    ] {
        if let Some(command) = meanwhile {
            checkout::record(ctx, &shop.intent("meanwhile"), id, command).await.unwrap();
        }
        checkout::tell(ctx, &shop.intent(name), id, (command, &mut known)).await.unwrap();
        let stored = checkout::load(ctx, shop.store_id, id).await.unwrap();
        assert_eq!((&known.state, known.version), (&stored.state, stored.version), "{name}");
        assert_eq!(known.position, stored.position, "{name}");
    }
    assert_eq!(shop.status(id).await, CheckoutStatus::Failed);
}
