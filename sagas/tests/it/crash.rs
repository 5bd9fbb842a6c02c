//! A crash after every effect: whoever comes next finishes, and nothing is done twice.

use std::sync::{Arc, atomic::AtomicU32};

use chrono::Duration;
use commands::{
    checkout::{CheckoutStatus, CheckoutView, order_id},
    order,
};
use event_schemas::ids::{CheckoutId, VariantId};
use sagas::{DriveError, Next, SagaCtx};

use crate::shop::{Shop, Stock};

/// More effects than any story here has.
const EFFECTS_MAX: u32 = 100;

/// The context of a process that dies after so many effects.
fn mortal(shop: &Shop, effects: u32) -> SagaCtx {
    SagaCtx { budget: Some(Arc::new(AtomicU32::new(effects))), ..shop.ctx.clone() }
}

/// How a story ended, free of ids and times.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    status: CheckoutStatus,
    failure: Option<String>,
    orders: usize,
    stock: Stock,
    /// Calls of the provider without repeats, in order.
    calls: Vec<String>,
    events: i64,
}

async fn ending(shop: &Shop, id: CheckoutId, bar: VariantId) -> Ending {
    let CheckoutView { status, failure, .. } = shop.view(id).await;
    let mut calls = shop.calls();
    calls.dedup();
    Ending {
        status,
        failure: failure.map(|cause| format!("{cause:?}")),
        orders: shop.orders().await.len(),
        stock: shop.stock(bar).await,
        calls,
        events: shop.head().await,
    }
}

/// Two bars bought with a card, by processes that die after `deaths` effects and 20 s later are
/// followed by the next. Returns whether the first one lived.
async fn buy(token: &str, deaths: u32) -> (Ending, bool) {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 5).await;
    let id = shop.try_begin("begin", &[(bar, 2)], Some(token)).await.unwrap();
    let mut effects = deaths;
    let mut lived = true;
    for _ in 0..EFFECTS_MAX {
        match sagas::drive_checkout(&mortal(&shop, effects), shop.store_id, id).await {
            Ok(Next::Done) => return (ending(&shop, id, bar).await, lived),
            // Nobody pays a second time: the hold runs out.
            Ok(Next::At(at)) => shop.advance(at - shop.now()),
            Err(DriveError::Stopped) => {
                lived = false;
                effects = EFFECTS_MAX;
                shop.advance(Duration::milliseconds(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("does not end");
}

async fn survives_every_crash(token: &str) {
    let (undisturbed, _) = buy(token, EFFECTS_MAX).await;
    for deaths in 0..EFFECTS_MAX {
        let (ending, lived) = buy(token, deaths).await;
        assert_eq!(ending, undisturbed, "after {deaths} effects");
        if lived {
            assert!(deaths > 3, "the story has effects");
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
    for deaths in 0..EFFECTS_MAX {
        let shop = Shop::new().await;
        let bar = shop.variant("bar", 5).await;
        let id = shop.try_begin("begin", &[(bar, 2)], Some("sbx_ok")).await.unwrap();
        shop.drain().await;
        let (ctx, order_id) = (&shop.ctx.commands, order_id(id));
        order::cancel(ctx, &shop.intent("cancel"), order_id, "why not".to_owned()).await.unwrap();

        let first = sagas::drive_order(&mortal(&shop, deaths), shop.store_id, order_id).await;
        shop.drain().await;

        let order = shop.order(id).await.unwrap();
        assert_eq!(order.status, order::OrderStatus::Cancelled, "after {deaths} effects");
        assert_eq!(shop.stock(bar).await, Stock { on_hand: 5, held: 0, allocated: 0 });
        let mut calls = shop.calls();
        calls.dedup();
        assert_eq!(calls.len(), 3, "authorise, capture, refund, each under one key: {calls:?}");
        if first.is_ok() {
            assert!(deaths > 3, "the story has effects");
            return;
        }
    }
    panic!("no process lived to the end");
}
