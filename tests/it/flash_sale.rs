//! More buyers than units, over real connections. The full size is `./dev bench flash-sale`.

use std::time::Duration;

use api_kit::Permission;
use chrono::TimeDelta;

use crate::app::{App, STORE, story};
use sale::{Ended, Plan, Shop};

#[path = "../../bench/src/flash_sale/sale.rs"]
mod sale;

/// A thirtieth of the full size: a debug build, the buyers and other tests share the machine.
const PLAN: Plan =
    Plan { buyers: 300, units: 30, rate: 150.0, others_rate: 5.0, quiet: Duration::from_secs(1) };

/// Longest patience of a buyer who was told to come again.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);

/// A step of the clock: time goes on for whatever waits to be tried again.
const TICK: Duration = Duration::from_millis(20);

#[test]
fn three_hundred_buyers_of_thirty_units_are_all_answered_and_none_is_sold_twice() {
    story(async |app: App| {
        let shop = Shop::new(&app.serve().await, &app.token(STORE, Permission::ALL)).unwrap();
        let time = async {
            loop {
                tokio::time::sleep(TICK).await;
                app.wait(TimeDelta::from_std(TICK).unwrap());
            }
        };
        let sale = tokio::select! {
            sale = sale::run(&shop, PLAN) => sale.unwrap(),
            () = time => unreachable!("time does not end"),
        };
        let mut log = app.owner.acquire().await.unwrap();
        sale.check(PLAN, &mut log).await.unwrap();
        assert!(0 < sale.count(Ended::Paid), "somebody pays");
        assert!(!sale.quiet.is_empty() && !sale.during.is_empty(), "others buy too");
        for buyer in &sale.buyers {
            assert!(buyer.took < ANSWERED_WITHIN, "{buyer:?} of a sale of {:?}", sale.took);
            assert!(buyer.first <= buyer.took, "{buyer:?}");
            assert_eq!(buyer.shed == 0, buyer.shed_took.is_zero(), "{buyer:?}");
        }
        app.project().await;
        let stock = app.get(&format!("/api/v1/stock/{}", sale.variant)).await;
        assert_eq!(stock.body["available"], 0, "{:#}", stock.body);
    });
}
