//! An order as clients see it: every member is public by choice.

use chrono::{DateTime, Utc};
use event_schemas::fulfilment::{FulfilmentLine, Tracking};
use event_schemas::ids::{
    CheckoutId, FulfilmentId, LineId, OrderId, PaymentId, ProductId, RefundId, VariantId,
};
use event_schemas::money::Money;
use event_schemas::order::{RefundLine, Restock};
use projections::order::fulfilments::Fulfilment;
use projections::order::lines::{Line, OrderCharge};
use projections::order::payments::Payment;
use projections::order::refunds::Refund;
use projections::order::summaries::Order;
use serde::Serialize;
use utoipa::ToSchema;

use crate::value::money;

/// An order as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderSummary {
    id: OrderId,
    /// Number for people, unique in the store.
    #[schema(example = "1042")]
    number: String,
    /// `placed`, `confirmed`, `paid`, `cancelling` or `cancelled`; more may come.
    #[schema(example = "paid")]
    status: String,
    /// `authorised`, `paid`, `partially_refunded`, `refunded` or `voided`; more may come.
    #[schema(example = "paid")]
    financial_status: String,
    /// `unfulfilled`, `partially_shipped`, `shipped` or `delivered`, of the units that are not
    /// cancelled; more may come.
    #[schema(example = "unfulfilled")]
    fulfilment_status: String,
    /// Lines and charges.
    total: Money,
    /// Money taken.
    captured: Money,
    /// Money given back.
    refunded: Money,
    /// Units of all lines.
    item_count: i64,
    /// Your reference of the customer; `null` for a guest.
    customer_reference: Option<String>,
    country: Option<String>,
    /// `api` or `import`; more may come.
    channel: String,
    /// The checkout it came from.
    checkout_id: CheckoutId,
    placed_at: DateTime<Utc>,
    /// When its last change was recorded.
    updated_at: DateTime<Utc>,
    /// Version, as in `ETag`.
    version: i64,
}

/// An order with all that belongs to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(super) struct OrderBody {
    #[serde(flatten)]
    summary: OrderSummary,
    /// Products, as they were when it was placed.
    lines: Vec<LineBody>,
    /// Postage, discounts and other money that is no product.
    charges: Vec<ChargeBody>,
    /// Attempts to pay, first one first.
    payments: Vec<PaymentBody>,
    /// Oldest first, that of a cancellation included.
    refunds: Vec<RefundBody>,
    /// Parcels, first one first.
    fulfilments: Vec<FulfilmentBody>,
}

/// A product line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderLine)]
struct LineBody {
    id: LineId,
    product_id: ProductId,
    variant_id: VariantId,
    sku: Option<String>,
    title: String,
    quantity: i64,
    unit_price: Money,
    /// `quantity` times `unit_price`.
    total: Money,
}

/// Money on an order that is no product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderCharge)]
struct ChargeBody {
    /// `postage`, `discount`, `manual` or `fee`; more may come.
    kind: String,
    /// The merchant's code.
    code: String,
    title: String,
    /// Negative where the shopper pays less for it.
    amount: Money,
}

/// One attempt to pay.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderPayment)]
struct PaymentBody {
    id: PaymentId,
    /// Which attempt of the checkout, from 1.
    attempt: i64,
    provider: String,
    /// The provider's name of the payment.
    provider_reference: Option<String>,
    amount: Money,
    /// `requested`, `action_required`, `unclear`, `authorised`, `declined`, `captured` or
    /// `voided`; more may come.
    status: String,
    /// The provider's code of a refusal.
    code: Option<String>,
    requested_at: DateTime<Utc>,
}

/// Money that goes or went back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderRefund)]
struct RefundBody {
    id: RefundId,
    /// `requested`, `succeeded` or `failed`; more may come.
    status: String,
    /// Document behind it.
    reference: Option<String>,
    amount: Money,
    reason: Option<String>,
    /// Units it is for, and what becomes of them.
    lines: Vec<ReturnedLine>,
    /// The provider's code of a failure.
    failure_code: Option<String>,
    requested_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

/// Units of a line that are refunded.
#[derive(Debug, Serialize, ToSchema)]
struct ReturnedLine {
    line_id: LineId,
    quantity: u32,
    /// `cancel`: they never left. `return`: they are back on the shelf. `none`: they stay away.
    restock: Restock,
}

/// Units that leave together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderFulfilment)]
struct FulfilmentBody {
    id: FulfilmentId,
    /// `pending`, `shipped`, `delivered` or `cancelled`; more may come.
    status: String,
    /// Code of the place it leaves from.
    location: String,
    lines: Vec<FulfilmentLine>,
    tracking: Option<Tracking>,
    /// Why it was cancelled.
    reason: Option<String>,
    created_at: DateTime<Utc>,
    shipped_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
}

/// Rows of what belongs to an order.
pub(super) struct Parts {
    pub(super) lines: Vec<Line>,
    pub(super) charges: Vec<OrderCharge>,
    pub(super) payments: Vec<Payment>,
    pub(super) refunds: Vec<Refund>,
    pub(super) fulfilments: Vec<Fulfilment>,
}

impl OrderSummary {
    pub(super) fn new(order: Order) -> OrderSummary {
        let amount = |minor| money(minor, &order.currency);
        OrderSummary {
            id: OrderId(order.order_id),
            total: amount(order.total_minor),
            captured: amount(order.captured_minor),
            refunded: amount(order.refunded_minor),
            number: order.number,
            status: order.status,
            financial_status: order.financial_status,
            fulfilment_status: order.fulfilment_status,
            item_count: order.item_count,
            customer_reference: order.customer_reference,
            country: order.country,
            channel: order.channel,
            checkout_id: CheckoutId(order.checkout_id),
            placed_at: order.placed_at,
            updated_at: order.updated_at,
            version: order.version,
        }
    }
}

impl OrderBody {
    pub(super) fn new(order: Order, parts: Parts) -> OrderBody {
        OrderBody {
            summary: OrderSummary::new(order),
            lines: parts.lines.into_iter().map(LineBody::new).collect(),
            charges: parts.charges.into_iter().map(ChargeBody::new).collect(),
            payments: parts.payments.into_iter().map(PaymentBody::new).collect(),
            refunds: parts.refunds.into_iter().map(RefundBody::new).collect(),
            fulfilments: parts.fulfilments.into_iter().map(FulfilmentBody::new).collect(),
        }
    }
}

impl LineBody {
    fn new(line: Line) -> LineBody {
        let unit_price = money(line.unit_price_minor, &line.currency);
        LineBody {
            id: LineId(line.line_id),
            product_id: ProductId(line.product_id),
            variant_id: VariantId(line.variant_id),
            sku: line.sku,
            title: line.title,
            quantity: line.quantity,
            unit_price,
            total: unit_price.checked_mul(line.quantity).expect("an order's total fits"),
        }
    }
}

impl ChargeBody {
    fn new(charge: OrderCharge) -> ChargeBody {
        let amount = money(charge.amount_minor, &charge.currency);
        let OrderCharge { kind, code, title, .. } = charge;
        ChargeBody { kind, code, title, amount }
    }
}

impl PaymentBody {
    fn new(payment: Payment) -> PaymentBody {
        PaymentBody {
            id: PaymentId(payment.payment_id),
            attempt: payment.attempt,
            provider: payment.provider,
            provider_reference: payment.provider_reference,
            amount: money(payment.amount_minor, &payment.currency),
            status: payment.status,
            code: payment.code,
            requested_at: payment.requested_at,
        }
    }
}

impl RefundBody {
    fn new(refund: Refund) -> RefundBody {
        let lines = refund.lines.0.into_iter();
        RefundBody {
            id: RefundId(refund.refund_id),
            status: refund.status,
            reference: refund.reference,
            amount: money(refund.amount_minor, &refund.currency),
            reason: refund.reason,
            lines: lines
                .map(|RefundLine { line_id, quantity, restock }| ReturnedLine {
                    line_id,
                    quantity,
                    restock,
                })
                .collect(),
            failure_code: refund.failure_code,
            requested_at: refund.requested_at,
            completed_at: refund.completed_at,
        }
    }
}

impl FulfilmentBody {
    fn new(parcel: Fulfilment) -> FulfilmentBody {
        let tracking = parcel.carrier.zip(parcel.tracking_number);
        let url = parcel.tracking_url;
        FulfilmentBody {
            id: FulfilmentId(parcel.fulfilment_id),
            status: parcel.status,
            location: parcel.location,
            lines: parcel.lines.0,
            tracking: tracking.map(|(carrier, number)| Tracking { carrier, number, url }),
            reason: parcel.reason,
            created_at: parcel.created_at,
            shipped_at: parcel.shipped_at,
            delivered_at: parcel.delivered_at,
        }
    }
}
