//! What is sold, to whom, when, and how it ends. A sale follows from its number.

use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::{
    ids::{CheckoutId, LineId},
    money::{Currency, Money},
    order::{Channel, Charge, ChargeKind, OrderLine},
};
use fastrand::Rng;

use super::{
    DAYS, Plan,
    range::{VARIANTS_MAX, front, is_sold},
    stock::Units,
    words::{CANCEL_REASONS, COUNTRIES, REFUND_REASONS},
};

/// The number of the first order.
const FIRST_NUMBER: u64 = 1_000_001;

/// Orders for each customer who comes back, on average.
const ORDERS_PER_CUSTOMER: u32 = 4;

/// Percent of the time in which orders come from the system before this one.
const TAKEN_OVER_PERCENT: u64 = 30;

/// Pence for carriage, and the value from which it is free.
const POSTAGE: i64 = 395;
const POSTAGE_FREE_FROM: i64 = 4_000;

/// What became of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Kept,
    /// The first card was refused.
    SecondCard,
    /// The same goods were in a checkout before, which was given up.
    SecondThoughts,
    /// Some time later, for a reason.
    Cancelled(TimeDelta, &'static str),
    /// One unit of the first line, or everything.
    Refunded {
        after: TimeDelta,
        reason: &'static str,
        whole: bool,
    },
}

#[derive(Debug)]
pub(super) struct Sale {
    pub(super) id: CheckoutId,
    pub(super) number: String,
    pub(super) at: DateTime<Utc>,
    pub(super) channel: Channel,
    pub(super) customer: Option<String>,
    pub(super) country: &'static str,
    pub(super) lines: Vec<OrderLine>,
    pub(super) charges: Vec<Charge>,
    /// By variant, each once.
    pub(super) units: Vec<Units>,
    pub(super) ending: Ending,
}

impl Plan {
    pub(super) fn sale(&self, number: u32) -> anyhow::Result<Sale> {
        let mut dice = self.dice(b"order", number);
        let id = CheckoutId::derive(&[&self.root, &number.to_be_bytes()]);
        let channel = if self.is_taken_over(number) { Channel::Import } else { Channel::Api };
        let (country, currency) = country(&mut dice, channel);
        let (lines, units) = self.lines(&mut dice, id, currency)?;
        let value: i64 = lines.iter().filter_map(OrderLine::total).map(|it| it.amount_minor).sum();
        let carriage = channel == Channel::Import && value < POSTAGE_FREE_FROM;
        let customers = (self.orders / ORDERS_PER_CUSTOMER).max(1);
        // Low numbers come back more often than high ones.
        let customer = dice.u32(0..customers).min(dice.u32(0..customers));
        let guest = dice.u8(0..5) == 0;
        Ok(Sale {
            id,
            number: (FIRST_NUMBER + u64::from(number)).to_string(),
            at: self.moment(&mut dice, number),
            channel,
            customer: (!guest).then(|| format!("cust-{customer:06}")),
            country,
            lines,
            charges: if carriage { vec![postage(currency)] } else { vec![] },
            units,
            ending: ending(&mut dice),
        })
    }

    fn is_taken_over(&self, number: u32) -> bool {
        u64::from(number) * 100 < u64::from(self.orders) * TAKEN_OVER_PERCENT
    }

    /// More and more as the shop becomes known; a higher number is never earlier.
    fn moment(&self, dice: &mut Rng, number: u32) -> DateTime<Utc> {
        let seconds =
            f64::from(i32::try_from(TimeDelta::days(DAYS).num_seconds()).unwrap_or(i32::MAX));
        let share = (f64::from(number) + dice.f64()) / f64::from(self.orders);
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a few years")]
        let passed = (seconds * share.sqrt()) as i64;
        self.opened + TimeDelta::seconds(passed)
    }

    fn lines(
        &self,
        dice: &mut Rng,
        id: CheckoutId,
        currency: Currency,
    ) -> anyhow::Result<(Vec<OrderLine>, Vec<Units>)> {
        let wanted = [1, 1, 1, 1, 1, 1, 2, 2, 2, 4][dice.usize(0..10)];
        let (mut lines, mut units): (Vec<OrderLine>, Vec<Units>) = (Vec::new(), Vec::new());
        for nth in 0_u64..wanted {
            let product = self.popular(dice);
            let goods = self.goods(product)?;
            let variant = dice.usize(0..goods.variants.len());
            let Some((variant_id, offer)) = goods.offer(variant) else { continue };
            let Ok(price) = offer.price else { continue };
            if units.iter().any(|line| line.variant_id == variant_id) {
                continue;
            }
            let quantity = [1, 1, 1, 1, 2, 2, 3, 6][dice.usize(0..8)];
            lines.push(OrderLine {
                line_id: LineId::derive(&[id.0.as_bytes(), &nth.to_be_bytes()]),
                product_id: goods.id,
                variant_id,
                sku: offer.sku,
                title: offer.title,
                quantity,
                unit_price: Money { currency, ..price },
            });
            let index = usize::try_from(product)? * VARIANTS_MAX + variant;
            units.push(Units { variant_id, index, quantity });
        }
        Ok((lines, units))
    }

    /// A product on sale. Few are bought often, and many hardly ever.
    fn popular(&self, dice: &mut Rng) -> u32 {
        let rank = dice.f64() * dice.f64() * f64::from(self.products);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a product")]
        let mut product = rank as u32;
        // Drafts never stand three in a row.
        while !is_sold(product) {
            product = (product + 1) % self.products;
        }
        product
    }
}

/// Where it goes and what is paid in: the shop itself sells in its own currency only.
fn country(dice: &mut Rng, channel: Channel) -> (&'static str, Currency) {
    let abroad = dice.u8(0..5) == 0;
    let (country, currency) = COUNTRIES[if abroad { front(dice, COUNTRIES.len()) } else { 0 }];
    match channel {
        Channel::Api => (country, Currency::GBP),
        Channel::Import => (country, Currency::from_code(currency).unwrap_or(Currency::GBP)),
    }
}

fn postage(currency: Currency) -> Charge {
    Charge {
        kind: ChargeKind::Postage,
        code: "POST".to_owned(),
        title: "Carriage".to_owned(),
        amount: Money { amount_minor: POSTAGE, currency },
    }
}

fn ending(dice: &mut Rng) -> Ending {
    let later = TimeDelta::hours(dice.i64(2..24 * 14));
    let one_of = |dice: &mut Rng, reasons: &[&'static str]| reasons[dice.usize(0..reasons.len())];
    match dice.u16(0..1_000) {
        0..20 => Ending::Cancelled(later, one_of(dice, CANCEL_REASONS)),
        20..60 => {
            let reason = one_of(dice, REFUND_REASONS);
            Ending::Refunded { after: later, reason, whole: dice.u8(0..4) == 0 }
        }
        60..90 => Ending::SecondCard,
        90..100 => Ending::SecondThoughts,
        _ => Ending::Kept,
    }
}
