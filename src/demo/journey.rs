//! One sale of the demo shop, from the basket to its end.

use chrono::{DateTime, Utc};
use commands::{
    checkout::{self, NewCheckout, NewLine, NewPayment, Phase, QuoteError},
    order::{self, NewRefund, Placed},
};
use event_schemas::{
    checkout::FailureCause,
    ids::{CheckoutId, OrderId},
    order::{Channel, Charge, ChargeKind, RefundLine, Restock},
};

use super::{
    history::{Ending, Sale},
    pounds,
};
use crate::import::{CARD, Failure, Importer, Outcome};

/// The sandbox refuses this one.
const REFUSED_CARD: &str = "sbx_declined";

/// Checkouts one sale may take: a start that was cut short may leave one behind to expire.
const ATTEMPTS_MAX: u32 = 5;

/// Takes a sale to its end. Repeating it changes nothing.
pub(super) async fn run(importer: &Importer, sale: &Sale) -> Result<Outcome, Failure> {
    for attempt in 1..=ATTEMPTS_MAX {
        let id = begin(importer, sale, attempt).await?;
        if matches!(sale.ending, Ending::SecondCard | Ending::Left) {
            Box::pin(answer_refusal(importer, sale, id)).await?;
        }
        match phase(importer, id).await? {
            Phase::Completed { order_id, .. } => return after(importer, sale, order_id).await,
            Phase::Failed { cause: FailureCause::Expired } => {}
            // The shopper left; or somebody tries the shop out already and bought the last ones,
            // and then this sale did not happen.
            Phase::Failed { .. } => return Ok(Outcome::Created),
            other => {
                let message = format!("order {} of the demo shop is stuck: {other:?}", sale.number);
                return Err(Failure::Refused(message));
            }
        }
    }
    Err(Failure::Refused(format!("the checkouts of order {} expire", sale.number)))
}

async fn phase(importer: &Importer, id: CheckoutId) -> Result<Phase, Failure> {
    Ok(checkout::load(&importer.ctx, importer.store, id).await?.state.phase)
}

async fn begin(importer: &Importer, sale: &Sale, attempt: u32) -> Result<CheckoutId, Failure> {
    let refused = matches!(sale.ending, Ending::SecondCard | Ending::Left);
    let lines = sale.lines.iter().map(|line| NewLine {
        variant_id: line.variant_id,
        quantity: line.quantity,
        unit_price: Some(pounds(line.price)),
    });
    let postage = (sale.postage > 0).then(|| Charge {
        kind: ChargeKind::Postage,
        code: "POST".into(),
        title: "Tracked 48".into(),
        amount: pounds(sale.postage),
    });
    let new = NewCheckout {
        lines: lines.collect(),
        charges: postage.into_iter().collect(),
        customer_reference: sale.customer.clone(),
        country: Some(sale.country.into()),
        cart_id: None,
        coupons: vec![],
        channel: Channel::Import,
        order_number: Some(sale.number.clone()),
        hold_until: None,
        backdated_to: Some(sale.at),
        payment_method: Some(if refused { REFUSED_CARD } else { CARD }.into()),
    };
    let key = ["demo", "order", &sale.number, &attempt.to_string()];
    let intent = importer.intent(&key, sale.at);
    let id = checkout::new_checkout_id(&intent);
    importer.lease_checkout(id).await?;
    let begun = checkout::begin(&importer.ctx, &intent, new).await;
    begun.map_err(|error| Failure::Refused(error.to_string()))?;
    importer.drive_checkout(id).await?;
    Ok(id)
}

/// The card was refused: the shopper takes another one, or leaves.
async fn answer_refusal(importer: &Importer, sale: &Sale, id: CheckoutId) -> Result<(), Failure> {
    if phase(importer, id).await? != Phase::AwaitingPayment {
        return Ok(());
    }
    let intent = importer.intent(&["demo", "refused", &id.to_string()], sale.at);
    if sale.ending == Ending::SecondCard {
        let payment = NewPayment::by(CARD.into());
        // Boxed: a quote that is looked at again makes it large.
        let paid = Box::pin(checkout::start_payment(&importer.ctx, &intent, id, payment)).await;
        paid.map_err(|error| match error {
            QuoteError::Command(error) => error.into(),
            error => Failure::Refused(error.to_string()),
        })?;
    } else {
        checkout::abandon(&importer.ctx, &intent, id).await?;
    }
    importer.drive_checkout(id).await
}

/// What happens to the order later.
async fn after(importer: &Importer, sale: &Sale, id: OrderId) -> Result<Outcome, Failure> {
    let (later, reason) = match sale.ending {
        Ending::Cancelled(later, reason) | Ending::Refunded(later, reason) => (later, reason),
        Ending::Kept | Ending::SecondCard | Ending::Left => return Ok(Outcome::Created),
    };
    let loaded = order::load(&importer.ctx, importer.store, id).await?;
    let Some(placed) = loaded.state.placed else {
        return Err(Failure::Refused(format!("order {} is not placed", sale.number)));
    };
    // Not after today: nobody returns anything tomorrow.
    let at = (sale.at + later).min(importer.ctx.now());
    if placed.cancellation.is_none() && placed.refunds.is_empty() {
        ask(importer, sale, (id, &placed), (at, reason)).await?;
    }
    importer.drive_order(id).await?;
    Ok(Outcome::Created)
}

async fn ask(
    importer: &Importer,
    sale: &Sale,
    (id, placed): (OrderId, &Placed),
    (at, reason): (DateTime<Utc>, &str),
) -> Result<(), Failure> {
    let intent = importer.intent(&["demo", "back", &sale.number], at);
    if let Ending::Cancelled(..) = sale.ending {
        order::cancel(&importer.ctx, &intent, id, reason.into()).await?;
        return Ok(());
    }
    let line = placed.lines.first();
    let line = line.ok_or_else(|| Failure::Refused("an order of the demo has a line".into()))?;
    let new = NewRefund {
        reference: Some(format!("CN-{}", sale.number)),
        amount: line.unit_price,
        lines: vec![RefundLine { line_id: line.line_id, quantity: 1, restock: Restock::Cancel }],
        reason: reason.into(),
    };
    order::request_refund(&importer.ctx, &intent, id, new).await?;
    Ok(())
}
