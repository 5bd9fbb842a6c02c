//! What clients are told of carts.

use commands::cart::{CartProblem, CartStatus, CartView, LineView, ProblemKind, Unavailable};
use event_schemas::ids::{CartId, CheckoutId, OrderId, ProductId, VariantId};
use event_schemas::money::Money;
use serde::Serialize;
use utoipa::ToSchema;

/// What somebody has gathered. Nothing of it is held or promised before a checkout is made of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cart)]
pub(super) struct CartBody {
    id: CartId,
    /// `open`, `checking_out`, `checked_out` or `merged`; more may come.
    #[schema(example = "open")]
    status: &'static str,
    /// Your own reference of the customer. None for a guest.
    customer_reference: Option<String>,
    /// One per variant, oldest first.
    items: Vec<ItemBody>,
    /// Codes in capitals. What they are worth is for the quote of the checkout.
    coupons: Vec<String>,
    /// What the items that can be bought cost now, before discounts, carriage and tax. None if
    /// there are none, or if their prices do not add up in one currency.
    subtotal: Option<Money>,
    /// What is wrong with it, or has changed since the shopper saw it last.
    problems: Vec<ProblemBody>,
    /// What has to be done before a checkout can be made of it.
    requirements: Vec<RequirementBody>,
    /// The checkout that is being made of it, or was.
    checkout_id: Option<CheckoutId>,
    /// The order it became.
    order_id: Option<OrderId>,
    /// The cart that has everything now.
    merged_into: Option<CartId>,
    /// Version, as in `ETag`.
    version: i64,
    /// Position of its last event, as in `X-Position`.
    position: i64,
}

/// One line of a cart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CartItem)]
struct ItemBody {
    variant_id: VariantId,
    product_id: Option<ProductId>,
    sku: Option<String>,
    title: Option<String>,
    quantity: u32,
    /// What one unit costs now.
    unit_price: Money,
    /// What all units cost now.
    total: Option<Money>,
    /// Units that could be bought now.
    available: u64,
}

/// Something the shopper should know.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CartProblem)]
struct ProblemBody {
    /// `price_changed`, `unavailable`, `short_stock`, `other_currency` or `too_many_lines`; more
    /// may come.
    #[schema(example = "price_changed")]
    code: &'static str,
    /// Of which line. None if of the whole cart.
    variant_id: Option<VariantId>,
    /// Whether nothing can be bought before it is dealt with.
    blocking: bool,
    /// For people.
    detail: String,
    /// What one unit cost when the shopper was shown it last, if the price has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    price_seen: Option<Money>,
    /// What one unit costs now, if the price has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    price_now: Option<Money>,
    /// Units that could be bought now, if there are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<u64>,
}

/// Something that has to be done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CartRequirement)]
struct RequirementBody {
    /// `items` (put something into it) or `problems` (deal with those that block); more may come.
    #[schema(example = "items")]
    code: &'static str,
}

impl CartBody {
    pub(super) fn new(view: CartView) -> CartBody {
        CartBody {
            id: view.cart_id,
            status: code(view.status),
            customer_reference: view.customer_reference,
            requirements: requirements(view.status, &view.lines, &view.problems),
            items: view.lines.into_iter().map(ItemBody::new).collect(),
            coupons: view.coupons,
            subtotal: view.subtotal,
            problems: view.problems.into_iter().map(ProblemBody::new).collect(),
            checkout_id: view.checkout_id,
            order_id: view.order_id,
            merged_into: view.merged_into,
            version: view.version,
            position: view.position,
        }
    }
}

fn code(status: CartStatus) -> &'static str {
    match status {
        CartStatus::Open => "open",
        CartStatus::CheckingOut => "checking_out",
        CartStatus::CheckedOut => "checked_out",
        CartStatus::Merged => "merged",
    }
}

fn requirements(
    status: CartStatus,
    lines: &[LineView],
    problems: &[CartProblem],
) -> Vec<RequirementBody> {
    if status != CartStatus::Open {
        return vec![];
    }
    let items = lines.is_empty().then_some(RequirementBody { code: "items" });
    let blocked = problems.iter().any(|problem| problem.kind.is_blocking());
    let problems = blocked.then_some(RequirementBody { code: "problems" });
    items.into_iter().chain(problems).collect()
}

impl ItemBody {
    fn new(line: LineView) -> ItemBody {
        let LineView { variant_id, product_id, sku, title, quantity, unit_price, total, available } =
            line;
        ItemBody { variant_id, product_id, sku, title, quantity, unit_price, total, available }
    }
}

impl ProblemBody {
    fn new(problem: CartProblem) -> ProblemBody {
        let CartProblem { variant_id, kind } = problem;
        let blocking = kind.is_blocking();
        let (code, detail) = told(&kind);
        let none = (None, None, None);
        let (price_seen, price_now, available) = match kind {
            ProblemKind::PriceChanged { seen, now } => (Some(seen), Some(now), None),
            ProblemKind::ShortStock { available, .. } => (None, None, Some(available)),
            ProblemKind::Unavailable(_)
            | ProblemKind::OtherCurrency { .. }
            | ProblemKind::TooManyLines { .. } => none,
        };
        ProblemBody { code, variant_id, blocking, detail, price_seen, price_now, available }
    }
}

fn told(kind: &ProblemKind) -> (&'static str, String) {
    match kind {
        ProblemKind::PriceChanged { seen, now } => {
            ("price_changed", format!("the price was {seen} and is {now}"))
        }
        ProblemKind::Unavailable(Unavailable::Unknown) => {
            ("unavailable", "the store has no such variant".to_owned())
        }
        ProblemKind::Unavailable(Unavailable::NotSellable(why)) => ("unavailable", why.to_string()),
        ProblemKind::ShortStock { requested, available } => {
            ("short_stock", format!("{requested} are wanted and {available} are left"))
        }
        ProblemKind::OtherCurrency { cart } => {
            ("other_currency", format!("the other lines are in {cart}"))
        }
        ProblemKind::TooManyLines { max } => {
            ("too_many_lines", format!("a checkout takes at most {max} lines"))
        }
    }
}
