//! A crash after every effect: whoever comes next finishes, and nothing is done twice.

use std::sync::{Arc, atomic::AtomicU32};

use chrono::Duration;
use commands::{
    checkout::{self, CheckoutStatus, CheckoutView},
    order::{self, OrderStatus},
};
use event_schemas::ids::{CheckoutId, VariantId};
use sagas::{DriveError, Next, SagaCtx};

use crate::shop::{Shop, Stock};

/// More effects than any story here has.
pub(crate) const EFFECTS_MAX: u32 = 100;

/// The context of a process that dies after so many effects.
pub(crate) fn mortal(shop: &Shop, effects: u32) -> SagaCtx {
    SagaCtx { budget: Some(Arc::new(AtomicU32::new(effects))), ..shop.ctx.clone() }
}

/// How a story ended, free of ids and times.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    status: CheckoutStatus,
    failure: Option<String>,
    order: Option<OrderStatus>,
    stock: Stock,
    /// Calls of the provider without repeats, in order; the payment's id is cut out.
    calls: Vec<String>,
    events: i64,
}

/// Two bars bought with a card, by a process that dies after so many effects and then by one that
/// does not. Returns whether the first one lived to the end.
async fn buy(shop: &Shop, token: &str, effects: u32) -> (Ending, bool) {
    let name = format!("{token} {effects}").replace([' ', '_'], "-");
    let bar = shop.variant(&name, 5).await;
    let (head, calls) = (shop.head().await, shop.calls().len());
    let id = shop.try_begin(&name, &[(bar, 2)], Some(token)).await.unwrap();
    let mut ctx = mortal(shop, effects);
    let mut lived = true;
    for _ in 0..EFFECTS_MAX {
        match sagas::drive_checkout(&ctx, shop.store_id, id).await {
            Ok(Next::Done) => return (ending(shop, id, bar, (head, calls)).await, lived),
            // Nobody pays a second time: the hold runs out.
            Ok(Next::At(at)) => shop.advance(at - shop.now()),
            Ok(Next::Unanswered { .. }) => panic!("the sandbox answers"),
            Err(DriveError::Stopped) => {
                lived = false;
                ctx = shop.ctx.clone();
                shop.advance(Duration::milliseconds(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("does not end");
}

async fn ending(
    shop: &Shop,
    id: CheckoutId,
    bar: VariantId,
    (head, calls): (i64, usize),
) -> Ending {
    let CheckoutView { status, failure, .. } = shop.view(id).await;
    let mut calls = shop.calls().split_off(calls);
    // A look moves nothing, and whoever comes after a crash may look once more.
    calls.retain(|call| !call.starts_with("look_up "));
    calls.dedup();
    let payment_id = checkout::payment_id(id, 1).to_string();
    Ending {
        status,
        failure: failure.map(|cause| format!("{cause:?}")),
        order: shop.order(id).await.map(|order| order.status),
        stock: shop.stock(bar).await,
        calls: calls.iter().map(|call| call.replace(&payment_id, "<payment>")).collect(),
        events: shop.head().await - head,
    }
}

async fn survives_every_crash(token: &str) {
    let shop = Shop::new().await;
    let (undisturbed, _) = buy(&shop, token, EFFECTS_MAX).await;
    for effects in 0..EFFECTS_MAX {
        let (ending, lived) = buy(&shop, token, effects).await;
        assert_eq!(ending, undisturbed, "after {effects} effects");
        if lived {
            assert!(effects > 3, "the story has effects");
            return;
        }
    }
    panic!("no process lived to the end");
}

#[tokio::test]
async fn a_purchase_survives_every_crash() {
    survives_every_crash("sbx_ok").await;
}

#[tokio::test]
async fn a_failed_capture_survives_every_crash() {
    survives_every_crash("sbx_capture_fails").await;
}

#[tokio::test]
async fn a_declined_card_and_an_expired_hold_survive_every_crash() {
    survives_every_crash("sbx_declined").await;
}

#[tokio::test]
async fn an_unanswered_action_survives_every_crash() {
    survives_every_crash("sbx_three_d_secure").await;
}

#[tokio::test]
async fn a_cancellation_survives_every_crash() {
    let shop = Shop::new().await;
    for effects in 0..EFFECTS_MAX {
        let name = format!("buyer-{effects}");
        let bar = shop.variant(&name, 5).await;
        let id = shop.try_begin(&name, &[(bar, 2)], Some("sbx_ok")).await.unwrap();
        shop.drain().await;
        let (ctx, order_id) = (&shop.ctx.commands, checkout::order_id(id));
        let (intent, reason) = (shop.intent(&format!("cancel {name}")), "why not".to_owned());
        order::cancel(ctx, &intent, order_id, reason).await.unwrap();
        let calls = shop.calls().len();

        let first = sagas::drive_order(&mortal(&shop, effects), shop.store_id, order_id).await;
        shop.drain().await;

        let order = shop.order(id).await.unwrap();
        assert_eq!(order.status, OrderStatus::Cancelled, "after {effects} effects");
        assert_eq!(shop.stock(bar).await, Stock { on_hand: 5, held: 0, allocated: 0 });
        let mut calls = shop.calls().split_off(calls);
        calls.dedup();
        assert_eq!(calls.len(), 1, "one refund under one key: {calls:?}");
        if first.is_ok() {
            assert!(effects > 3, "the story has effects");
            return;
        }
    }
    panic!("no process lived to the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_at_once_do_everything_once() {
    let shop = Shop::new().await;
    for (token, ended) in
        [("sbx_ok", CheckoutStatus::Completed), ("sbx_capture_fails", CheckoutStatus::Failed)]
    {
        let name = token.replace('_', "-");
        let bar = shop.variant(&name, 5).await;
        let id = shop.try_begin(&name, &[(bar, 2)], Some(token)).await.unwrap();

        let drives = (0..4).map(|_| sagas::drive_checkout(&shop.ctx, shop.store_id, id));
        let drives = futures::future::join_all(drives).await;
        assert!(drives.iter().any(Result::is_ok), "{drives:?}");
        shop.drain().await;

        assert_eq!(shop.status(id).await, ended);
        let allocated = if ended == CheckoutStatus::Completed { 2 } else { 0 };
        assert_eq!(shop.stock(bar).await, Stock { on_hand: 5, held: 0, allocated });
    }
    assert_eq!(shop.orders().await.len(), 2);
    let mut calls = shop.calls();
    calls.retain(|call| !call.starts_with("look_up "));
    calls.sort();
    calls.dedup();
    assert_eq!(calls.len(), 5, "each call under one key: {calls:?}");
}
