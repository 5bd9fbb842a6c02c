//! One schedule: a shopper, a provider, webhooks, runners that die, and time that jumps.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

use chrono::{DateTime, Duration, Utc};
use commands::{
    Ctx,
    checkout::{self, CheckoutStatus},
    order::{self, NewRefund, OrderStatus},
    payment::{self, Payment, PaymentStatus},
};
use event_schemas::{
    ids::{CheckoutId, PaymentId, StoreId, VariantId},
    payment::PaymentAction,
};
use event_store::Engine;
use fastrand::Rng;
use providers::payment::{PaymentProvider, Stripe, stripe::Account};
use sagas::{Attended, DriveError, Next, SagaCtx};
use stripe_sim::{Faults, Served, Simulator};

use super::{
    check::{Tally, check},
    plan::{Afterwards, Plan, faults, one_of},
};
use crate::{
    db::{Db, new_id},
    shop::{self, new_checkout},
};

pub(super) const KEY: &str = "sk_test_shop";

/// Rounds before the provider and the processes stop failing.
const FAULTY_ROUNDS: u32 = 60;

/// Rounds after which what is not done is stuck.
const ROUNDS_MAX: u32 = 600;

/// The breaker of the provider's client counts in real time: one that has opened stays open for up
/// to so many rounds, as in an outage. Part of [`FAULTY_ROUNDS`].
const BREAKER_ROUNDS: u32 = 10;

/// How long a process that died keeps others from its work.
const LEASE: Duration = Duration::seconds(30);

/// A stage of its own for one seed; the database is shared.
pub(super) struct Play {
    pub(super) seed: u64,
    pub(super) ctx: SagaCtx,
    pub(super) store_id: StoreId,
    pub(super) variant: VariantId,
    pub(super) id: CheckoutId,
    pub(super) served: Served,
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    rng: Rng,
    clock: Arc<AtomicI64>,
    /// When a runner comes to the checkout, to its order, to a payment.
    due: [Option<DateTime<Utc>>; 3],
    failures: [u32; 3],
    /// The shopper's next move in an action that is asked of them.
    acts_at: Option<DateTime<Utc>>,
    tried: u32,
    answered: u32,
    refunds: u32,
    healed: bool,
}

impl Play {
    pub(super) async fn run(db: Arc<Db>, engine: Engine, seed: u64) -> Result<Tally, String> {
        let mut play = Play::set(&db, engine, seed).await;
        for round in 0..ROUNDS_MAX {
            if round == FAULTY_ROUNDS {
                play.heal();
            }
            if round % BREAKER_ROUNDS == 0 {
                play.ctx.payments = provider(&play.served).into();
            }
            play.webhooks().await;
            play.runners().await;
            play.shopper().await;
            if !play.pass() {
                play.tally.rounds = u64::from(round);
                return check(&play).await;
            }
        }
        Err(format!("is stuck: {}", play.describe().await))
    }

    async fn set(db: &Db, engine: Engine, seed: u64) -> Play {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::of(&mut rng);
        let clock = Arc::new(AtomicI64::new(1_790_000_000));
        let hand = Arc::clone(&clock);
        let now = move || DateTime::from_timestamp(hand.load(Ordering::SeqCst), 0).unwrap();
        let mut simulator = Simulator::default();
        simulator.set_faults(&faults(&mut rng));
        simulator.set_pace(KEY, plan.pace.0, plan.pace.1);
        simulator.endpoint(KEY, "http://127.0.0.1:9/", clock.load(Ordering::SeqCst));
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let still = Some(clock.load(Ordering::SeqCst));
        let served = stripe_sim::serve(here, simulator, still).await.unwrap();
        let commands = Ctx { engine, now: Arc::new(now), new_id };
        let ctx = SagaCtx::new(commands, db.process.clone(), provider(&served));
        let store_id = StoreId::of_slug(&format!("store-{seed}"));
        let variant = shop::product(&ctx.commands, store_id, ("bar", shop::usd(1_250)), 1).await;
        let intent = shop::intent(&ctx.commands, store_id, "begin");
        let new = new_checkout(&[(variant, 1)], None);
        let id = checkout::begin(&ctx.commands, &intent, new).await.unwrap().checkout_id;
        let (due, tally) = ([Some(ctx.commands.now()), None, None], Tally::default());
        Play {
            seed,
            ctx,
            store_id,
            variant,
            id,
            served,
            plan,
            tally,
            rng,
            clock,
            due,
            failures: [0; 3],
            acts_at: None,
            tried: 0,
            answered: 0,
            refunds: 0,
            healed: false,
        }
    }

    /// From now on the provider does as asked, and processes live.
    fn heal(&mut self) {
        self.healed = true;
        self.served.with(|simulator, _| simulator.set_faults(&Faults::default()));
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.ctx.commands.now()
    }

    pub(super) fn intent(&self, name: &str) -> commands::Intent {
        shop::intent(&self.ctx.commands, self.store_id, name)
    }

    pub(super) fn payment_ids(&self) -> Vec<PaymentId> {
        (1..=self.tried).map(|n| checkout::payment_id(self.id, n)).collect()
    }

    pub(super) async fn payment(&self, id: PaymentId) -> Payment {
        payment::load(&self.ctx.commands, self.store_id, id).await.unwrap().state
    }

    /// Whoever is told something looks at once.
    fn wake(&mut self) {
        self.due = [Some(self.now()); 3];
    }

    /// The shopper, and then the merchant, do what is theirs to do.
    async fn shopper(&mut self) {
        let view = checkout::current(&self.ctx.commands, self.store_id, self.id).await.unwrap();
        match view.unwrap().status {
            CheckoutStatus::AwaitingPayment => self.try_to_pay().await,
            CheckoutStatus::ActionRequired => self.act().await,
            CheckoutStatus::Completed => self.afterwards().await,
            _ => {}
        }
    }

    async fn try_to_pay(&mut self) {
        self.acts_at = None;
        let Some(method) = self.plan.methods.get(self.tried as usize).copied() else { return };
        let intent = self.intent(&format!("pay {}", self.tried));
        let commands = &self.ctx.commands;
        // Refused if the hold is over, which is as well.
        let payment = checkout::NewPayment::by(method.to_owned());
        let paid = checkout::start_payment(commands, &intent, self.id, payment);
        if Box::pin(paid).await.is_ok() {
            self.tried += 1;
            self.wake();
        }
    }

    async fn act(&mut self) {
        let now = self.now();
        let acts_at = *self.acts_at.get_or_insert(now + self.plan.hesitates);
        if now < acts_at {
            return;
        }
        if self.plan.abandons {
            let intent = self.intent("abandon");
            let _ = checkout::abandon(&self.ctx.commands, &intent, self.id).await;
            self.wake();
        }
        // A shopper who gave up in the shop may still have the provider's form open.
        if !self.plan.acts || self.answered == self.tried {
            return;
        }
        self.answered = self.tried;
        let payment = self.payment(checkout::payment_id(self.id, self.tried)).await;
        let Some(reference) = payment.provider_reference else { return };
        let (chosen, passes) = (self.plan.chosen, self.plan.passes);
        self.served.with(|simulator, now| match payment.action {
            Some(PaymentAction::Confirm) => simulator.shopper_confirms(&reference, chosen, now),
            _ => simulator.authenticate(&reference, passes, now),
        });
        if self.plan.returns {
            let intent = self.intent(&format!("return {}", self.tried));
            let answer = "back".to_owned();
            let _ = checkout::answer_action(&self.ctx.commands, &intent, self.id, answer).await;
            self.wake();
        }
    }

    async fn afterwards(&mut self) {
        let (order_id, commands) = (checkout::order_id(self.id), &self.ctx.commands);
        let reason = "changed their mind".to_owned();
        let wanted = match self.plan.afterwards {
            Afterwards::Kept => 0,
            Afterwards::Cancelled | Afterwards::RefundedOnce => 1,
            Afterwards::RefundedTwice => 2,
        };
        if self.refunds == wanted {
            return;
        }
        self.refunds += 1;
        let intent = self.intent(&format!("back {}", self.refunds));
        if self.plan.afterwards == Afterwards::Cancelled {
            order::cancel(commands, &intent, order_id, reason).await.unwrap();
        } else {
            let amount = shop::usd(400);
            let new = NewRefund { reference: None, amount, lines: vec![], reason };
            order::request_refund(commands, &intent, order_id, new).await.unwrap();
        }
        self.wake();
    }

    /// What the provider says: it is looked at, and said again if that did not work.
    async fn webhooks(&mut self) {
        for delivery in self.served.with(Simulator::due) {
            let mut taken = true;
            for id in self.payment_ids() {
                let ctx = self.mortal();
                let attended = sagas::attend_payment(&ctx, self.store_id, id).await;
                self.tally.attended += 1;
                taken &= !matches!(attended, Err(_) | Ok(Attended::NotYet));
            }
            self.served.with(|simulator, now| simulator.answered(&delivery, taken, now));
            // What it changed wakes who has to know.
            self.wake();
        }
    }

    /// Does what is due, as runners would.
    async fn runners(&mut self) {
        for process in 0..self.due.len() {
            if self.due[process].is_none_or(|due| self.now() < due) {
                continue;
            }
            let ctx = self.mortal();
            let (store_id, id) = (self.store_id, self.id);
            let driven = match process {
                0 => sagas::drive_checkout(&ctx, store_id, id).await,
                1 => sagas::drive_order(&ctx, store_id, checkout::order_id(id)).await,
                _ => self.drive_payments(&ctx).await,
            };
            self.due[process] = match driven {
                Ok(Next::Done) => None,
                Ok(Next::Unanswered { .. }) => Some(self.now() + Duration::minutes(1)),
                Ok(Next::At(at)) => Some(at.max(self.now() + Duration::seconds(1))),
                Err(DriveError::Stopped) => {
                    self.tally.deaths += 1;
                    Some(self.now() + LEASE)
                }
                Err(_) => {
                    self.failures[process] += 1;
                    let wait = 1_i64 << self.failures[process].min(6);
                    Some(self.now() + Duration::seconds(wait.min(60)))
                }
            };
            if self.due[process].is_none() {
                self.failures[process] = 0;
            }
            // What one process did may concern the others: their tail of the log would say so.
            if process == 0 {
                (self.due[1], self.due[2]) = (Some(self.now()), Some(self.now()));
            }
        }
    }

    async fn drive_payments(&self, ctx: &SagaCtx) -> Result<Next, DriveError> {
        let mut next = Next::Done;
        for id in self.payment_ids() {
            let one = sagas::drive_payment(ctx, self.store_id, id).await?;
            next = match (next, one) {
                (Next::At(one), Next::At(other)) => Next::At(one.min(other)),
                (Next::Done, next)
                | (next, Next::Done)
                | (next @ Next::Unanswered { .. }, _)
                | (_, next @ Next::Unanswered { .. }) => next,
            };
        }
        Ok(next)
    }

    /// The context of a process, which dies somewhere if it is unlucky.
    fn mortal(&mut self) -> SagaCtx {
        let unlucky = !self.healed && self.rng.u8(0..100) < self.plan.dies;
        let budget = unlucky.then(|| Arc::new(AtomicU32::new(self.rng.u32(0..12))));
        SagaCtx { budget, ..self.ctx.clone() }
    }

    /// Lets time pass until something is to be done. False if nothing is, ever.
    fn pass(&mut self) -> bool {
        let now = self.clock.load(Ordering::SeqCst);
        let due = self.due.iter().flatten().map(|due| due.timestamp() + 1);
        let acts = self.acts_at.map(|at| at.timestamp()).filter(|at| now < *at);
        let happens = self.served.with(|simulator, _| simulator.next());
        let Some(next) = due.chain(acts).chain(happens).min() else { return false };
        let mut next = next.max(now + 1);
        if !self.healed && self.rng.u8(0..100) < self.plan.sleeps {
            next += *one_of(&mut self.rng, &[600, 3_600, 25 * 3_600]);
        }
        self.clock.store(next, Ordering::SeqCst);
        self.served.set_time(next);
        true
    }

    pub(super) async fn describe(&self) -> String {
        let view = checkout::current(&self.ctx.commands, self.store_id, self.id).await.unwrap();
        let view = view.unwrap();
        let mut payments = vec![];
        for id in self.payment_ids() {
            let Payment { status, stray, unknown, refunds, .. } = self.payment(id).await;
            payments.push(format!("{status:?} stray={stray} unknown={unknown:?} {refunds:?}"));
        }
        let order = order::load(&self.ctx.commands, self.store_id, checkout::order_id(self.id));
        let order = order.await.unwrap().state.placed.map(|order| order.status);
        let truth = self.served.with(|simulator, _| simulator.truth(KEY));
        format!(
            "seed {} checkout {:?} {:?} order {order:?} payments {payments:?} due {:?} truth {truth} \
             plan {:?}",
            self.seed, view.status, view.failure, self.due, self.plan
        )
    }

    pub(super) async fn order(&self) -> Option<order::Placed> {
        let order_id = checkout::order_id(self.id);
        order::load(&self.ctx.commands, self.store_id, order_id).await.unwrap().state.placed
    }
}

fn provider(served: &Served) -> PaymentProvider {
    let account = Account {
        secret_key: KEY.to_owned(),
        publishable_key: None,
        webhook_secrets: vec![],
        base_url: Some(served.url()),
    };
    PaymentProvider::Stripe(Stripe::new(&account).unwrap())
}

/// Whether nothing is to happen to a payment any more.
pub(super) fn is_over(status: PaymentStatus) -> bool {
    use PaymentStatus as S;
    matches!(status, S::Absent | S::Declined | S::Captured | S::Voided)
}

/// Whether an order is as it should be at the end.
pub(super) fn is_settled(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::Paid | OrderStatus::Cancelled)
}
