//! Attempts to pay, those that never became an order included. Table `order_payments`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{ids::StoreId, payment::PaymentEvent};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Fact, Key, ProjectionError, begun_before, column};

/// One attempt to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Payment {
    pub store_id: Uuid,
    pub payment_id: Uuid,
    pub checkout_id: Uuid,
    /// Which attempt of the checkout, from 1.
    pub attempt: i64,
    /// Whom we asked, such as `sandbox`.
    pub provider: String,
    /// The provider's name of the payment.
    pub provider_reference: Option<String>,
    /// In minor units of `currency`.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// `requested`, `action_required`, `processing`, `unclear`, `authorised`, `declined`, `captured`
    /// or `voided`.
    pub status: String,
    /// The provider's code of a refusal.
    pub code: Option<String>,
    /// Business time.
    pub requested_at: DateTime<Utc>,
    /// When the last change was recorded.
    pub updated_at: DateTime<Utc>,
    /// Version of the stream.
    pub version: i64,
}

impl Payment {
    fn set(&mut self, status: &str) {
        status.clone_into(&mut self.status);
    }

    fn apply(&mut self, event: &PaymentEvent) {
        match event {
            PaymentEvent::ActionRequired(event) => {
                self.set("action_required");
                self.provider_reference = Some(event.provider_reference.clone());
            }
            PaymentEvent::ActionAnswered(_) => self.set("requested"),
            PaymentEvent::Processing(event) => {
                self.set("processing");
                self.provider_reference = Some(event.provider_reference.clone());
            }
            PaymentEvent::Authorised(event) => {
                self.set("authorised");
                self.provider_reference = Some(event.provider_reference.clone());
            }
            PaymentEvent::Declined(event) => {
                self.set("declined");
                self.code = Some(event.code.clone());
            }
            // Before the authorisation it says where the payment is; afterwards it does not.
            PaymentEvent::OutcomeUnknown(_) if self.status == "requested" => self.set("unclear"),
            PaymentEvent::Captured(_) => self.set("captured"),
            PaymentEvent::CaptureFailed(event) => self.code = Some(event.code.clone()),
            PaymentEvent::Voided(_) => self.set("voided"),
            // Money that nothing counts on and that goes back.
            PaymentEvent::IntegrityViolated(event) => {
                self.set(if event.captured { "captured" } else { "authorised" });
                self.code = Some("integrity_violated".to_owned());
                self.provider_reference = Some(event.provider_reference.clone());
            }
            PaymentEvent::LateFound(event) => {
                self.set(if event.captured { "captured" } else { "authorised" });
                self.code = Some("late".to_owned());
                self.provider_reference = Some(event.provider_reference.clone());
            }
            // The first is what the row was made of. Refunds show in `order_refunds`.
            PaymentEvent::IntentRequested(_)
            | PaymentEvent::OutcomeUnknown(_)
            | PaymentEvent::CaptureRequested(_)
            | PaymentEvent::VoidRequested(_)
            | PaymentEvent::RefundRequested(_)
            | PaymentEvent::RefundPending(_)
            | PaymentEvent::RefundSucceeded(_)
            | PaymentEvent::RefundFailed(_) => {}
        }
    }
}

/// Attempts to pay of a checkout, first one first. An order carries the id of its checkout.
pub async fn of_checkout(
    conn: &mut PgConnection,
    store_id: StoreId,
    checkout_id: Uuid,
) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as!(
        Payment,
        "SELECT store_id, payment_id, checkout_id, attempt, provider, provider_reference,
                amount_minor, currency, status, code, requested_at, updated_at, version
           FROM order_payments WHERE store_id = $1 AND checkout_id = $2
          ORDER BY attempt, payment_id",
        store_id.0,
        checkout_id
    )
    .fetch_all(conn)
    .await
}

/// Reads the rows that `facts` touch, changes them in memory and writes them back. Returns them.
pub(super) async fn apply(
    conn: &mut PgConnection,
    facts: &[Fact<'_, PaymentEvent>],
) -> Result<BTreeMap<Key, Payment>, ProjectionError> {
    let known = load(conn, begun_before(facts)).await?;
    let keyed = known.into_iter().map(|payment| ((payment.store_id, payment.payment_id), payment));
    let mut payments: BTreeMap<Key, Payment> = keyed.collect();
    for fact in facts {
        if let PaymentEvent::IntentRequested(_) = &fact.event {
            payments.entry(fact.key()).or_insert_with(|| requested(fact));
        }
        let payment =
            payments.get_mut(&fact.key()).ok_or_else(|| fact.poison("no such payment"))?;
        if fact.recorded.version > payment.version {
            payment.apply(&fact.event);
            payment.version = fact.recorded.version;
            payment.updated_at = fact.recorded.recorded_at;
        }
    }
    store(conn, &payments.values().collect::<Vec<_>>()).await?;
    Ok(payments)
}

/// A new payment, before its first event is applied.
fn requested(fact: &Fact<'_, PaymentEvent>) -> Payment {
    let PaymentEvent::IntentRequested(event) = &fact.event else {
        unreachable!("called for intents only");
    };
    let (store_id, payment_id) = fact.key();
    Payment {
        store_id,
        payment_id,
        checkout_id: event.checkout_id.0,
        attempt: i64::from(event.attempt),
        provider: event.provider.clone(),
        provider_reference: None,
        amount_minor: event.amount.amount_minor,
        currency: event.amount.currency.code().to_owned(),
        status: "requested".to_owned(),
        code: None,
        requested_at: event.at,
        updated_at: fact.recorded.recorded_at,
        version: 0,
    }
}

async fn load(
    conn: &mut PgConnection,
    (stores, payments): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Vec<Payment>, sqlx::Error> {
    if payments.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Payment,
        "SELECT p.store_id, p.payment_id, checkout_id, attempt, provider, provider_reference,
                amount_minor, currency, status, code, requested_at, updated_at, version
           FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, payment_id)
           JOIN order_payments p
             ON p.store_id = wanted.store_id AND p.payment_id = wanted.payment_id",
        &stores,
        &payments
    )
    .fetch_all(conn)
    .await
}

async fn store(conn: &mut PgConnection, payments: &[&Payment]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO order_payments (store_id, payment_id, checkout_id, attempt, provider,
             provider_reference, amount_minor, currency, status, code, requested_at, updated_at,
             version)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[],
             $6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::timestamptz[],
             $12::timestamptz[], $13::bigint[])
         ON CONFLICT (store_id, payment_id) DO UPDATE SET
             provider_reference = excluded.provider_reference, status = excluded.status,
             code = excluded.code, updated_at = excluded.updated_at, version = excluded.version",
        &column(payments, |payment| payment.store_id),
        &column(payments, |payment| payment.payment_id),
        &column(payments, |payment| payment.checkout_id),
        &column(payments, |payment| payment.attempt),
        &column(payments, |payment| payment.provider.as_str()) as &[&str],
        &column(payments, |payment| payment.provider_reference.as_deref()) as &[Option<&str>],
        &column(payments, |payment| payment.amount_minor),
        &column(payments, |payment| payment.currency.as_str()) as &[&str],
        &column(payments, |payment| payment.status.as_str()) as &[&str],
        &column(payments, |payment| payment.code.as_deref()) as &[Option<&str>],
        &column(payments, |payment| payment.requested_at),
        &column(payments, |payment| payment.updated_at),
        &column(payments, |payment| payment.version)
    )
    .execute(conn)
    .await?;
    Ok(())
}
