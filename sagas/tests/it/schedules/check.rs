//! What must hold at the end of a schedule, by the provider's own books.

use std::collections::BTreeMap;

use commands::{
    checkout::{self, CheckoutStatus},
    inventory,
    order::{OrderStatus, RefundState},
};
use serde_json::Value;

use super::play::{KEY, Play, is_over, is_settled};

/// What happened, so that one sees that something did.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) rounds: u64,
    pub(super) attended: u64,
    pub(super) deaths: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    /// Failed checkouts whose money had been taken.
    pub(super) late: u64,
    pub(super) refunds: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.rounds += other.rounds;
        self.attended += other.attended;
        self.deaths += other.deaths;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.late += other.late;
        self.refunds += other.refunds;
    }

    /// Schedules in which nothing goes wrong prove nothing.
    pub(super) fn is_telling(&self, schedules: usize) {
        if schedules < 500 {
            return;
        }
        let Tally { attended, deaths, completed, failed, cancelled, late, refunds, .. } = self;
        for number in [attended, deaths, completed, failed, cancelled, late, refunds] {
            assert!(*number > 0, "{self:?}");
        }
    }
}

/// Compares what we know with what the provider knows.
pub(super) async fn check(play: &Play) -> Result<Tally, String> {
    let mut tally = play.tally.clone();
    let fault = match find_fault(play, &mut tally).await {
        Ok(()) => return Ok(tally),
        Err(fault) => fault,
    };
    Err(format!("{fault}: {}", play.describe().await))
}

async fn find_fault(play: &Play, tally: &mut Tally) -> Result<(), String> {
    let truth = play.served.with(|simulator, _| simulator.truth(KEY));
    let (intents, refunds) = (rows(&truth, "payment_intents"), rows(&truth, "refunds"));
    let view = checkout::current(&play.ctx.commands, play.store_id, play.id).await.unwrap();
    let (status, order) = (view.unwrap().status, play.order().await);
    let completed = status == CheckoutStatus::Completed;
    tally.completed += u64::from(completed);
    tally.failed += u64::from(status == CheckoutStatus::Failed);
    let order_status = order.as_ref().map(|order| order.status);
    tally.cancelled += u64::from(order_status == Some(OrderStatus::Cancelled));
    fail_if(!completed && status != CheckoutStatus::Failed, "a checkout does not end")?;
    fail_if(order_status.is_some_and(|status| !is_settled(status)), "an order does not end")?;
    fail_if(
        completed != order.as_ref().is_some_and(|order| order.paid.is_some()),
        "no paid order",
    )?;

    let kept = intents.iter().map(|one| number(one, "captured") - number(one, "refunded"));
    let refunded = order.as_ref().map_or(0, |order| {
        let recorded = order.refunds.values().filter(|one| one.state == RefundState::Recorded);
        recorded.map(|one| one.amount.amount_minor).sum()
    });
    let due = order.as_ref().and_then(|order| order.paid).map_or(0, |paid| paid.amount_minor);
    fail_if(kept.sum::<i64>() != due - refunded, "the provider holds other money than it should")?;
    fail_if(intents.iter().any(|one| number(one, "reserved") > 0), "money stays reserved")?;
    fail_if(intents.iter().any(|one| number(one, "charges") > 1), "charged twice")?;
    let mut keys: BTreeMap<&str, u32> = BTreeMap::new();
    for one in intents.iter().chain(&refunds) {
        *keys.entry(one["key"].as_str().unwrap_or_default()).or_default() += 1;
    }
    fail_if(keys.values().any(|times| *times > 1), "one request made two objects")?;

    for id in play.payment_ids() {
        let payment = play.payment(id).await;
        tally.late += u64::from(!completed && payment.captured.is_some());
        tally.refunds += u64::try_from(payment.refunds.len()).unwrap();
        fail_if(!is_over(payment.status), "a payment does not end")?;
        fail_if(payment.refunds.values().any(|one| one.state.is_open()), "a refund does not end")?;
        let key = id.to_string();
        let theirs = intents.iter().find(|one| one["key"] == key.as_str());
        let captured = theirs.map_or(0, |one| number(one, "captured"));
        let ours = payment.captured.map_or(0, |captured| captured.amount_minor);
        fail_if(captured != ours, "the books differ")?;
    }
    let item = inventory::level(&play.ctx.commands, play.store_id, play.variant).await.unwrap().0;
    let sold = order_status == Some(OrderStatus::Paid);
    let held: u64 = item.levels(play.now()).iter().map(|level| level.reserved).sum();
    let allocated: u64 = item.levels(play.now()).iter().map(|level| level.allocated).sum();
    fail_if(held > 0, "stock stays held")?;
    fail_if(allocated != u64::from(sold), "goods and money are not on the same side")
}

fn rows(truth: &Value, name: &str) -> Vec<Value> {
    truth[name].as_array().cloned().unwrap_or_default()
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_default()
}

fn fail_if(wrong: bool, what: &str) -> Result<(), String> {
    if wrong { Err(what.to_owned()) } else { Ok(()) }
}
