//! Beginning a checkout: prices come from the catalogue, never from the client.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use domain::catalog::{NotSellable, Offer};
use event_schemas::{
    ids::{CartId, CheckoutId, LineId, ProductId, VariantId},
    money::Money,
    order::{Channel, Charge, OrderLine},
};
use event_store::{Done, StoreError};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{BeginCheckout, CheckoutCommand, CheckoutError, of_journey, record};
use crate::{CommandError, Ctx, Intent, catalog, store};

/// How long stock is held for a shopper who has not paid yet, if the store does not say.
pub const HOLD: Duration = Duration::minutes(store::HOLD_MINUTES as i64);

/// Lines of one checkout.
pub const LINES_MAX: usize = 100;

/// Units of one line.
pub const QUANTITY_MAX: u32 = 999;

/// Lines of one order that is taken over.
pub const IMPORT_LINES_MAX: usize = 1_000;

/// Units of one line of an order that is taken over.
pub const IMPORT_QUANTITY_MAX: u32 = 1_000_000;

/// Variants of one checkout that are looked up at a time: each takes a connection for a moment.
const LOOK_UPS_AT_ONCE: usize = 4;

/// What somebody wants to buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCheckout {
    /// What shall be bought. A variant may stand on several lines.
    pub lines: Vec<NewLine>,
    /// What else is charged or taken off. Only for [`Channel::Import`].
    pub charges: Vec<Charge>,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    /// Country the order goes to.
    pub country: Option<String>,
    /// The cart it is made of.
    pub cart_id: Option<CartId>,
    /// Codes of coupons the shopper gave, in capitals.
    pub coupons: Vec<String>,
    /// Where it was made.
    pub channel: Channel,
    /// Number the order shall have; the store's next one if none. Only for [`Channel::Import`].
    pub order_number: Option<String>,
    /// End of the hold; as long from now as the store says if none.
    pub hold_until: Option<DateTime<Utc>>,
    /// Business time of every step, for a purchase of the past.
    pub backdated_to: Option<DateTime<Utc>>,
    /// Token of the card; the payment then starts as soon as the stock is held.
    pub payment_method: Option<String>,
}

/// One line that shall be bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLine {
    /// What.
    pub variant_id: VariantId,
    /// Units: 1 to [`QUANTITY_MAX`], or to [`IMPORT_QUANTITY_MAX`] for [`Channel::Import`].
    pub quantity: u32,
    /// What one unit cost then, in place of the price now. Only for [`Channel::Import`]; such a
    /// line may be of a product that is not for sale any more.
    pub unit_price: Option<Money>,
}

/// Why a checkout did not begin. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Too many lines.
    #[error("at most {max} lines")]
    TooManyLines {
        /// How many there may be.
        max: usize,
    },
    /// Prices, charges or an order number given by someone who may not.
    #[error("prices, charges and order numbers come from the store")]
    NotYours,
    /// Something is wrong with some lines.
    #[error("{} lines cannot be bought", .0.len())]
    Lines(Vec<LineError>),
    /// A rule of the checkout, or the log, said no.
    #[error(transparent)]
    Command(#[from] CommandError<CheckoutError>),
}

impl From<StoreError> for BeginError {
    fn from(error: StoreError) -> BeginError {
        BeginError::Command(CommandError::Store(error))
    }
}

/// What is wrong with one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Which line, from 0.
    pub index: usize,
    /// What is wrong.
    pub problem: LineProblem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// No product of the store has the variant.
    #[error("variant does not exist")]
    UnknownVariant,
    /// The variant cannot be bought now.
    #[error("{0}")]
    NotSellable(NotSellable),
    /// No units, or too many.
    #[error("quantity must lie between 1 and {max}")]
    QuantityOutOfRange {
        /// How many there may be.
        max: u32,
    },
    /// The price is in another currency than the first line's.
    #[error("price is in another currency than the first line")]
    OtherCurrency,
}

/// A checkout that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// Where in the log.
    pub done: Done,
}

/// The checkout that a command begins: the same command, the same checkout.
pub fn new_checkout_id(intent: &Intent) -> CheckoutId {
    CheckoutId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// Begins a checkout: its process holds the stock and, with `payment_method`, pays.
///
/// A repeat of the command gets the first answer, whatever became of the catalogue since. Looks up
/// each variant once, a few at a time.
pub async fn begin(ctx: &Ctx, intent: &Intent, new: NewCheckout) -> Result<Begun, BeginError> {
    let begun = begin_anew(ctx, intent, new).await;
    if !matches!(begun, Err(BeginError::Lines(_))) {
        return begun;
    }
    // These lines could have been bought when the command came first.
    let Some(first) = ctx.engine.command(intent.store_id.0, intent.command_id.0).await? else {
        return begun;
    };
    if first.fingerprint != intent.fingerprint {
        return Err(CommandError::KeyReused.into());
    }
    let checkout_id = new_checkout_id(intent);
    let (id, version, position) = (checkout_id.0, first.version, first.position);
    Ok(Begun { checkout_id, done: Done { id, version, position, replayed: true } })
}

async fn begin_anew(ctx: &Ctx, intent: &Intent, new: NewCheckout) -> Result<Begun, BeginError> {
    let checkout_id = new_checkout_id(intent);
    check_limits(&new)?;
    let offers = offers(ctx, intent, &new.lines).await?;
    let hold_until = match new.hold_until {
        Some(until) => until,
        None => ctx.now() + store::load(ctx, intent.store_id).await?.state.policies.hold(),
    };
    let begin = BeginCheckout {
        checkout_id,
        lines: price_lines(checkout_id, &new, &offers).map_err(BeginError::Lines)?,
        charges: new.charges,
        customer_reference: new.customer_reference,
        country: new.country,
        cart_id: new.cart_id,
        coupons: new.coupons,
        channel: new.channel,
        order_number: new.order_number,
        hold_until,
        backdated_to: new.backdated_to,
        payment_method: new.payment_method,
        at: intent.at,
    };
    let command = CheckoutCommand::Begin(Box::new(begin));
    let done = record(ctx, &of_journey(intent, checkout_id), checkout_id, command).await?;
    Ok(Begun { checkout_id, done })
}

fn check_limits(new: &NewCheckout) -> Result<(), BeginError> {
    let max = match new.channel {
        Channel::Api => LINES_MAX,
        Channel::Import => IMPORT_LINES_MAX,
    };
    if max < new.lines.len() {
        return Err(BeginError::TooManyLines { max });
    }
    let priced = new.lines.iter().any(|line| line.unit_price.is_some());
    if new.channel == Channel::Api
        && (priced || !new.charges.is_empty() || new.order_number.is_some())
    {
        return Err(BeginError::NotYours);
    }
    Ok(())
}

/// Product and offer of each variant; a variant that does not exist is not in it.
type Offers = BTreeMap<VariantId, (ProductId, Offer)>;

async fn offers(ctx: &Ctx, intent: &Intent, lines: &[NewLine]) -> Result<Offers, StoreError> {
    let variants: BTreeSet<VariantId> = lines.iter().map(|line| line.variant_id).collect();
    let found = stream::iter(variants)
        .map(|variant_id| catalog::find_variant(ctx, intent.store_id, variant_id))
        .buffer_unordered(LOOK_UPS_AT_ONCE);
    let offer = async |found: Option<catalog::FoundVariant>| {
        Ok(found.map(|found| (found.variant_id, (found.product_id, found.offer))))
    };
    found.try_filter_map(offer).try_collect().await
}

fn price_lines(
    checkout_id: CheckoutId,
    new: &NewCheckout,
    offers: &Offers,
) -> Result<Vec<OrderLine>, Vec<LineError>> {
    let max = match new.channel {
        Channel::Api => QUANTITY_MAX,
        Channel::Import => IMPORT_QUANTITY_MAX,
    };
    let mut lines: Vec<OrderLine> = vec![];
    let mut errors = vec![];
    for (index, line) in new.lines.iter().enumerate() {
        let currency = lines.first().map(|line| line.unit_price.currency);
        match price_line(checkout_id, (index, line), offers.get(&line.variant_id), max) {
            Ok(line) if currency.is_some_and(|first| first != line.unit_price.currency) => {
                errors.push(LineError { index, problem: LineProblem::OtherCurrency });
            }
            Ok(line) => lines.push(line),
            Err(problem) => errors.push(LineError { index, problem }),
        }
    }
    if errors.is_empty() { Ok(lines) } else { Err(errors) }
}

fn price_line(
    checkout_id: CheckoutId,
    (index, line): (usize, &NewLine),
    offer: Option<&(ProductId, Offer)>,
    quantity_max: u32,
) -> Result<OrderLine, LineProblem> {
    if !(1..=quantity_max).contains(&line.quantity) {
        return Err(LineProblem::QuantityOutOfRange { max: quantity_max });
    }
    let (product_id, offer) = offer.ok_or(LineProblem::UnknownVariant)?;
    let unit_price = match line.unit_price {
        Some(then) => then,
        None => offer.price.map_err(LineProblem::NotSellable)?,
    };
    let index = (index as u64).to_be_bytes();
    Ok(OrderLine {
        line_id: LineId::derive(&[checkout_id.0.as_bytes(), &index]),
        product_id: *product_id,
        variant_id: line.variant_id,
        sku: offer.sku.clone(),
        title: offer.title.clone(),
        quantity: line.quantity,
        unit_price,
    })
}
