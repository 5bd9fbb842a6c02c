//! Money that goes back.

use serde_json::{Value, json};

use crate::{account::Account, answer::Refused, intent::Refund, methods::Refunds, params::Params};

/// Reasons that a caller may give.
const REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer"];

impl Account {
    pub(crate) fn create_refund(&mut self, params: &Params) -> Result<Value, Refused> {
        params.only(&["amount", "charge", "expand", "metadata", "payment_intent", "reason"])?;
        let reason = params.get("reason");
        if reason.is_some_and(|reason| !REASONS.contains(&reason)) {
            return Err(Refused::invalid("parameter_invalid", "reason", "Invalid reason"));
        }
        let mut charge = self.refunded_charge(params)?;
        if charge.captured == 0 {
            let message = "This charge has not been captured".to_owned();
            return Err(Refused::state(
                "charge_not_captured",
                message,
                ("charge", json!(charge.id)),
            ));
        }
        let left = charge.captured - charge.refunded;
        if left == 0 {
            let message = format!("Charge {} has already been refunded.", charge.id);
            let object = ("charge", json!(charge.id));
            return Err(Refused::state("charge_already_refunded", message, object));
        }
        let amount = params.integer("amount")?.unwrap_or(left);
        if amount < 1 || amount > left {
            let message = format!("Refund amount ({amount}) is greater than what is left ({left})");
            return Err(Refused::state("amount_too_large", message, ("param", json!("amount"))));
        }
        charge.refunded += amount;
        let becomes = charge.method.refunds;
        let at_once = becomes == Refunds::AtOnce;
        let refund = Refund {
            id: self.id("re"),
            charge: charge.id.clone(),
            intent: charge.intent.clone(),
            amount,
            currency: charge.currency.clone(),
            created: self.now,
            status: if at_once { "succeeded" } else { "pending" },
            failure: None,
            reason: reason.map(str::to_owned),
            metadata: params.metadata()?,
            due: (!at_once).then_some((self.now + self.refund_seconds, becomes)),
        };
        let document = refund.document();
        self.put_charge(charge, &["charge.refunded"]);
        self.put_refund(refund, &["refund.created"]);
        Ok(document)
    }

    fn refunded_charge(&self, params: &Params) -> Result<crate::intent::Charge, Refused> {
        if let Some(id) = params.get("charge") {
            return self.charges.get(id).cloned().ok_or_else(|| Refused::missing("charge", id));
        }
        let id = params.required("payment_intent")?;
        let intent = self.intent(id)?;
        let charge = intent.latest_charge.as_ref().and_then(|id| self.charges.get(id));
        charge.cloned().ok_or_else(|| {
            let message = format!("This PaymentIntent ({id}) does not have a successful charge");
            let object = ("payment_intent", intent.document(None));
            Refused::state("payment_intent_unexpected_state", message, object)
        })
    }

    /// What happens by itself by now.
    pub(crate) fn pass_refunds(&mut self) {
        let now = self.now;
        let due = |refund: &&Refund| refund.due.is_some_and(|(due, _)| due <= now);
        let due: Vec<Refund> = self.refunds.values().filter(due).cloned().collect();
        for mut refund in due {
            let Some((at, becomes)) = refund.due.take() else { continue };
            self.now = at;
            if becomes == Refunds::Fails {
                (refund.status, refund.failure) = ("failed", Some("expired_or_canceled_card"));
                let mut charge = self.charges[&refund.charge].clone();
                charge.refunded -= refund.amount;
                self.put_charge(charge, &[]);
                self.put_refund(refund, &["refund.failed", "charge.refund.updated"]);
            } else {
                refund.status = "succeeded";
                self.put_refund(refund, &["refund.updated", "charge.refund.updated"]);
            }
        }
        self.now = now;
    }
}
