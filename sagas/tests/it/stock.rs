//! Many want the same.

use chrono::Duration;
use commands::{
    checkout::{CheckoutStatus, HOLD},
    order::OrderStatus,
};
use event_schemas::{
    checkout::{FailureCause, Shortage},
    ids::{CheckoutId, VariantId},
};
use futures::{StreamExt as _, stream};

use crate::shop::{Shop, Stock};

async fn all_buy(shop: &Shop, variant: VariantId, buyers: usize) -> Vec<CheckoutId> {
    let buying = stream::iter(0..buyers).map(async |buyer| {
        shop.try_begin(&format!("buyer {buyer}"), &[(variant, 1)], Some("sbx_ok")).await.unwrap()
    });
    let checkouts = buying.buffer_unordered(16).collect().await;
    shop.drain().await;
    checkouts
}

async fn with_status(shop: &Shop, ids: &[CheckoutId], status: CheckoutStatus) -> Vec<CheckoutId> {
    let mut found = vec![];
    for &id in ids {
        if shop.status(id).await == status {
            found.push(id);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_buyers_of_one_item_make_one_order() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;

    let checkouts = all_buy(&shop, bar, 2).await;

    assert_eq!(with_status(&shop, &checkouts, CheckoutStatus::Completed).await.len(), 1);
    let failed = with_status(&shop, &checkouts, CheckoutStatus::Failed).await;
    let shortage = Shortage { variant_id: bar, requested: 1, available: 0 };
    let cause = FailureCause::InsufficientStock { lines: vec![shortage] };
    assert_eq!(shop.view(failed[0]).await.failure, Some(cause));
    assert_eq!(shop.orders().await.len(), 1);
    shop.advance(HOLD);
    shop.drain().await;
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 1, held: 0, allocated: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_of_five_hundred_buyers_get_the_hundred_units() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 100).await;

    let checkouts = all_buy(&shop, bar, 500).await;

    assert_eq!(with_status(&shop, &checkouts, CheckoutStatus::Completed).await.len(), 100);
    assert_eq!(with_status(&shop, &checkouts, CheckoutStatus::Failed).await.len(), 400);
    assert_eq!(shop.orders().await.len(), 100);
    assert_eq!(shop.calls_of("authorise"), 100);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 100, held: 0, allocated: 100 });
}

#[tokio::test]
async fn a_short_line_frees_the_others_and_every_short_line_is_named() {
    let shop = Shop::new().await;
    let (many, few, none) = (
        shop.variant("many", 10).await,
        shop.variant("few", 2).await,
        shop.variant("none", 0).await,
    );

    let id = shop.begin("begin", &[(many, 3), (few, 2), (few, 1), (none, 1)]).await;

    let view = shop.view(id).await;
    assert_eq!(view.status, CheckoutStatus::Failed);
    let Some(FailureCause::InsufficientStock { mut lines }) = view.failure else {
        panic!("{:?}", view.failure)
    };
    lines.sort_by_key(|line| line.requested);
    let short = |variant_id, requested, available| Shortage { variant_id, requested, available };
    assert_eq!(lines, [short(none, 1, 0), short(few, 3, 2)]);
    assert_eq!(shop.stock(many).await.held, 0);
    assert_eq!(shop.stock(few).await.held, 0);
}

#[tokio::test]
async fn a_shopper_who_walks_away_holds_nothing_after_15_minutes() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;

    shop.advance(HOLD - Duration::milliseconds(1));
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::AwaitingPayment);
    assert_eq!(shop.stock(bar).await.held, 1);

    shop.advance(Duration::milliseconds(1));
    shop.drain().await;
    let view = shop.view(id).await;
    assert_eq!((view.status, view.failure), (CheckoutStatus::Failed, Some(FailureCause::Expired)));
    assert_eq!(shop.stock(bar).await.held, 0);
}

#[tokio::test]
async fn stock_that_was_lost_before_the_order_undoes_the_payment() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    // Somebody else got the unit although it was held: the hold is given up behind our back.
    let cause = event_schemas::inventory::ReleaseCause::Cancelled;
    let release = shop.intent("release");
    commands::inventory::release(&shop.ctx.commands, &release, bar, id, cause).await.unwrap();
    let other = shop.try_begin("other", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.status(other).await, CheckoutStatus::Completed);

    let view = shop.pay("pay", id, "4242424242424242").await;

    assert_eq!(view.status, CheckoutStatus::Failed);
    assert!(matches!(view.failure, Some(FailureCause::InsufficientStock { .. })));
    assert_eq!(shop.order(id).await.unwrap().status, OrderStatus::Cancelled);
    assert_eq!(shop.calls_of("void"), 1);
    assert_eq!(shop.stock(bar).await, Stock { on_hand: 1, held: 0, allocated: 1 });
}
