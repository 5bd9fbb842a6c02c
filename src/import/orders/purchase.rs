//! Orders, through the checkout like any other.

use commands::{
    checkout::{self, BeginError, NewCheckout, NewLine, Phase},
    order,
};
use event_schemas::{
    checkout::FailureCause,
    ids::CheckoutId,
    order::{Channel, Charge},
};

use super::{Invoice, Variants, variant};
use crate::import::importer::{CARD, Failure, Importer, Outcome};

/// Checkouts one invoice may take: one that a killed run left behind may have expired since. More
/// would mean that something else is wrong.
const ATTEMPTS_MAX: u32 = 5;

/// What the store has of an order already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All of it.
    Done,
    /// Nothing, or attempts that came to nothing. The next one has this number.
    Open { attempt: u32 },
}

/// Finds out; ends what an earlier run began, so that no stock is held for it any more.
pub(super) async fn standing(importer: &Importer, invoice: &Invoice) -> Result<Standing, Failure> {
    let (ctx, store) = (&importer.ctx, importer.store);
    let owner = order::find_by_number(ctx, store, &invoice.number).await?;
    for attempt in 1..=ATTEMPTS_MAX {
        let id = checkout_id(importer, invoice, attempt);
        let begun = checkout::load(ctx, store, id).await?.state;
        match begun.phase {
            Phase::Completed { .. } => return Ok(Standing::Done),
            Phase::Failed { .. } => {}
            Phase::Absent if owner.is_some() => return Err(taken(invoice)),
            Phase::Absent => return Ok(Standing::Open { attempt }),
            _ => match settled(importer, id).await? {
                Settled::Completed => return Ok(Standing::Done),
                Settled::Failed(_) => {}
                Settled::Waiting => return Err(Settled::Waiting.into_failure()),
            },
        }
    }
    let message = format!("{ATTEMPTS_MAX} checkouts came to nothing; see their history");
    Err(Failure::Refused(message))
}

fn taken(invoice: &Invoice) -> Failure {
    Failure::Refused(format!(
        "order number `{}` belongs to another order of the store; give the invoice another one",
        invoice.number
    ))
}

/// Buys what the invoice says, at its prices and its time.
pub(super) async fn buy(
    importer: &Importer,
    invoice: &Invoice,
    variants: &Variants,
    first_attempt: u32,
) -> Result<Outcome, Failure> {
    let new = new_checkout(invoice, variants)?;
    for attempt in first_attempt..=ATTEMPTS_MAX {
        let intent = importer.intent(&key(invoice, &attempt.to_string()), invoice.at);
        let id = checkout::new_checkout_id(&intent);
        importer.lease_checkout(id).await?;
        checkout::begin(&importer.ctx, &intent, new.clone()).await.map_err(refused)?;
        match settled(importer, id).await? {
            Settled::Completed => return Ok(Outcome::Created),
            Settled::Failed(FailureCause::Expired) => {}
            other => return Err(other.into_failure()),
        }
    }
    Err(Failure::Refused("its checkouts expire; is the machine very slow?".to_owned()))
}

fn key<'a>(invoice: &'a Invoice, attempt: &'a str) -> [&'a str; 3] {
    ["order", &invoice.number, attempt]
}

fn checkout_id(importer: &Importer, invoice: &Invoice, attempt: u32) -> CheckoutId {
    checkout::new_checkout_id(&importer.intent(&key(invoice, &attempt.to_string()), invoice.at))
}

fn new_checkout(invoice: &Invoice, variants: &Variants) -> Result<NewCheckout, Failure> {
    let mut lines = Vec::new();
    for line in invoice.products() {
        lines.push(NewLine {
            variant_id: variant(variants, &line.code)?,
            quantity: u32::try_from(line.quantity).expect("an order's quantities were checked"),
            unit_price: Some(line.unit_price),
        });
    }
    let charges = invoice.lines.iter().filter_map(|line| {
        let title = if line.title.is_empty() { &line.code } else { &line.title };
        Some(Charge {
            kind: line.charge?,
            code: line.code.clone(),
            title: title.clone(),
            amount: line.amount,
        })
    });
    Ok(NewCheckout {
        lines,
        charges: charges.collect(),
        customer_reference: invoice.customer.clone(),
        country: invoice.country.clone(),
        cart_id: None,
        coupons: vec![],
        channel: Channel::Import,
        order_number: Some(invoice.number.clone()),
        hold_until: None,
        backdated_to: Some(invoice.at),
        payment_method: Some(CARD.to_owned()),
    })
}

fn refused(error: BeginError) -> Failure {
    match error {
        BeginError::Command(error) => error.into(),
        BeginError::Lines(lines) => {
            let first = lines.first().map(|line| line.problem.to_string()).unwrap_or_default();
            Failure::Refused(format!("{} lines cannot be bought: {first}", lines.len()))
        }
        BeginError::TooManyLines { .. } | BeginError::NotYours => {
            Failure::Refused(error.to_string())
        }
    }
}

/// What became of a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settled {
    Completed,
    Failed(FailureCause),
    /// It rests, but not at an end: its payment is unclear or a person has to look.
    Waiting,
}

impl Settled {
    fn into_failure(self) -> Failure {
        Failure::Refused(match self {
            Self::Completed => "its checkout is completed".to_owned(),
            Self::Failed(FailureCause::OrderRefused { detail }) => {
                format!("the order was refused: {detail}")
            }
            Self::Failed(FailureCause::InsufficientStock { lines }) => {
                format!(
                    "{} lines lack stock that others bought meanwhile; run the import again",
                    lines.len()
                )
            }
            Self::Failed(cause) => format!("its checkout came to nothing: {cause:?}"),
            Self::Waiting => "its checkout does not go on; see its history".to_owned(),
        })
    }
}

/// Drives a checkout to where it rests and says where that is.
async fn settled(importer: &Importer, id: CheckoutId) -> Result<Settled, Failure> {
    importer.drive_checkout(id).await?;
    let checkout = checkout::load(&importer.ctx, importer.store, id).await?.state;
    Ok(match checkout.phase {
        Phase::Completed { .. } => Settled::Completed,
        Phase::Failed { cause } => Settled::Failed(cause),
        _ => Settled::Waiting,
    })
}
