//! What a checkout costs: how it can be sent, coupons, tax.
//!
//! Every figure is made here from the store's own rules. What a client sends is a wish or a check.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use domain::{
    catalog::Product,
    checkout::Terms,
    pricing::{Basket, BasketLine, COUPONS_MAX, PricingError, STANDARD_CLASS, price},
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

use super::uses::{claim, discount, release, use_coupon};
use super::{Checkout, CheckoutCommand, CheckoutError, load, of_journey, record};
use crate::{
    CommandError, Ctx, Intent, catalog,
    coupon::{self, CouponCommand, CouponError},
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
    let facts = Facts::load(ctx, intent.store_id, checkout_id).await?;
    if let Some(first) = replayed(ctx, &intent, checkout_id).await? {
        return Ok(first);
    }
    facts.may_change(ctx, &intent)?;
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
    let facts = Facts::load(ctx, intent.store_id, checkout_id).await?;
    if let Some(first) = replayed(ctx, &intent, checkout_id).await? {
        return Ok(first);
    }
    facts.may_change(ctx, &intent)?;
    let codes = facts.codes(coupons)?;
    let basket = facts.basket(quote_id(&intent), ctx.now())?;
    let mut claimed = BTreeSet::new();
    let told = price_and_tell(ctx, &intent, &facts, (basket, codes, &mut claimed)).await;
    let before = &facts.checkout.state;
    let left: BTreeSet<String> = match &told {
        // What no quote counts on any more is free again.
        Ok((_, counted)) => claimed
            .union(&before.coupons)
            .cloned()
            .collect::<BTreeSet<_>>()
            .difference(counted)
            .cloned()
            .collect(),
        // Nobody knows whether it is quoted; if not, the claims lapse.
        Err(QuoteError::Command(CommandError::Store(_))) => return told.map(|(done, _)| done),
        Err(_) => claimed.into_iter().filter(|code| !before.counts_on(code)).collect(),
    };
    let lapsing_by = Some(before.hold_until.unwrap_or(ctx.now()));
    release(ctx, &intent, checkout_id, (left, lapsing_by)).await;
    told.map(|(done, _)| done)
}

/// Claims the coupons, and tells the checkout what it costs with them. Returns the codes that the
/// quote counts on; those that were claimed are added to `claimed`, whatever comes of it.
async fn price_and_tell(
    ctx: &Ctx,
    intent: &Intent,
    facts: &Facts,
    (basket, codes, claimed): (Basket, BTreeSet<String>, &mut BTreeSet<String>),
) -> Result<(Done, BTreeSet<String>), QuoteError> {
    let mut discounts = vec![];
    for code in codes {
        let until = Some(basket.expires_at);
        let claim = claim(facts.checkout_id, facts.started()?, (until, ctx.now()));
        discounts.push(use_coupon(ctx, intent, &code, claim).await?);
        claimed.insert(code);
    }
    let quote = Box::new(price(Basket { discounts, ..basket })?);
    let counted = quote.pricing.coupons.iter().map(|applied| applied.code.clone()).collect();
    let command = CheckoutCommand::Price { quote, now: ctx.now(), at: intent.at };
    Ok((facts.tell(ctx, intent, command).await?, counted))
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
pub(super) async fn replayed(
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
pub(super) struct Rules {
    tax: Loaded<TaxPolicy>,
    shipping: Loaded<ShippingProfile>,
}

impl Rules {
    pub(super) async fn load(ctx: &Ctx, store_id: StoreId) -> Result<Rules, StoreError> {
        let (tax, shipping) =
            tokio::try_join!(tax::load(ctx, store_id), shipping::load(ctx, store_id))?;
        Ok(Rules { tax, shipping })
    }

    pub(super) fn terms(&self) -> Terms {
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

    /// Refuses what the checkout would refuse, before anything is claimed for it; and a client who
    /// decided on another version than the one these facts are of.
    fn may_change(&self, ctx: &Ctx, intent: &Intent) -> Result<(), QuoteError> {
        let current = self.checkout.version;
        if intent.expected.is_some_and(|expected| expected != current) {
            return Err(CommandError::Stale { current }.into());
        }
        Ok(self.checkout.state.may_change(ctx.now())?)
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
        // Never the client's: the address could have changed since it was read, and be what the
        // client expects.
        let still = Intent { expected: Some(self.checkout.version), ..intent.clone() };
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
