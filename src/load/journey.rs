//! From what is sold to the commands' events, in the order in which the process makes them
//! (`sagas/src/checkout/drive.rs`, `sagas/src/refund.rs`). Checkout, order and payment decide
//! themselves, so that a history the rules would not allow cannot be written.

use chrono::{DateTime, TimeDelta, Utc};
use commands::{
    checkout::{
        BeginCheckout, CHECKOUT, Checkout, CheckoutCommand as C, HOLD, Terms, order_id, payment_id,
    },
    order::{ORDER, Order, OrderCommand as O, PlaceOrder, RequestRefund},
    payment::{PAYMENT, Payment, PaymentCommand as P, RequestIntent},
};
use event_schemas::{
    checkout::FailureCause,
    ids::{CheckoutId, PaymentId, RefundId},
    money::Money,
    order::{Channel, RefundLine, Restock},
    payment::DeclineAdvice,
    store::CaptureMoment,
};
use event_store::Unit;

use super::{
    Plan,
    range::Goods,
    sale::{Ending, Sale},
    stock::{self, Stock, Units},
    units::{Journey, Stream, Who},
};

/// The sandbox's cards: one that pays and one that does not.
const CARD: &str = "sbx_ok";
const BAD_CARD: &str = "sbx_declined";

/// What a sale, or a product, adds to the log.
pub(super) fn product(plan: &Plan, goods: Goods, stock: &mut [Stock]) -> anyhow::Result<Vec<Unit>> {
    let mut journey = Journey::new(plan, goods.id.to_string());
    let mut stream = Stream::<domain::catalog::Product>::new(goods.id.0);
    for made in goods.made {
        journey.add(&commands::catalog::PRODUCT, &mut stream, made, (Who::Importer, goods.at))?;
    }
    for (variant_id, stock) in goods.variants.iter().zip(stock) {
        let received = stock.receive(0, goods.at);
        journey.stock(*variant_id, stock, received, (Who::Importer, goods.at))?;
    }
    Ok(journey.units)
}

pub(super) fn sale(plan: &Plan, sale: &Sale, stocks: &mut [Stock]) -> anyhow::Result<Vec<Unit>> {
    let mut journey = Journey::new(plan, sale.id.to_string());
    if sale.ending == Ending::SecondThoughts {
        abandoned(&mut journey, sale, stocks)?;
    }
    let mut buying = Buying::begin(&mut journey, sale, sale.id, stocks)?;
    buying.pay(&mut journey)?;
    buying.place(&mut journey, stocks)?;
    buying.complete(&mut journey)?;
    match sale.ending {
        Ending::Kept | Ending::SecondCard | Ending::SecondThoughts => {}
        Ending::Cancelled(after, reason) => {
            buying.cancel(&mut journey, stocks, (after, reason))?;
        }
        Ending::Refunded { after, reason, whole } => {
            buying.refund(&mut journey, stocks, (after, reason), whole)?;
        }
    }
    Ok(journey.units)
}

/// A checkout for the same goods half an hour earlier, which its shopper gave up.
fn abandoned(journey: &mut Journey, sale: &Sale, stocks: &mut [Stock]) -> anyhow::Result<()> {
    let id = CheckoutId::derive(&[sale.id.0.as_bytes(), b"abandoned"]);
    let mut buying = Buying::begin(journey, sale, id, stocks)?;
    let (by, at) = ((Who::Process, buying.at), buying.at);
    let command = if sale.channel == Channel::Api {
        C::Abandon { at }
    } else {
        C::StartCompensation { cause: FailureCause::Expired, at }
    };
    let events = buying.checkout.state.decide(command)?;
    journey.add(&CHECKOUT, &mut buying.checkout, events, by)?;
    for line in &sale.units {
        let stock = &mut stocks[line.index];
        let released = stock.release(id, line.quantity, at);
        journey.stock(line.variant_id, stock, released, by)?;
    }
    let events = buying.checkout.state.decide(C::Fail { at })?;
    journey.add(&CHECKOUT, &mut buying.checkout, events, by)
}

/// A sale that is under way.
struct Buying<'a> {
    sale: &'a Sale,
    id: CheckoutId,
    checkout: Stream<Checkout>,
    payment: Stream<Payment>,
    order: Stream<Order>,
    payment_id: PaymentId,
    total: Money,
    at: DateTime<Utc>,
}

impl<'a> Buying<'a> {
    /// The goods are held.
    fn begin(
        journey: &mut Journey,
        sale: &'a Sale,
        id: CheckoutId,
        stocks: &mut [Stock],
    ) -> anyhow::Result<Buying<'a>> {
        let at = sale.at;
        let taken_over = sale.channel == Channel::Import;
        let begin = BeginCheckout {
            checkout_id: id,
            lines: sale.lines.clone(),
            charges: sale.charges.clone(),
            customer_reference: sale.customer.clone(),
            country: Some(sale.country.to_owned()),
            cart_id: None,
            coupons: vec![],
            channel: sale.channel,
            order_number: taken_over.then(|| sale.number.clone()),
            hold_until: at + HOLD,
            backdated_to: taken_over.then_some(at),
            payment_method: None,
            at,
        };
        let (mut checkout, by) = (Stream::<Checkout>::new(id.0), (sale.who(), at));
        let events = checkout.state.decide(C::Begin(Box::new(begin)))?;
        journey.add(&CHECKOUT, &mut checkout, events, by)?;
        let by = (Who::Process, at);
        for line in &sale.units {
            let stock = &mut stocks[line.index];
            if !stock.has(line.quantity) {
                let received = stock.receive(line.quantity, at - TimeDelta::hours(1));
                journey.stock(line.variant_id, stock, received, (Who::Importer, at))?;
            }
            let held = stock.reserve(id, line.quantity, (at, at + HOLD));
            journey.stock(line.variant_id, stock, held, by)?;
        }
        let events = checkout.state.decide(C::SecureStock { at })?;
        journey.add(&CHECKOUT, &mut checkout, events, by)?;
        let started = checkout.state.started.as_ref();
        let total = started.ok_or_else(|| anyhow::anyhow!("a checkout did not begin"))?.total;
        let payment_id = payment_id(id, 1);
        Ok(Buying {
            sale,
            id,
            checkout,
            payment: Stream::new(payment_id.0),
            order: Stream::new(order_id(id).0),
            payment_id,
            total,
            at,
        })
    }

    /// The money is authorised, at the second try if it has to be.
    fn pay(&mut self, journey: &mut Journey) -> anyhow::Result<()> {
        let at = self.at;
        if self.sale.ending == Ending::SecondCard {
            self.attempt(journey, 1, BAD_CARD)?;
            let (code, advice) = ("card_declined".to_owned(), DeclineAdvice::OtherMethod);
            self.tell_payment(journey, P::RecordDeclined { code: code.clone(), advice, at })?;
            self.tell(journey, C::RecordDeclined { attempt: 1, code, advice, at })?;
        }
        let attempt = self.checkout.state.last_attempt() + 1;
        self.attempt(journey, attempt, CARD)?;
        let provider_reference = format!("{CARD}.{}", self.payment_id);
        let (amount, expires_at) = (self.total, None);
        let authorised = P::RecordAuthorised { provider_reference, amount, expires_at, at };
        self.tell_payment(journey, authorised)?;
        self.tell(journey, C::RecordAuthorised { attempt, at })
    }

    fn attempt(&mut self, journey: &mut Journey, attempt: u32, card: &str) -> anyhow::Result<()> {
        let (checkout_id, at) = (self.id, self.at);
        let payment_method = card.to_owned();
        let start = C::StartPayment {
            checkout_id,
            payment_method: payment_method.clone(),
            terms: Terms::default(),
            now: at,
            at,
        };
        let events = self.checkout.state.decide(start)?;
        journey.add(&CHECKOUT, &mut self.checkout, events, (self.sale.who(), at))?;
        self.payment_id = payment_id(checkout_id, attempt);
        self.payment = Stream::new(self.payment_id.0);
        let (amount, provider) = (self.total, "sandbox".to_owned());
        let intent = RequestIntent { checkout_id, attempt, amount, provider, payment_method, at };
        self.tell_payment(journey, P::RequestIntent(Box::new(intent)))
    }

    /// There is an order and it has its goods.
    fn place(&mut self, journey: &mut Journey, stocks: &mut [Stock]) -> anyhow::Result<()> {
        let Sale { number, lines, charges, customer, country, channel, .. } = self.sale;
        let place = PlaceOrder {
            number: number.clone(),
            checkout_id: self.id,
            payment_id: self.payment_id,
            lines: lines.clone(),
            charges: charges.clone(),
            total: self.total,
            customer_reference: customer.clone(),
            country: Some((*country).to_owned()),
            channel: *channel,
            pricing: None,
            ship_to: None,
            at: self.at,
        };
        self.tell_order(journey, O::Place(Box::new(place)))?;
        for line in &self.sale.units {
            let given = stock::allocated(self.id, order_id(self.id), line.quantity, self.at);
            let by = (Who::Process, self.at);
            journey.stock(line.variant_id, &mut stocks[line.index], given, by)?;
        }
        self.tell_order(journey, O::Confirm { capture: CaptureMoment::Immediately, at: self.at })
    }

    /// The money is ours.
    fn complete(&mut self, journey: &mut Journey) -> anyhow::Result<()> {
        let (at, amount) = (self.at, self.total);
        self.tell_payment(journey, P::RequestCapture { at })?;
        let provider_reference = format!("{CARD}.{}", self.payment_id);
        self.tell_payment(journey, P::RecordCaptured { provider_reference, amount, at })?;
        self.tell_order(journey, O::RecordPaid { amount, at })?;
        let (order_id, order_number) = (order_id(self.id), self.sale.number.clone());
        self.tell(journey, C::Complete { order_id, order_number, at })
    }

    fn cancel(
        &mut self,
        journey: &mut Journey,
        stocks: &mut [Stock],
        (after, reason): (TimeDelta, &str),
    ) -> anyhow::Result<()> {
        self.at += after;
        let (at, refund_id, reason) = (self.at, self.refund_id(b"cancel"), reason.to_owned());
        let request = O::RequestCancellation { refund_id, reason: reason.clone(), at };
        let events = self.order.state.decide(request)?;
        journey.add(&ORDER, &mut self.order, events, (self.sale.who(), at))?;
        self.give_back(journey, stocks, refund_id, &self.sale.units)?;
        self.send_back(journey, refund_id, self.total, reason)?;
        self.tell_order(journey, O::RecordRefund { refund_id, at })?;
        self.tell_order(journey, O::RecordCancelled { at })
    }

    fn refund(
        &mut self,
        journey: &mut Journey,
        stocks: &mut [Stock],
        (after, reason): (TimeDelta, &str),
        whole: bool,
    ) -> anyhow::Result<()> {
        self.at += after;
        let at = self.at;
        let refund_id = self.refund_id(b"refund");
        let of = |line: &event_schemas::order::OrderLine, quantity| RefundLine {
            line_id: line.line_id,
            quantity,
            restock: Restock::Cancel,
        };
        let (lines, amount, units) = if whole {
            let lines = self.sale.lines.iter().map(|line| of(line, line.quantity)).collect();
            (lines, self.total, self.sale.units.clone())
        } else {
            let units = Units { quantity: 1, ..self.sale.units[0] };
            let line = &self.sale.lines[0];
            (vec![of(line, 1)], line.unit_price, vec![units])
        };
        let new = RequestRefund {
            refund_id,
            reference: Some(format!("CN-{}", self.sale.number)),
            amount,
            lines,
            reason: reason.to_owned(),
            at,
        };
        let events = self.order.state.decide(O::RequestRefund(Box::new(new)))?;
        journey.add(&ORDER, &mut self.order, events, (self.sale.who(), at))?;
        self.send_back(journey, refund_id, amount, reason.to_owned())?;
        self.give_back(journey, stocks, refund_id, &units)?;
        self.tell_order(journey, O::RecordRefund { refund_id, at })
    }

    fn refund_id(&self, why: &[u8]) -> RefundId {
        RefundId::derive(&[self.id.0.as_bytes(), why])
    }

    fn give_back(
        &self,
        journey: &mut Journey,
        stocks: &mut [Stock],
        refund_id: RefundId,
        units: &[Units],
    ) -> anyhow::Result<()> {
        for line in units {
            let (stock, reference) = (&mut stocks[line.index], refund_id.to_string());
            let back = stock.deallocate(order_id(self.id), reference, line.quantity, self.at);
            journey.stock(line.variant_id, stock, back, (Who::Process, self.at))?;
        }
        Ok(())
    }

    fn send_back(
        &mut self,
        journey: &mut Journey,
        refund_id: RefundId,
        amount: Money,
        reason: String,
    ) -> anyhow::Result<()> {
        let at = self.at;
        self.tell_payment(journey, P::RequestRefund { refund_id, amount, reason, at })?;
        let provider_reference = format!("sbx_refund.{refund_id}");
        self.tell_payment(journey, P::RecordRefundSucceeded { refund_id, provider_reference, at })
    }

    fn tell(&mut self, journey: &mut Journey, command: C) -> anyhow::Result<()> {
        let events = self.checkout.state.decide(command)?;
        journey.add(&CHECKOUT, &mut self.checkout, events, (Who::Process, self.at))
    }

    fn tell_payment(&mut self, journey: &mut Journey, command: P) -> anyhow::Result<()> {
        let events = self.payment.state.decide(command)?;
        journey.add(&PAYMENT, &mut self.payment, events, (Who::Process, self.at))
    }

    fn tell_order(&mut self, journey: &mut Journey, command: O) -> anyhow::Result<()> {
        let events = self.order.state.decide(command)?;
        journey.add(&ORDER, &mut self.order, events, (Who::Process, self.at))
    }
}

impl Sale {
    fn who(&self) -> Who {
        match self.channel {
            Channel::Api => Who::Shopper,
            Channel::Import => Who::Importer,
        }
    }
}
