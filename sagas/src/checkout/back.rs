//! Captured money that nothing counts on goes back.

use chrono::Duration;
use commands::payment::PaymentRefundState;
use event_schemas::ids::{PaymentId, RefundId};

use super::drive::Drive;
use crate::{DriveError, refund};

/// How long after the provider refused to send money back it is asked again: what it lacks is a
/// balance, mostly, and the next day's sales bring it.
const RETRY_REFUND_AFTER: Duration = Duration::days(1);

impl Drive<'_> {
    /// The refund of a checkout that failed; also the reference of the stock of its order.
    pub(super) fn refund_id(&self) -> RefundId {
        RefundId::derive(&[self.journey.checkout_id.0.as_bytes(), b"checkout_failed"])
    }

    /// Sends back what is left of captured money; or goes on with what was begun.
    pub(super) async fn send_back(&mut self) -> Result<(), DriveError> {
        let payment_id = self.payment_id().expect("captured money has a payment");
        let payment = &self.situation.payment;
        let open = payment.refunds.iter().find(|(_, refund)| refund.state.is_open());
        let (refund_id, amount) = if let Some((refund_id, refund)) = open {
            (*refund_id, refund.amount)
        } else {
            let left = payment.refundable().expect("captured money has an amount");
            (self.next_refund_id(payment_id)?, left)
        };
        let reason = "the checkout failed".to_owned();
        let back = refund::Money { payment_id, refund_id, amount, reason };
        let at = self.at();
        let sent = refund::send_back(self.ctx, self.journey, back, at).await?;
        self.situation.asked = matches!(sent, refund::Sent::Unclear | refund::Sent::Pending);
        self.situation.silent = sent == refund::Sent::Unclear;
        self.load_payment().await?;
        if let refund::Sent::Refused { code } = sent {
            return Err(DriveError::Refused { step: "refund", detail: code });
        }
        Ok(())
    }

    /// Each try to send money back is a refund of its own. After a refusal the next one comes a day
    /// later; until then, and as long as it does not work, the process shows that it is stuck.
    fn next_refund_id(&self, payment_id: PaymentId) -> Result<RefundId, DriveError> {
        let refunds = &self.situation.payment.refunds;
        let failed = |state: &PaymentRefundState| match state {
            PaymentRefundState::Failed { code } => Some(code.clone()),
            _ => None,
        };
        let failed = refunds.values().filter_map(|refund| {
            failed(&refund.state).map(|code| (refund.asked_at + RETRY_REFUND_AFTER, code))
        });
        let failed: Vec<_> = failed.collect();
        if let Some((again_at, code)) = failed.iter().max()
            && self.ctx.now() < *again_at
        {
            return Err(DriveError::Refused { step: "refund", detail: code.clone() });
        }
        let first = match self.payment_id {
            Some(_) => RefundId::derive(&[payment_id.0.as_bytes(), b"stray"]),
            None => self.refund_id(),
        };
        Ok(match u32::try_from(refunds.len()).unwrap_or(u32::MAX) {
            0 => first,
            tries => RefundId::derive(&[first.0.as_bytes(), &tries.to_be_bytes()]),
        })
    }
}
