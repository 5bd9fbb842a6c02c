//! What a checkout costs: how it can be sent, coupons, tax; and paying what was quoted.
//!
//! Every figure is made here from the store's own rules. What a client sends is a wish or a check.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use domain::{
    catalog::Product,
    checkout::Terms,
    pricing::{Basket, BasketLine, COUPONS_MAX, Discount, PricingError, STANDARD_CLASS, price},
};
use event_schemas::{
    checkout::{CheckoutStarted, ShippingAddressSet},
    ids::{CheckoutId, ProductId, QuoteId, StoreId},
    money::Money,
    order::OrderLine,
    place::Place,
    quote::{Quote, RuleVersions, ShippingOption},
};
use event_store::{Done, Loaded, StoreError};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Checkout, CheckoutCommand, CheckoutError, Phase, load, of_journey, record};
use crate::{
    CommandError, Ctx, Intent, catalog,
    coupon::{self, Claim, Coupon, CouponCommand, CouponError},
    shipping::{self, Parcel, ShippingProfile},
    tax::{self, TaxPolicy},
};

/// How long a quote and the price of carriage are good: as long as stock is held at first.
pub const QUOTE_TTL: Duration = Duration::minutes(15);

/// Products of one checkout that are looked up at a time: each takes a connection for a moment.
const LOOK_UPS_AT_ONCE: usize = 4;

/// Why a checkout was not quoted.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// A rule of the checkout, or the log, said no.
    #[error(transparent)]
    Command(#[from] CommandError<CheckoutError>),
    /// A coupon cannot be used.
    #[error("coupon {code} cannot be used")]
    Coupon {
        /// Which.
        code: String,
        /// Why.
        error: CommandError<CouponError>,
    },
    /// More coupons than one purchase may have.
    #[error("at most {COUPONS_MAX} coupons")]
    TooManyCoupons,
    /// The store sends nothing like this to that place.
    #[error("this is not sent to that address")]
    Undeliverable,
    /// It is not sent that way.
    #[error("there is no such way to send it")]
    UnknownOption,
    /// The figures do not add up.
    #[error(transparent)]
    Pricing(#[from] PricingError),
}

impl From<StoreError> for QuoteError {
    fn from(error: StoreError) -> QuoteError {
        QuoteError::Command(CommandError::Store(error))
    }
}

impl From<CheckoutError> for QuoteError {
    fn from(error: CheckoutError) -> QuoteError {
        QuoteError::Command(CommandError::Rejected(error))
    }
}

/// What somebody who pays gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPayment {
    /// The provider's token of the card.
    pub payment_method: String,
    /// What the shopper was shown.
    pub expected_total: Option<Money>,
}

impl NewPayment {
    /// Pays whatever is due.
    pub fn by(payment_method: String) -> NewPayment {
        NewPayment { payment_method, expected_total: None }
    }
}

/// Pays with a card. The outcome shows in [`super::settled`], after the position this returns.
///
/// The uses of the coupons that the quote counts on are claimed until the checkout ends.
pub async fn start_payment(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    new: NewPayment,
) -> Result<Done, QuoteError> {
    let intent = of_journey(intent, checkout_id);
    // On the heap, as what follows: whoever pays would carry it around.
    let loading = async {
        tokio::try_join!(Rules::load(ctx, intent.store_id), load(ctx, intent.store_id, checkout_id))
    };
    let (rules, checkout) = Box::pin(loading).await?;
    let expected_total = new.expected_total;
    let terms = Terms { expected_total, ..rules.terms() };
    Box::pin(keep_coupons(ctx, &intent, checkout_id, (&checkout, &terms))).await?;
    let (payment_method, now, at) = (new.payment_method, ctx.now(), intent.at);
    let start = CheckoutCommand::StartPayment { checkout_id, payment_method, terms, now, at };
    Ok(Box::pin(record(ctx, &intent, checkout_id, start)).await?)
}

/// A claim of a quote lapses with it; that of a payment must not.
async fn keep_coupons(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    (known, terms): (&Loaded<Checkout>, &Terms),
) -> Result<(), QuoteError> {
    let checkout = &known.state;
    let (Some(quote), Some(started)) = (&checkout.quote, &checkout.started) else { return Ok(()) };
    let payable = checkout.phase == Phase::AwaitingPayment && ctx.now() < quote.expires_at;
    let believed = terms.expected_total.is_none_or(|expected| expected == quote.total);
    if quote.pricing.coupons.is_empty() || !payable || !believed {
        // The payment will be refused, or this is a repeat.
        return Ok(());
    }
    // A repeat after the checkout failed must not claim anything again.
    if ctx.engine.command(intent.store_id.0, intent.command_id.0).await?.is_some() {
        return Ok(());
    }
    for applied in &quote.pricing.coupons {
        let claim = claim(checkout_id, started, (None, intent.at));
        claim_use(ctx, &of_version(intent, known.version), &applied.code, claim).await?;
    }
    Ok(())
}

/// The ways to send a checkout, as they are now; none if the store has no shipping profile.
pub async fn shipping_options(
    ctx: &Ctx,
    store_id: StoreId,
    checkout_id: CheckoutId,
) -> Result<Vec<ShippingOption>, QuoteError> {
    let facts = Facts::load(ctx, store_id, checkout_id).await?;
    facts.options(ctx.now())
}

/// Chooses how a checkout is sent. The price is good until it expires, whatever the rules become.
pub async fn choose_shipping(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    code: &str,
) -> Result<Done, QuoteError> {
    let intent = of_journey(intent, checkout_id);
    if let Some(first) = replayed(ctx, &intent, checkout_id).await? {
        return Ok(first);
    }
    let facts = Facts::load(ctx, intent.store_id, checkout_id).await?;
    let options = facts.options(ctx.now())?;
    let option = options.into_iter().find(|option| option.code == code);
    let option = Box::new(option.ok_or(QuoteError::UnknownOption)?);
    let choose = CheckoutCommand::ChooseShipping { option, now: ctx.now(), at: intent.at };
    facts.tell(ctx, &intent, choose).await
}

/// Prices a checkout and stores the quote: that is what is paid. `coupons` replaces those it had;
/// if none are given it keeps them.
pub async fn quote(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    coupons: Option<Vec<String>>,
) -> Result<Done, QuoteError> {
    let intent = of_journey(intent, checkout_id);
    if let Some(first) = replayed(ctx, &intent, checkout_id).await? {
        return Ok(first);
    }
    let facts = Facts::load(ctx, intent.store_id, checkout_id).await?;
    let codes = facts.codes(coupons)?;
    let basket = facts.basket(quote_id(&intent), ctx.now())?;
    let until = Some(basket.expires_at);
    let (mut discounts, mut claimed) = (vec![], BTreeSet::new());
    for code in codes {
        let claim = claim(checkout_id, facts.started()?, (until, ctx.now()));
        match use_coupon(ctx, &of_version(&intent, facts.checkout.version), &code, claim).await {
            Ok(discount) => discounts.push(discount),
            Err(error) => {
                release(ctx, &intent, (checkout_id, &facts.checkout.state), claimed).await;
                return Err(error);
            }
        }
        claimed.insert(code);
    }
    let quote = Box::new(price(Basket { discounts, ..basket })?);
    let counted: Vec<String> =
        quote.pricing.coupons.iter().map(|applied| applied.code.clone()).collect();
    let command = CheckoutCommand::Price { quote, now: ctx.now(), at: intent.at };
    let done = facts.tell(ctx, &intent, command).await?;
    // What no quote counts on any more is free again.
    let before = facts.checkout.state.coupons.iter().cloned();
    let left = claimed.into_iter().chain(before).filter(|code| !counted.contains(code));
    release(ctx, &intent, (checkout_id, &Checkout::default()), left.collect()).await;
    Ok(done)
}

/// What a checkout would cost now, with the coupons it has that can still be used. Nothing is
/// stored and nothing claimed: nobody pays by it.
pub async fn preview(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
) -> Result<Quote, QuoteError> {
    let facts = Facts::load(ctx, intent.store_id, checkout_id).await?;
    let basket = facts.basket(quote_id(intent), ctx.now())?;
    let mut discounts = vec![];
    for code in facts.codes(None)? {
        let coupon = coupon::load(ctx, intent.store_id, &code).await?.state;
        let claim = claim(checkout_id, facts.started()?, (None, ctx.now()));
        if coupon.decide(CouponCommand::Claim(Box::new(claim))).is_ok() {
            discounts.extend(discount(&coupon));
        }
    }
    Ok(price(Basket { discounts, ..basket })?)
}

/// The quote that a command makes: the same command, the same quote.
fn quote_id(intent: &Intent) -> QuoteId {
    QuoteId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// The first answer to this command, if it was carried out before: the rules may be others now.
async fn replayed(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
) -> Result<Option<Done>, QuoteError> {
    let first = ctx.engine.command(intent.store_id.0, intent.command_id.0).await?;
    let Some(first) = first else { return Ok(None) };
    if first.fingerprint != intent.fingerprint || first.stream_id != checkout_id.0 {
        return Err(CommandError::KeyReused.into());
    }
    let (id, version, position) = (first.stream_id, first.version, first.position);
    Ok(Some(Done { id, version, position, replayed: true }))
}

/// The rules of a store that its quotes are made by.
struct Rules {
    tax: Loaded<TaxPolicy>,
    shipping: Loaded<ShippingProfile>,
}

impl Rules {
    async fn load(ctx: &Ctx, store_id: StoreId) -> Result<Rules, StoreError> {
        let (tax, shipping) =
            tokio::try_join!(tax::load(ctx, store_id), shipping::load(ctx, store_id))?;
        Ok(Rules { tax, shipping })
    }

    fn terms(&self) -> Terms {
        Terms {
            needs_shipping: self.shipping.state.is_defined(),
            needs_tax: self.tax.state.is_defined(),
            expected_total: None,
        }
    }
}

/// Everything a quote is made of.
struct Facts {
    checkout_id: CheckoutId,
    checkout: Loaded<Checkout>,
    rules: Rules,
    products: BTreeMap<ProductId, Product>,
}

impl Facts {
    async fn load(
        ctx: &Ctx,
        store_id: StoreId,
        checkout_id: CheckoutId,
    ) -> Result<Facts, QuoteError> {
        let (rules, checkout) =
            tokio::try_join!(Rules::load(ctx, store_id), load(ctx, store_id, checkout_id))?;
        let lines = checkout.state.started.as_ref().ok_or(CheckoutError::NotFound)?.lines.iter();
        let ids: BTreeSet<ProductId> = lines.map(|line| line.product_id).collect();
        let products = stream::iter(ids).map(async |id| {
            let found = catalog::load(ctx, store_id, id).await?;
            Ok::<_, StoreError>(found.map(|(product, _)| (id, product)))
        });
        let products = products.buffer_unordered(LOOK_UPS_AT_ONCE);
        let products = products.try_filter_map(async |found| Ok(found)).try_collect().await?;
        Ok(Facts { checkout_id, checkout, rules, products })
    }

    fn started(&self) -> Result<&CheckoutStarted, QuoteError> {
        Ok(self.checkout.state.started.as_ref().ok_or(CheckoutError::NotFound)?)
    }

    /// Codes as the store writes them, without repeats.
    fn codes(&self, given: Option<Vec<String>>) -> Result<BTreeSet<String>, QuoteError> {
        let codes: BTreeSet<String> = match (given, &self.checkout.state.quote) {
            (Some(given), _) => given.iter().map(|code| coupon::written(code)).collect(),
            (None, Some(quote)) => {
                quote.pricing.coupons.iter().map(|coupon| coupon.code.clone()).collect()
            }
            (None, None) => {
                self.started()?.coupons.iter().map(|code| coupon::written(code)).collect()
            }
        };
        if COUPONS_MAX < codes.len() { Err(QuoteError::TooManyCoupons) } else { Ok(codes) }
    }

    fn options(&self, now: DateTime<Utc>) -> Result<Vec<ShippingOption>, QuoteError> {
        let profile = &self.rules.shipping.state;
        if !profile.is_defined() {
            return Ok(vec![]);
        }
        let missing = vec![domain::checkout::Requirement::Address];
        let address = self.checkout.state.address.as_ref();
        let address = address.ok_or(CheckoutError::Incomplete { missing })?;
        let lines = &self.started()?.lines;
        let expires_at = self.expires_at(now);
        let options = profile.options(&place(address), self.parcel(lines)?, expires_at);
        if options.is_empty() { Err(QuoteError::Undeliverable) } else { Ok(options) }
    }

    /// A line whose product nobody weighed weighs nothing.
    fn parcel(&self, lines: &[OrderLine]) -> Result<Parcel, QuoteError> {
        let weight = |line: &OrderLine| {
            let variant = self.products.get(&line.product_id)?.variant(line.variant_id)?;
            Some(u64::from(variant.weight_g?) * u64::from(line.quantity))
        };
        let totals: Option<Vec<Money>> = lines.iter().map(OrderLine::total).collect();
        let totals = totals.ok_or(PricingError::OutOfRange)?;
        let currency = totals.first().ok_or(PricingError::Empty)?.currency;
        let sum = Money::sum(currency, totals).ok_or(PricingError::OtherCurrency)?;
        Ok(Parcel { weight_g: lines.iter().filter_map(weight).sum(), lines: sum })
    }

    /// With the stock at the latest: nobody can pay for what is not held.
    fn expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let hold_until = self.checkout.state.hold_until;
        hold_until.map_or(now + QUOTE_TTL, |until| until.min(now + QUOTE_TTL))
    }

    /// What is to be priced, without coupons.
    fn basket(&self, quote_id: QuoteId, now: DateTime<Utc>) -> Result<Basket, QuoteError> {
        let (checkout, started) = (&self.checkout.state, self.started()?);
        let mut missing = checkout.missing(&self.rules.terms());
        missing.retain(|what| *what != domain::checkout::Requirement::Quote);
        if !missing.is_empty() {
            return Err(CheckoutError::Incomplete { missing }.into());
        }
        let tax_class = |line: &OrderLine| {
            let product = self.products.get(&line.product_id);
            product.and_then(Product::tax_class).unwrap_or(STANDARD_CLASS).to_owned()
        };
        let lines = started.lines.iter().cloned();
        let taxation = checkout
            .address
            .as_ref()
            .and_then(|address| self.rules.tax.state.taxation(&place(address), now));
        Ok(Basket {
            quote_id,
            lines: lines.map(|l| BasketLine { tax_class: tax_class(&l), line: l }).collect(),
            shipping: self.carriage(now)?,
            discounts: vec![],
            taxation,
            rules: RuleVersions {
                tax_policy: self.rules.tax.version,
                shipping_profile: self.rules.shipping.version,
            },
            expires_at: self.expires_at(now),
        })
    }

    /// What was chosen, at the price it was offered at; at that of now if the offer has expired.
    fn carriage(&self, now: DateTime<Utc>) -> Result<Option<ShippingOption>, QuoteError> {
        let Some(chosen) = &self.checkout.state.shipping else { return Ok(None) };
        if now < chosen.expires_at {
            return Ok(Some(chosen.clone()));
        }
        let options = self.options(now)?;
        let again = options.into_iter().find(|option| option.code == chosen.code);
        again.map(Some).ok_or(QuoteError::UnknownOption)
    }

    /// Tells the checkout what follows from these facts; refused if it has moved on meanwhile.
    async fn tell(
        &self,
        ctx: &Ctx,
        intent: &Intent,
        command: CheckoutCommand,
    ) -> Result<Done, QuoteError> {
        let expected = intent.expected.or(Some(self.checkout.version));
        let still = Intent { expected, ..intent.clone() };
        match record(ctx, &still, self.checkout_id, command).await {
            Err(CommandError::Stale { .. }) if intent.expected.is_none() => {
                Err(CommandError::Conflict("checkout").into())
            }
            told => Ok(told?),
        }
    }
}

fn place(address: &ShippingAddressSet) -> Place {
    Place { country: address.country.clone(), region: address.region.clone() }
}

fn claim(
    checkout_id: CheckoutId,
    started: &CheckoutStarted,
    (until, at): (Option<DateTime<Utc>>, DateTime<Utc>),
) -> Claim {
    let customer_reference = started.customer_reference.clone();
    // Lines of a checkout that began add up in one currency, and to more than its charges take off.
    let sum = started.lines.iter().filter_map(OrderLine::total);
    let lines = Money::sum(started.total.currency, sum);
    let lines = lines.unwrap_or(Money::zero(started.total.currency));
    Claim { checkout_id, customer_reference, lines, until, at }
}

/// The same request claims again if the checkout has moved on: what it claimed before may have been
/// given back.
fn of_version(intent: &Intent, version: i64) -> Intent {
    intent.step(&format!("at {version}"))
}

/// Claims a use, and says what it takes off.
async fn use_coupon(
    ctx: &Ctx,
    intent: &Intent,
    code: &str,
    claim: Claim,
) -> Result<Discount, QuoteError> {
    claim_use(ctx, intent, code, claim).await?;
    let coupon = coupon::load(ctx, intent.store_id, code).await?.state;
    discount(&coupon).ok_or_else(|| {
        let error = CommandError::Rejected(CouponError::NotFound);
        QuoteError::Coupon { code: code.to_owned(), error }
    })
}

fn discount(coupon: &Coupon) -> Option<Discount> {
    let defined = coupon.defined.as_ref()?;
    let (code, title) = (defined.code.clone(), defined.title.clone());
    Some(Discount { code, title, value: defined.value })
}

async fn claim_use(ctx: &Ctx, intent: &Intent, code: &str, claim: Claim) -> Result<(), QuoteError> {
    let intent = intent.step(&format!("claim {code}"));
    let claimed = coupon::tell(ctx, &intent, code, CouponCommand::Claim(Box::new(claim))).await;
    let refused = |error| QuoteError::Coupon { code: code.to_owned(), error };
    claimed.map(drop).map_err(refused)
}

/// Gives uses back that `known` does not count on. One that cannot be given back now lapses with
/// its claim, so nobody has to hear of it.
async fn release(
    ctx: &Ctx,
    intent: &Intent,
    (checkout_id, known): (CheckoutId, &Checkout),
    codes: BTreeSet<String>,
) {
    for code in codes.into_iter().filter(|code| !known.counts_on(code)) {
        let command = CouponCommand::Release { checkout_id, at: ctx.now() };
        let intent = intent.step(&format!("release {code}"));
        if let Err(error) = coupon::tell(ctx, &intent, &code, command).await {
            tracing::warn!(%error, "a use of a coupon is not given back; its claim lapses");
        }
    }
}
