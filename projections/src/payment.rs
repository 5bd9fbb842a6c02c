//! The ledger of transactions: what was asked of payment providers about money, and what came of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::{PaymentId, StoreId},
    money::Money,
    order::OrderEvent,
    payment::PaymentEvent,
};
use event_store::Recorded;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Fact, Key, Projection, ProjectionError, begun_before, column, facts};

/// From the events of payments, and from orders what they came from.
pub const PROJECTION: Projection = Projection {
    name: "transactions",
    version: 1,
    tables: &["transactions", "transaction_orders"],
    categories: &["payment", "order"],
    except: &[],
    streams_commute: true,
    apply: |conn, batch| Box::pin(apply(conn, batch)),
};

/// One thing asked of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub store_id: Uuid,
    pub transaction_id: Uuid,
    pub payment_id: Uuid,
    pub checkout_id: Uuid,
    /// `authorisation`, `capture`, `sale`, `refund` or `void`.
    pub kind: String,
    /// `pending`, `success` or `failure`.
    pub status: String,
    /// Whom we asked, such as `sandbox`.
    pub provider: String,
    /// The provider's name of the payment, or of the refund.
    pub reference: Option<String>,
    /// In minor units of `currency`.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The provider's code of a failure.
    pub code: Option<String>,
    /// Business time.
    pub requested_at: DateTime<Utc>,
    /// Business time of the success or the final failure.
    pub settled_at: Option<DateTime<Utc>>,
    /// Version of the payment when this last changed.
    pub version: i64,
}

/// The transactions of one payment, by id. The first is what the payment was asked for.
#[derive(Debug, Default)]
struct Ledger(BTreeMap<Uuid, Transaction>);

impl Ledger {
    /// Adds what was asked for, in the currency of the payment; `id` names it.
    fn ask(&mut self, of: &Transaction, kind: &str, (id, minor): (Uuid, i64), at: DateTime<Utc>) {
        self.0.entry(id).or_insert_with(|| Transaction {
            transaction_id: id,
            kind: kind.to_owned(),
            status: "pending".to_owned(),
            amount_minor: minor,
            code: None,
            requested_at: at,
            settled_at: None,
            ..of.clone()
        });
    }

    fn succeed(&mut self, id: Uuid, reference: Option<&str>, at: DateTime<Utc>) {
        self.settle(id, "success", at, |transaction| {
            transaction.code = None;
            if let Some(reference) = reference {
                transaction.reference = Some(reference.to_owned());
            }
        });
    }

    fn fail(&mut self, id: Uuid, code: &str, at: DateTime<Utc>) {
        self.settle(id, "failure", at, |transaction| transaction.code = Some(code.to_owned()));
    }

    fn settle(
        &mut self,
        id: Uuid,
        status: &str,
        at: DateTime<Utc>,
        change: impl FnOnce(&mut Transaction),
    ) {
        if let Some(transaction) = self.0.get_mut(&id) {
            status.clone_into(&mut transaction.status);
            transaction.settled_at = Some(at);
            change(transaction);
        }
    }

    fn refer(&mut self, id: Uuid, reference: &str) {
        if let Some(transaction) = self.0.get_mut(&id) {
            transaction.reference = Some(reference.to_owned());
        }
    }

    /// What was found at the provider for a payment that was over, or is not what was asked for.
    fn find(&mut self, first: Uuid, found: (&str, bool, Money), at: DateTime<Utc>) {
        let (reference, captured, money) = found;
        if let Some(transaction) = self.0.get_mut(&first) {
            let kind = if captured { "sale" } else { "authorisation" };
            kind.clone_into(&mut transaction.kind);
            transaction.amount_minor = money.amount_minor;
            money.currency.code().clone_into(&mut transaction.currency);
        }
        self.succeed(first, Some(reference), at);
    }

    fn apply(&mut self, first: &Transaction, event: &PaymentEvent) {
        let (id, payment) = (first.payment_id, PaymentId(first.payment_id));
        match event {
            PaymentEvent::ActionRequired(e) => self.refer(id, &e.provider_reference),
            PaymentEvent::Processing(e) => self.refer(id, &e.provider_reference),
            PaymentEvent::Authorised(e) => self.succeed(id, Some(&e.provider_reference), e.at),
            PaymentEvent::Declined(e) => self.fail(id, &e.code, e.at),
            PaymentEvent::CaptureRequested(e) => {
                self.ask(first, "capture", (capture_of(payment), e.amount.amount_minor), e.at);
            }
            PaymentEvent::Captured(e) if self.0.contains_key(&capture_of(payment)) => {
                self.succeed(capture_of(payment), None, e.at);
            }
            // Nobody asked: the method takes the money at once.
            PaymentEvent::Captured(e) => {
                self.settle(id, "success", e.at, |sale| "sale".clone_into(&mut sale.kind));
            }
            PaymentEvent::CaptureFailed(e) => self.fail(capture_of(payment), &e.code, e.at),
            PaymentEvent::VoidRequested(e) => {
                self.ask(first, "void", (void_of(payment), first.amount_minor), e.at);
            }
            PaymentEvent::Voided(e) => self.succeed(void_of(payment), None, e.at),
            PaymentEvent::RefundRequested(e) => {
                self.ask(first, "refund", (e.refund_id.0, e.amount.amount_minor), e.at);
            }
            PaymentEvent::RefundPending(e) => self.refer(e.refund_id.0, &e.provider_reference),
            PaymentEvent::RefundSucceeded(e) => {
                self.succeed(e.refund_id.0, Some(&e.provider_reference), e.at);
            }
            PaymentEvent::RefundFailed(e) => self.fail(e.refund_id.0, &e.code, e.at),
            PaymentEvent::IntegrityViolated(e) => {
                self.find(id, (&e.provider_reference, e.captured, e.actual), e.at);
            }
            PaymentEvent::LateFound(e) => {
                self.find(id, (&e.provider_reference, e.captured, e.amount), e.at);
            }
            // The first is what the ledger begins with; the others say nothing of money.
            PaymentEvent::IntentRequested(_)
            | PaymentEvent::ActionAnswered(_)
            | PaymentEvent::OutcomeUnknown(_) => {}
        }
    }
}

/// Ids of what a payment has one of.
fn capture_of(payment_id: PaymentId) -> Uuid {
    PaymentId::derive(&[payment_id.0.as_bytes(), b"capture"]).0
}

fn void_of(payment_id: PaymentId) -> Uuid {
    PaymentId::derive(&[payment_id.0.as_bytes(), b"void"]).0
}

/// A place in the list: right behind this transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionCursor {
    pub requested_at: DateTime<Utc>,
    pub transaction_id: Uuid,
}

impl Transaction {
    /// The place right behind this transaction.
    pub fn cursor(&self) -> TransactionCursor {
        TransactionCursor { requested_at: self.requested_at, transaction_id: self.transaction_id }
    }
}

/// At most `limit` transactions older than `after`, asked for last first.
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    after: Option<&TransactionCursor>,
    limit: i64,
) -> Result<Vec<Transaction>, sqlx::Error> {
    sqlx::query_as!(
        Transaction,
        "SELECT store_id, transaction_id, payment_id, checkout_id, kind, status, provider, reference,
                amount_minor, currency, code, requested_at, settled_at, version
           FROM transactions
          WHERE store_id = $1
            AND ($2::timestamptz IS NULL OR (requested_at, transaction_id) < ($2, $3::uuid))
          ORDER BY requested_at DESC, transaction_id DESC LIMIT $4",
        store_id.0,
        after.map(|cursor| cursor.requested_at),
        after.map(|cursor| cursor.transaction_id),
        limit
    )
    .fetch_all(conn)
    .await
}

/// Transactions of an order, those of attempts to pay before it included, oldest first. `None` if
/// there is no such order.
pub async fn of_order(
    conn: &mut PgConnection,
    store_id: StoreId,
    order_id: Uuid,
) -> Result<Option<Vec<Transaction>>, sqlx::Error> {
    let checkout = sqlx::query_scalar!(
        "SELECT checkout_id FROM transaction_orders WHERE store_id = $1 AND order_id = $2",
        store_id.0,
        order_id
    );
    let Some(checkout_id) = checkout.fetch_optional(&mut *conn).await? else { return Ok(None) };
    let transactions = sqlx::query_as!(
        Transaction,
        "SELECT store_id, transaction_id, payment_id, checkout_id, kind, status, provider, reference,
                amount_minor, currency, code, requested_at, settled_at, version
           FROM transactions WHERE store_id = $1 AND checkout_id = $2
          ORDER BY requested_at, transaction_id",
        store_id.0,
        checkout_id
    );
    Ok(Some(transactions.fetch_all(conn).await?))
}

async fn apply(conn: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    let orders = facts::<OrderEvent>(batch, "order")?;
    let payments = facts::<PaymentEvent>(batch, "payment")?;
    apply_orders(conn, &orders).await?;
    if !payments.is_empty() {
        apply_payments(conn, &payments).await?;
    }
    Ok(())
}

async fn apply_orders(
    conn: &mut PgConnection,
    facts: &[Fact<'_, OrderEvent>],
) -> Result<(), sqlx::Error> {
    let (mut stores, mut orders, mut checkouts) = (vec![], vec![], vec![]);
    for fact in facts {
        if let OrderEvent::Placed(placed) = &fact.event {
            let (store_id, order_id) = fact.key();
            stores.push(store_id);
            orders.push(order_id);
            checkouts.push(placed.checkout_id.0);
        }
    }
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO transaction_orders (store_id, order_id, checkout_id)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) ON CONFLICT DO NOTHING",
        &stores,
        &orders,
        &checkouts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads the rows that `facts` touch, changes them in memory and writes them back.
async fn apply_payments(
    conn: &mut PgConnection,
    facts: &[Fact<'_, PaymentEvent>],
) -> Result<(), ProjectionError> {
    let mut ledgers: BTreeMap<Key, Ledger> = BTreeMap::new();
    for row in load(conn, begun_before(facts)).await? {
        let ledger = ledgers.entry((row.store_id, row.payment_id)).or_default();
        ledger.0.insert(row.transaction_id, row);
    }
    for fact in facts {
        let (ledger, version) = (ledgers.entry(fact.key()).or_default(), fact.recorded.version);
        let seen = ledger.0.values().map(|transaction| transaction.version).max().unwrap_or(0);
        if version <= seen {
            continue;
        }
        if let PaymentEvent::IntentRequested(_) = &fact.event {
            ledger.0.insert(fact.key().1, requested(fact));
        }
        let first = ledger.0.get(&fact.key().1).cloned();
        let first = first.ok_or_else(|| fact.poison("no such payment"))?;
        let before = ledger.0.clone();
        ledger.apply(&first, &fact.event);
        for (id, transaction) in &mut ledger.0 {
            if before.get(id) != Some(transaction) {
                transaction.version = version;
            }
        }
    }
    let rows: Vec<&Transaction> = ledgers.values().flat_map(|ledger| ledger.0.values()).collect();
    store(conn, &rows).await?;
    Ok(())
}

/// What a payment begins with.
fn requested(fact: &Fact<'_, PaymentEvent>) -> Transaction {
    let PaymentEvent::IntentRequested(event) = &fact.event else {
        unreachable!("called for intents only");
    };
    let (store_id, payment_id) = fact.key();
    Transaction {
        store_id,
        transaction_id: payment_id,
        payment_id,
        checkout_id: event.checkout_id.0,
        kind: "authorisation".to_owned(),
        status: "pending".to_owned(),
        provider: event.provider.clone(),
        reference: None,
        amount_minor: event.amount.amount_minor,
        currency: event.amount.currency.code().to_owned(),
        code: None,
        requested_at: event.at,
        settled_at: None,
        version: fact.recorded.version,
    }
}

async fn load(
    conn: &mut PgConnection,
    (stores, payments): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Vec<Transaction>, sqlx::Error> {
    if payments.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Transaction,
        "SELECT t.store_id, transaction_id, t.payment_id, checkout_id, kind, status, provider,
                reference, amount_minor, currency, code, requested_at, settled_at, version
           FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, payment_id)
           JOIN transactions t
             ON t.store_id = wanted.store_id AND t.payment_id = wanted.payment_id",
        &stores,
        &payments
    )
    .fetch_all(conn)
    .await
}

async fn store(conn: &mut PgConnection, rows: &[&Transaction]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO transactions (store_id, transaction_id, payment_id, checkout_id, kind, status,
             provider, reference, amount_minor, currency, code, requested_at, settled_at, version)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
             $7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::timestamptz[],
             $13::timestamptz[], $14::bigint[])
         ON CONFLICT (store_id, transaction_id) DO UPDATE SET
             kind = excluded.kind, status = excluded.status, reference = excluded.reference,
             amount_minor = excluded.amount_minor, currency = excluded.currency,
             code = excluded.code, settled_at = excluded.settled_at, version = excluded.version",
        &column(rows, |row| row.store_id),
        &column(rows, |row| row.transaction_id),
        &column(rows, |row| row.payment_id),
        &column(rows, |row| row.checkout_id),
        &column(rows, |row| row.kind.as_str()) as &[&str],
        &column(rows, |row| row.status.as_str()) as &[&str],
        &column(rows, |row| row.provider.as_str()) as &[&str],
        &column(rows, |row| row.reference.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.amount_minor),
        &column(rows, |row| row.currency.as_str()) as &[&str],
        &column(rows, |row| row.code.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.requested_at),
        &column(rows, |row| row.settled_at) as &[Option<DateTime<Utc>>],
        &column(rows, |row| row.version)
    )
    .execute(conn)
    .await?;
    Ok(())
}
