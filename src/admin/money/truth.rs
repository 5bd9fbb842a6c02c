//! The provider's books, payment by payment, to the smallest unit.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use chrono::{DateTime, Duration, Utc};
use domain::payment::{PaymentRefund, PaymentRefundState};
use event_schemas::ids::{PaymentId, StoreId};
use providers::payment::{PaymentProvider, Statement};
use sagas::{ANSWER_WITHIN, SLOW_ANSWER_WITHIN, SagaCtx, checkout::NOBODY};

use super::{
    Verdict,
    books::{Books, Paid},
};

/// What happened this recently may be in one set of books and not yet in the other.
const MOVING: Duration = Duration::minutes(5);

/// How far the clocks of a provider and of this machine may be apart.
const SKEW: Duration = Duration::minutes(10);

/// Pages of a provider's books, of a hundred payments each. A store with more has to be compared by
/// its provider's reports.
const PAGES_MAX: usize = 10_000;

/// Our payments at one provider, by id.
type Ours<'a> = BTreeMap<PaymentId, &'a Paid>;

/// Asks the provider of each store for its books, if it keeps any.
pub(super) async fn compare(
    books: &Books,
    saga: &SagaCtx,
    now: DateTime<Utc>,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    for (store_id, name) in providers_of(books, saga).await? {
        let ours = of_store(books, store_id, &name);
        let provider = match saga.payments.named(store_id, &name).await {
            Ok(PaymentProvider::Sandbox(_)) => continue,
            Ok(provider) => provider,
            Err(error) => {
                let (payments, kept) = (ours.len(), ours.values().map(|paid| paid.kept()));
                let kept: i64 = kept.sum();
                verdict.findings.push(format!(
                    "{payments} payments that keep {kept} cannot be compared: {error}"
                ));
                continue;
            }
        };
        let asked = ours.values().filter_map(|paid| paid.state.asked_at).min();
        let since = asked.unwrap_or(now) - SKEW;
        let theirs = statements(&provider, since).await;
        let theirs = theirs.with_context(|| format!("the provider of store {store_id}"))?;
        weigh(&ours, &theirs, now, verdict);
    }
    Ok(())
}

/// Whom the books say each store was paid by, and who it would be paid by now.
async fn providers_of(
    books: &Books,
    saga: &SagaCtx,
) -> anyhow::Result<BTreeSet<(StoreId, String)>> {
    let payments = books.payments().iter();
    let mut pairs: BTreeSet<_> = payments
        .map(|((store, _), paid)| (StoreId(*store), paid.provider.clone()))
        .filter(|(_, name)| name != NOBODY)
        .collect();
    for store_id in books.stores() {
        pairs.insert((store_id, saga.provider(store_id).await?.name().to_owned()));
    }
    Ok(pairs)
}

fn of_store<'a>(books: &'a Books, store_id: StoreId, provider: &str) -> Ours<'a> {
    let payments = books.payments().iter();
    let ours =
        payments.filter(|((store, _), paid)| *store == store_id.0 && paid.provider == provider);
    ours.map(|((_, id), paid)| (PaymentId(*id), paid)).collect()
}

async fn statements(
    provider: &PaymentProvider,
    since: DateTime<Utc>,
) -> anyhow::Result<Vec<Statement>> {
    let (mut all, mut after) = (vec![], None::<String>);
    for _ in 0..PAGES_MAX {
        let page = provider.statements(since, after.as_deref()).await?;
        all.extend(page.statements);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
    anyhow::bail!("its books have more than {PAGES_MAX} pages")
}

/// Compares what we say with what they say.
fn weigh(ours: &Ours<'_>, theirs: &[Statement], now: DateTime<Utc>, verdict: &mut Verdict) {
    let mut open = ours.clone();
    for (id, paid) in ours {
        for (refund_id, refund) in paid.state.refunds.iter().filter(|(_, it)| is_late(it, now)) {
            let asked_at = refund.asked_at;
            let late = format!("payment {id}: refund {refund_id} is open since {asked_at}");
            verdict.findings.push(late);
        }
    }
    for statement in theirs {
        let key = statement.key.as_deref().and_then(|key| key.parse::<PaymentId>().ok());
        // Somebody else's: the account serves other shops, too.
        let Some(id) = key else { continue };
        let Some(paid) = ours.get(&id) else {
            if statement.created + MOVING < now {
                verdict.findings.push(format!(
                    "payment {id} is in the provider's books and not in ours: {} captured",
                    statement.captured.amount_minor
                ));
            }
            continue;
        };
        open.remove(&id);
        if is_moving(paid, now) {
            verdict.moving += 1;
            continue;
        }
        verdict.compared += 1;
        let differs = [
            ("captured", paid.captured(), statement.captured.amount_minor),
            ("refunded", paid.refunded(), statement.refunded.amount_minor),
        ];
        for (what, ours, theirs) in differs.into_iter().filter(|(_, ours, theirs)| ours != theirs) {
            verdict.findings.push(format!("payment {id}: {ours} {what} here, {theirs} there"));
        }
        let currency = paid.state.intent.as_ref().map(|intent| intent.amount.currency);
        if currency.is_some_and(|currency| currency != statement.captured.currency) {
            verdict.findings.push(format!("payment {id}: another currency there"));
        }
        if !paid.state.is_open() && statement.reserved.amount_minor != 0 {
            let reserved = statement.reserved.amount_minor;
            verdict.findings.push(format!("payment {id} is over here, {reserved} reserved there"));
        }
    }
    for (id, paid) in open {
        if is_moving(paid, now) {
            verdict.moving += 1;
        } else if paid.captured() != 0 {
            let captured = paid.captured();
            verdict.findings.push(format!("payment {id}: {captured} captured here, unknown there"));
        }
    }
}

/// Whether something is happening to it, or may be: both books are right, at different times.
fn is_moving(paid: &Paid, now: DateTime<Utc>) -> bool {
    let mut refunds = paid.state.refunds.values();
    let refunding = refunds.any(|refund| refund.state.is_open() && !is_late(refund, now));
    now - MOVING < paid.last || refunding || paid.state.is_awaited()
}

/// Whether a refund is open for longer than a provider may take.
fn is_late(refund: &PaymentRefund, now: DateTime<Utc>) -> bool {
    let patience = match refund.state {
        PaymentRefundState::Requested => ANSWER_WITHIN,
        PaymentRefundState::Pending { .. } => SLOW_ANSWER_WITHIN,
        PaymentRefundState::Succeeded | PaymentRefundState::Failed { .. } => return false,
    };
    refund.asked_at + patience <= now
}

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate as _;
    use event_schemas::{
        ids::{CheckoutId, RefundId},
        money::{Currency, Money},
        payment::{
            PaymentCaptured, PaymentEvent, PaymentIntentRequested, RefundPending, RefundRequested,
        },
    };

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-03-14T12:00:00Z".parse().unwrap()
    }

    fn money(amount_minor: i64) -> Money {
        Money { amount_minor, currency: Currency::GBP }
    }

    fn id(name: &str) -> PaymentId {
        PaymentId::derive(&[name.as_bytes()])
    }

    fn paid(captured: i64) -> Paid {
        let at = noon() - Duration::hours(1);
        let mut paid = Paid { provider: "stripe".into(), last: at, ..Paid::default() };
        let asked = PaymentIntentRequested {
            checkout_id: CheckoutId::derive(&[b"checkout"]),
            attempt: 1,
            amount: money(captured),
            provider: "stripe".into(),
            payment_method: "pm_card_visa".into(),
            at,
        };
        paid.state.apply(PaymentEvent::IntentRequested(asked));
        let captured = PaymentCaptured { amount: money(captured), at };
        paid.state.apply(PaymentEvent::Captured(captured));
        paid
    }

    fn statement(key: &str, captured: i64, refunded: i64) -> Statement {
        Statement {
            reference: "pi_1".into(),
            key: Some(id(key).to_string()),
            created: noon() - Duration::hours(1),
            reserved: money(0),
            captured: money(captured),
            refunded: money(refunded),
        }
    }

    fn findings(ours: &[(&str, &Paid)], theirs: &[Statement]) -> Vec<String> {
        let ours = ours.iter().map(|(name, paid)| (id(name), *paid)).collect();
        let mut verdict = Verdict::default();
        weigh(&ours, theirs, noon(), &mut verdict);
        verdict.findings
    }

    #[test]
    fn equal_books_are_clean() {
        let foreign = Statement { key: Some("somebody else's".into()), ..statement("x", 9, 0) };
        assert!(findings(&[("a", &paid(700))], &[statement("a", 700, 0), foreign]).is_empty());
    }

    #[test]
    fn every_difference_is_found() {
        let ours = paid(700);
        let reserved = Statement { reserved: money(700), ..statement("a", 700, 0) };
        let dollars = Money { amount_minor: 700, currency: Currency::USD };
        let dollars = Statement { captured: dollars, ..statement("a", 700, 0) };
        for (theirs, found) in [
            (vec![statement("a", 699, 0)], "700 captured here, 699 there"),
            (vec![statement("a", 700, 1)], "0 refunded here, 1 there"),
            (vec![], "700 captured here, unknown there"),
            (vec![reserved], "is over here, 700 reserved there"),
            (vec![dollars], "another currency there"),
            (vec![statement("a", 700, 0), statement("b", 1, 0)], "and not in ours: 1 captured"),
        ] {
            let findings = findings(&[("a", &ours)], &theirs);
            assert!(findings.len() == 1 && findings[0].contains(found), "{found}: {findings:?}");
        }
    }

    #[test]
    fn a_refund_is_under_way_for_as_long_as_a_provider_may_take() {
        let refunding = |ago: Duration, pending: bool| {
            let (mut paid, at) = (paid(700), noon() - ago);
            let (refund_id, amount) = (RefundId::derive(&[b"refund"]), money(100));
            let requested = RefundRequested { refund_id, amount, reason: String::new(), at };
            paid.state.apply(PaymentEvent::RefundRequested(requested));
            if pending {
                let provider_reference = "re_1".to_owned();
                let pending = RefundPending { refund_id, provider_reference, at };
                paid.state.apply(PaymentEvent::RefundPending(pending));
            }
            findings(&[("a", &paid)], &[statement("a", 700, if pending { 100 } else { 0 })])
        };
        for (ago, pending) in [(ANSWER_WITHIN, false), (SLOW_ANSWER_WITHIN, true)] {
            assert!(refunding(ago - Duration::seconds(1), pending).is_empty());
            let found = refunding(ago, pending);
            assert!(found.len() == 1 && found[0].contains("is open since"), "{found:?}");
        }
    }

    #[test]
    fn what_is_under_way_is_left_out() {
        let moving = Paid { last: noon() - Duration::minutes(1), ..paid(700) };
        assert!(findings(&[("a", &moving)], &[]).is_empty());
        assert!(findings(&[("a", &moving)], &[statement("a", 0, 0)]).is_empty());
    }
}
