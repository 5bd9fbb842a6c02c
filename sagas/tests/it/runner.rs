//! The runner: wakes up, shares, hands over, takes over.

use chrono::{DateTime, Duration, Utc};
use commands::checkout::{self, CheckoutStatus};
use tokio::{sync::watch, time::timeout};

use crate::shop::{Shop, new_checkout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_carry_a_purchase_to_its_end_and_stop_when_told() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 20).await;
    let (tell, told) = watch::channel(false);
    let runners = [
        tokio::spawn(sagas::run(shop.ctx.clone(), told.clone())),
        tokio::spawn(sagas::run(shop.ctx.clone(), told)),
    ];
    let mut checkouts = vec![];
    for buyer in 0..20 {
        let name = format!("buyer {buyer}");
        checkouts.push(shop.try_begin(&name, &[(bar, 1)], Some("sbx_ok")).await.unwrap());
    }

    let mut appended = shop.ctx.commands.engine.appended();
    let all_done = async {
        while shop.orders().await.len() < 20
            || shop.status(checkouts[19]).await != CheckoutStatus::Completed
        {
            appended.changed().await.unwrap();
        }
    };
    timeout(std::time::Duration::from_secs(20), all_done).await.expect("all are served");

    tell.send(true).unwrap();
    for runner in runners {
        timeout(std::time::Duration::from_secs(5), runner).await.expect("stops").unwrap();
    }
    shop.drain().await;
    assert_eq!(shop.calls_of("authorise"), 20);
    assert_eq!(shop.stock(bar).await.allocated, 20);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM process.work")
        .fetch_one(&shop.db.writer)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_leased_checkout_is_left_to_its_owner_until_the_lease_ends() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 2).await;
    let mine = checkout::new_checkout_id(&shop.intent("mine"));
    sagas::lease(&shop.ctx, shop.store_id, mine).await.unwrap();
    shop.try_begin("mine", &[(bar, 1)], Some("sbx_ok")).await.unwrap();

    assert_eq!(shop.drain().await, 0);
    assert_eq!(shop.status(mine).await, CheckoutStatus::Reserving);
    let loaded = sagas::drive_to_rest(&shop.ctx, shop.store_id, mine).await.unwrap();
    assert!(loaded.state.phase.is_end());
    assert_eq!(shop.drain().await, 0);

    let lost = checkout::new_checkout_id(&shop.intent("lost"));
    sagas::lease(&shop.ctx, shop.store_id, lost).await.unwrap();
    shop.try_begin("lost", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    shop.advance(Duration::seconds(30));
    shop.drain().await;
    assert_eq!(shop.status(lost).await, CheckoutStatus::Completed);
}

/// Where requests drive what they begin, runners leave it to them, and take up what is left.
#[tokio::test]
async fn runners_leave_a_checkout_to_its_request_for_the_length_of_the_grace() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 3).await;
    let runners = sagas::SagaCtx { grace: sagas::GRACE, ..shop.ctx.clone() };
    let drain = async || sagas::drain(&runners).await.unwrap();

    // Begun, and its process died with it.
    let left = shop.try_begin("left", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    assert_eq!(drain().await, 0);
    shop.advance(sagas::GRACE - Duration::milliseconds(1));
    assert_eq!(drain().await, 0);
    assert_eq!(shop.status(left).await, CheckoutStatus::Reserving);
    shop.advance(Duration::milliseconds(1));
    assert_eq!(drain().await, 1);
    assert_eq!(shop.status(left).await, CheckoutStatus::Completed);
    assert_eq!(due(&shop, left).await, None);

    // Driven by its request until it waits for the shopper: looked at a minute later, and then when
    // its hold ends.
    let waiting = shop.try_begin("waiting", &[(bar, 1)], None).await.unwrap();
    let began = shop.now();
    sagas::drive_checkout(&runners, shop.store_id, waiting).await.unwrap();
    assert_eq!(drain().await, 0);
    assert_eq!(due(&shop, waiting).await, Some(began + Duration::minutes(1)));
    shop.advance(Duration::seconds(59));
    assert_eq!(drain().await, 0);
    shop.advance(Duration::seconds(1));
    assert_eq!(drain().await, 1);
    assert_eq!(due(&shop, waiting).await, Some(began + checkout::HOLD));

    // Driven by its request to the end: there is nothing to look at.
    let done = shop.try_begin("done", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    sagas::drive_checkout(&runners, shop.store_id, done).await.unwrap();
    assert_eq!(shop.status(done).await, CheckoutStatus::Completed);
    assert_eq!(drain().await, 0);
    assert_eq!(due(&shop, done).await, None);
}

/// When a runner comes to a checkout.
async fn due(shop: &Shop, id: event_schemas::ids::CheckoutId) -> Option<DateTime<Utc>> {
    let sql = "SELECT due_at FROM process.work WHERE id = $1";
    sqlx::query_scalar(sql).bind(id.0).fetch_optional(&shop.db.process).await.unwrap()
}

#[tokio::test]
async fn a_checkout_handed_over_is_looked_after() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = checkout::new_checkout_id(&shop.intent("import"));
    sagas::lease(&shop.ctx, shop.store_id, id).await.unwrap();
    shop.try_begin("import", &[(bar, 1)], Some("sbx_late_success")).await.unwrap();
    let loaded = sagas::drive_to_rest(&shop.ctx, shop.store_id, id).await.unwrap();
    assert!(loaded.state.rests() && !loaded.state.phase.is_end());

    shop.advance(Duration::seconds(10));
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::Completed);
}

/// A crash of PostgreSQL may take rows and checkpoint back by a moment, here by all there was.
#[tokio::test]
async fn work_that_was_lost_is_found_again_and_its_wake_ups_are_told_apart() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let id = shop.begin("begin", &[(bar, 1)]).await;
    let generation = async || -> i64 {
        let sql = "SELECT generation FROM process.work WHERE id = $1";
        sqlx::query_scalar(sql).bind(id.0).fetch_one(&shop.db.process).await.unwrap()
    };
    let before = generation().await;
    shop.db.sabotage("DELETE FROM process.work").await;
    shop.db.sabotage("DELETE FROM log.checkpoints WHERE name = 'saga'").await;

    let paid = shop.pay("pay", id, "4000002500003155").await;

    assert_eq!(paid.status, CheckoutStatus::ActionRequired);
    // Whoever took the row before the crash must not take the payment's wake-up for its own.
    assert!(before < generation().await);
    assert_eq!(shop.answer("answer", id, "pass").await.status, CheckoutStatus::Completed);
    assert_eq!((shop.calls_of("authorise"), shop.calls_of("capture")), (1, 1));
}

#[tokio::test]
async fn a_purchase_of_the_past_is_dated_then() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    let then = shop.now() - Duration::days(5000);
    let intent = commands::Intent { at: then, ..shop.intent("import") };
    let mut new = new_checkout(&[(bar, 1)], Some("sbx_ok"));
    new.backdated_to = Some(then);
    new.channel = event_schemas::order::Channel::Import;
    new.order_number = Some("536365".to_owned());
    new.lines[0].unit_price = Some(crate::shop::gbp(255));
    let begun = checkout::begin(&shop.ctx.commands, &intent, new).await.unwrap();
    shop.drain().await;

    let view = shop.view(begun.checkout_id).await;
    assert_eq!(view.order_number.as_deref(), Some("536365"));
    assert_eq!(view.total, crate::shop::gbp(255));
    let dated: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM log.events_json
          WHERE category IN ('order', 'payment', 'checkout')
            AND (payload ->> 'at')::timestamptz <> $1",
    )
    .bind(then)
    .fetch_one(&shop.db.writer)
    .await
    .unwrap();
    assert_eq!(dated, 0);
}

#[tokio::test]
async fn many_numbers_that_imports_hold_are_passed_over_in_wider_steps() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 31).await;
    for number in 1_001..=1_030 {
        let mut new = new_checkout(&[(bar, 1)], Some("sbx_ok"));
        new.channel = event_schemas::order::Channel::Import;
        new.order_number = Some(number.to_string());
        let intent = shop.intent(&format!("import {number}"));
        checkout::begin(&shop.ctx.commands, &intent, new).await.unwrap();
    }
    shop.drain().await;

    let id = shop.try_begin("begin", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.view(id).await.order_number.as_deref(), Some("1032"));
}

#[tokio::test]
async fn a_number_that_an_import_holds_is_passed_over() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 3).await;
    let mut new = new_checkout(&[(bar, 1)], Some("sbx_ok"));
    new.channel = event_schemas::order::Channel::Import;
    new.order_number = Some("1001".to_owned());
    checkout::begin(&shop.ctx.commands, &shop.intent("import"), new).await.unwrap();
    shop.drain().await;

    let id = shop.try_begin("begin", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.view(id).await.order_number.as_deref(), Some("1002"));

    let mut twice = new_checkout(&[(bar, 1)], Some("sbx_ok"));
    twice.channel = event_schemas::order::Channel::Import;
    twice.order_number = Some("1001".to_owned());
    let begun = checkout::begin(&shop.ctx.commands, &shop.intent("twice"), twice).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.status(begun.checkout_id).await, CheckoutStatus::Failed);
    assert_eq!((shop.calls_of("void"), shop.stock(bar).await.allocated), (1, 2));
}

#[tokio::test]
async fn a_checkout_that_does_not_go_on_says_so_and_is_tried_again() {
    let shop = Shop::new().await;
    let bar = shop.variant("bar", 1).await;
    shop.db.sabotage("ALTER TABLE process.order_numbers RENAME TO gone").await;
    let id = shop.try_begin("begin", &[(bar, 1)], Some("sbx_ok")).await.unwrap();
    shop.drain().await;
    assert_eq!(shop.status(id).await, CheckoutStatus::Completing);

    for _ in 0..6 {
        shop.advance(Duration::minutes(1));
        shop.drain().await;
    }
    assert_eq!(shop.status(id).await, CheckoutStatus::Stuck);
    let head = shop.head().await;
    shop.advance(Duration::minutes(1));
    shop.drain().await;
    assert_eq!(shop.head().await, head, "it says so once");

    shop.db.sabotage("ALTER TABLE process.gone RENAME TO order_numbers").await;
    shop.advance(Duration::minutes(1));
    shop.drain().await;
    let view = shop.view(id).await;
    assert_eq!((view.status, view.stuck), (CheckoutStatus::Completed, None));
    assert_eq!(shop.calls_of("authorise"), 1);
}
