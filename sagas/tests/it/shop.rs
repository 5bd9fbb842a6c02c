//! A shop in a database of its own, and what one does with it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Duration, Utc};
use commands::{
    CommandError, Ctx, Intent, catalog,
    checkout::{self, BeginError, CheckoutStatus, CheckoutView, NewCheckout, NewLine},
    inventory,
    order::{self, Placed},
    payment::{self, Payment},
};
use domain::{
    catalog::{NewProduct, NewVariant},
    inventory::Receipt,
};
use event_schemas::{
    ids::{ActorId, CheckoutId, CommandId, OrderId, StoreId, VariantId},
    inventory::StockSource,
    metadata::{Actor, ActorKind},
    money::{Currency, Money},
    order::Channel,
};
use event_store::read;
use providers::payment::{PaymentProvider, Sandbox};
use sagas::SagaCtx;

use crate::db::{Db, new_id};

pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) ctx: SagaCtx,
    pub(crate) store_id: StoreId,
    /// Calls of the provider, as `call key`.
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    clock: Arc<AtomicI64>,
}

/// Units of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) on_hand: u64,
    /// Holds, those that are over included.
    pub(crate) held: u64,
    pub(crate) allocated: u64,
}

pub(crate) fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

pub(crate) fn usd(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::USD }
}

impl Shop {
    pub(crate) async fn new() -> Shop {
        let db = Db::new().await;
        let clock = Arc::new(AtomicI64::new(1_790_000_000_000));
        let hand = clock.clone();
        let now = move || {
            DateTime::from_timestamp_millis(hand.load(Ordering::SeqCst)).expect("is in range")
        };
        let commands = Ctx { engine: db.engine(), now: Arc::new(now), new_id };
        let (sandbox, calls) = Sandbox::recording();
        let ctx = SagaCtx::new(commands, db.process.clone(), PaymentProvider::Sandbox(sandbox));
        Shop { db, ctx, store_id: StoreId::of_slug("demo"), calls, clock }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ctx.commands.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    /// The intent of a shopper; the same name is the same request.
    pub(crate) fn intent(&self, name: &str) -> Intent {
        intent(&self.ctx.commands, self.store_id, name)
    }

    /// A published product of one variant at 12.50 GBP, with that many units.
    pub(crate) async fn variant(&self, name: &str, units: u32) -> VariantId {
        product(&self.ctx.commands, self.store_id, (name, gbp(1250)), units).await
    }

    pub(crate) async fn receive(&self, name: &str, variant_id: VariantId, quantity: u32) {
        receive(&self.ctx.commands, self.store_id, (name, variant_id), quantity).await;
    }

    pub(crate) async fn stock(&self, variant_id: VariantId) -> Stock {
        let level = inventory::level(&self.ctx.commands, self.store_id, variant_id).await.unwrap();
        // At the beginning of time no hold is over.
        let levels = level.0.levels(DateTime::UNIX_EPOCH);
        levels.iter().fold(Stock { on_hand: 0, held: 0, allocated: 0 }, |sum, level| Stock {
            on_hand: sum.on_hand + level.on_hand,
            held: sum.held + level.reserved,
            allocated: sum.allocated + level.allocated,
        })
    }

    /// A checkout of some units of each variant, driven until it rests.
    pub(crate) async fn begin(&self, name: &str, lines: &[(VariantId, u32)]) -> CheckoutId {
        let begun = self.try_begin(name, lines, None).await.unwrap();
        self.drain().await;
        begun
    }

    pub(crate) async fn try_begin(
        &self,
        name: &str,
        lines: &[(VariantId, u32)],
        payment_method: Option<&str>,
    ) -> Result<CheckoutId, BeginError> {
        let new = new_checkout(lines, payment_method);
        let begun = checkout::begin(&self.ctx.commands, &self.intent(name), new).await?;
        Ok(begun.checkout_id)
    }

    /// Pays with a card of the sandbox, without driving the checkout.
    pub(crate) async fn start_payment(
        &self,
        name: &str,
        id: CheckoutId,
        card: &str,
    ) -> Result<i64, CommandError<checkout::CheckoutError>> {
        let token = providers::payment::sandbox::tokenise(card).unwrap().to_owned();
        let (commands, intent) = (&self.ctx.commands, self.intent(name));
        let payment = checkout::NewPayment::by(token);
        match Box::pin(checkout::start_payment(commands, &intent, id, payment)).await {
            Ok(done) => Ok(done.position),
            Err(checkout::QuoteError::Command(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    /// Pays with a card and drives the checkout until it rests.
    pub(crate) async fn pay(&self, name: &str, id: CheckoutId, card: &str) -> CheckoutView {
        let position = self.start_payment(name, id, card).await.unwrap();
        self.drain().await;
        self.settled(id, position).await
    }

    pub(crate) async fn answer(&self, name: &str, id: CheckoutId, answer: &str) -> CheckoutView {
        let (commands, intent) = (&self.ctx.commands, self.intent(name));
        let done = checkout::answer_action(commands, &intent, id, answer.to_owned()).await.unwrap();
        self.drain().await;
        self.settled(id, done.position).await
    }

    pub(crate) async fn settled(&self, id: CheckoutId, position: i64) -> CheckoutView {
        let settled =
            checkout::settled(&self.ctx.commands, self.store_id, id, position).await.unwrap();
        let Some(settled) = settled else {
            let sql = "SELECT last_error FROM process.work WHERE id = $1";
            let error: Option<Option<String>> =
                sqlx::query_scalar(sql).bind(id.0).fetch_optional(&self.db.process).await.unwrap();
            panic!("the checkout does not rest: {error:?}");
        };
        settled
    }

    pub(crate) async fn view(&self, id: CheckoutId) -> CheckoutView {
        checkout::current(&self.ctx.commands, self.store_id, id).await.unwrap().unwrap()
    }

    pub(crate) async fn status(&self, id: CheckoutId) -> CheckoutStatus {
        self.view(id).await.status
    }

    pub(crate) async fn order(&self, id: CheckoutId) -> Option<Placed> {
        let order_id = checkout::order_id(id);
        order::load(&self.ctx.commands, self.store_id, order_id).await.unwrap().state.placed
    }

    pub(crate) async fn payment(&self, id: CheckoutId, attempt: u32) -> Payment {
        let payment_id = checkout::payment_id(id, attempt);
        payment::load(&self.ctx.commands, self.store_id, payment_id).await.unwrap().state
    }

    pub(crate) async fn drain(&self) -> u64 {
        sagas::drain(&self.ctx).await.unwrap()
    }

    /// Orders that were ever placed.
    pub(crate) async fn orders(&self) -> Vec<OrderId> {
        let mut conn = self.db.writer.acquire().await.unwrap();
        let filter = read::Filter { categories: &["order"], types: &["OrderPlaced"] };
        let read = read::read_after_filtered(&mut conn, 0, 10_000, filter).await.unwrap();
        read.events.iter().map(|event| OrderId(event.stream_id)).collect()
    }

    pub(crate) async fn head(&self) -> i64 {
        read::head(&mut self.db.writer.acquire().await.unwrap()).await.unwrap()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Calls whose name is that.
    pub(crate) fn calls_of(&self, call: &str) -> usize {
        self.calls().iter().filter(|noted| noted.starts_with(&format!("{call} "))).count()
    }
}

/// The intent of a shopper; the same name is the same request in a store.
pub(crate) fn intent(ctx: &Ctx, store_id: StoreId, name: &str) -> Intent {
    Intent {
        store_id,
        actor: Actor { kind: ActorKind::User, id: ActorId::derive(&[b"shopper"]) },
        command_id: CommandId::derive(&[store_id.0.as_bytes(), name.as_bytes()]),
        fingerprint: [7; 32],
        correlation_id: name.to_owned(),
        request_id: None,
        expected: None,
        at: ctx.now(),
        priority: commands::Priority::Normal,
        deadline: None,
    }
}

/// A published product of one variant, with that many units.
pub(crate) async fn product(
    ctx: &Ctx,
    store_id: StoreId,
    (name, price): (&str, Money),
    units: u32,
) -> VariantId {
    let create = intent(ctx, store_id, &format!("create {name}"));
    let (id, variant_id) = (catalog::new_product_id(&create), catalog::new_variant_id(&create, 0));
    let variant = NewVariant {
        variant_id,
        sku: Some(name.to_owned()),
        barcode: None,
        option_values: vec![],
        weight_g: None,
        price: Some(price),
        compare_at: None,
    };
    let (handle, title) = (name.to_owned(), name.to_owned());
    let product = NewProduct { handle, title, variants: vec![variant], ..NewProduct::default() };
    catalog::create(ctx, &create, id, product).await.unwrap();
    let publish = intent(ctx, store_id, &format!("publish {name}"));
    catalog::publish(ctx, &publish, id).await.unwrap();
    if units > 0 {
        receive(ctx, store_id, (name, variant_id), units).await;
    }
    variant_id
}

async fn receive(
    ctx: &Ctx,
    store_id: StoreId,
    (name, variant_id): (&str, VariantId),
    quantity: u32,
) {
    let receipt = Receipt {
        location: "main".to_owned(),
        quantity,
        source: StockSource::Opening,
        unit_cost: None,
        reference: None,
    };
    let intent = intent(ctx, store_id, &format!("receive {name} {quantity}"));
    inventory::receive(ctx, &intent, variant_id, receipt).await.unwrap();
}

pub(crate) fn new_checkout(
    lines: &[(VariantId, u32)],
    payment_method: Option<&str>,
) -> NewCheckout {
    let line = |&(variant_id, quantity): &(VariantId, u32)| NewLine {
        variant_id,
        quantity,
        unit_price: None,
    };
    NewCheckout {
        lines: lines.iter().map(line).collect(),
        charges: vec![],
        customer_reference: None,
        country: None,
        cart_id: None,
        coupons: vec![],
        channel: Channel::Api,
        order_number: None,
        hold_until: None,
        backdated_to: None,
        payment_method: payment_method.map(str::to_owned),
    }
}
