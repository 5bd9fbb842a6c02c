//! What may happen to an intent, and in which order.

use serde_json::{Value, json};

use crate::{
    account::Account,
    answer::Refused,
    intent::{Charge, Intent, Status},
    methods::{self, Does, Method},
    params::Params,
};

/// How long an authorisation lasts, in seconds: seven days.
const AUTHORISED_SECONDS: i64 = 7 * 24 * 3600;

/// Largest amount of a charge: eight digits.
const AMOUNT_MAX: i64 = 99_999_999;

/// Method of a shopper who pays at once and holds nothing.
const AT_ONCE: &str = "pm_usBankAccount_success";

/// What creating an intent takes.
const CREATE: &[&str] = &[
    "amount",
    "currency",
    "automatic_payment_methods",
    "capture_method",
    "confirm",
    "customer",
    "description",
    "expand",
    "metadata",
    "off_session",
    "payment_method",
    "payment_method_options",
    "payment_method_types",
    "receipt_email",
    "return_url",
    "statement_descriptor_suffix",
];

impl Account {
    pub(crate) fn create_intent(&mut self, params: &Params) -> Result<Value, Refused> {
        params.only(CREATE)?;
        let (amount, currency) = amount(params)?;
        let capture_method = params.get("capture_method").unwrap_or("automatic_async");
        if !["automatic", "automatic_async", "manual"].contains(&capture_method) {
            let message = "Invalid capture_method";
            return Err(Refused::invalid("parameter_invalid", "capture_method", message));
        }
        let method = method(params)?;
        compatible(capture_method, method)?;
        let confirm = params.is("confirm", "true");
        if confirm && method.is_none() {
            let message = "You cannot confirm this PaymentIntent because it's missing a payment \
                method";
            return Err(Refused::invalid("parameter_missing", "payment_method", message));
        }
        let status = match method {
            Some(_) => Status::RequiresConfirmation,
            None => Status::RequiresPaymentMethod,
        };
        let intent = Intent {
            id: self.id("pi"),
            status,
            amount,
            currency,
            created: self.now,
            metadata: params.metadata()?,
            description: params.get("description").map(str::to_owned),
            capture_method: capture_method.to_owned(),
            hold_cards: params.is("payment_method_options[card][capture_method]", "manual"),
            method,
            capturable: 0,
            received: 0,
            last_error: Value::Null,
            latest_charge: None,
            canceled: None,
            due: None,
        };
        let id = intent.id.clone();
        self.put(intent.clone(), &["payment_intent.created"]);
        if let Some(method) = method.filter(|_| confirm) {
            self.attempt(intent, method)?;
        }
        Ok(self.intent_document(&id, params))
    }

    pub(crate) fn confirm_intent(&mut self, id: &str, params: &Params) -> Result<Value, Refused> {
        params.only(&["payment_method", "client_secret", "return_url", "expand", "off_session"])?;
        let intent = self.intent(id)?;
        let given = method(params)?;
        let allowed = match intent.status {
            Status::RequiresConfirmation => true,
            Status::RequiresPaymentMethod | Status::RequiresAction => given.is_some(),
            _ => false,
        };
        let Some(method) = given.or(intent.method).filter(|_| allowed) else {
            return Err(unexpected(&intent, "confirm"));
        };
        compatible(&intent.capture_method, Some(method))?;
        self.attempt(intent, method)?;
        Ok(self.intent_document(id, params))
    }

    pub(crate) fn capture_intent(&mut self, id: &str, params: &Params) -> Result<Value, Refused> {
        params.only(&["amount_to_capture", "expand", "metadata"])?;
        let mut intent = self.intent(id)?;
        if intent.status != Status::RequiresCapture {
            return Err(unexpected(&intent, "capture"));
        }
        let amount = params.integer("amount_to_capture")?.unwrap_or(intent.capturable);
        if amount < 1 {
            let message = "Invalid positive integer";
            return Err(Refused::invalid(
                "parameter_invalid_integer",
                "amount_to_capture",
                message,
            ));
        }
        if amount > intent.capturable {
            let message = "The amount to capture exceeds what can be captured".to_owned();
            let object = ("payment_intent", intent.document(None));
            return Err(Refused::state("amount_too_large", message, object));
        }
        self.take(&mut intent, amount);
        self.put(intent, &["payment_intent.succeeded"]);
        Ok(self.intent_document(id, params))
    }

    pub(crate) fn cancel_intent(&mut self, id: &str, params: &Params) -> Result<Value, Refused> {
        params.only(&["cancellation_reason", "expand"])?;
        let intent = self.intent(id)?;
        let waits = matches!(
            intent.status,
            Status::RequiresAction | Status::RequiresPaymentMethod | Status::Processing
        );
        let faster = self.chance.faults.success_before_cancel;
        if waits && self.chance.hits(faster) {
            // Who was refused takes another method, which pays at once.
            let another = methods::find(AT_ONCE);
            let method = intent.method.or(another);
            self.allow(Intent { method, ..intent });
        }
        let intent = self.intent(id)?;
        let allowed =
            !matches!(intent.status, Status::Succeeded | Status::Canceled | Status::Processing);
        if !allowed {
            return Err(unexpected(&intent, "cancel"));
        }
        let reason = params.get("cancellation_reason").unwrap_or("requested_by_customer");
        self.give_up(intent, reason);
        Ok(self.intent_document(id, params))
    }

    /// The shopper proves who they are, or fails to. False if nobody asked.
    pub(crate) fn authenticate(&mut self, id: &str, passes: bool) -> bool {
        let Ok(intent) = self.intent(id) else { return false };
        if intent.status != Status::RequiresAction {
            return false;
        }
        if passes {
            self.allow(intent);
        } else {
            let code = "payment_intent_authentication_failure";
            self.refuse(intent, code, "");
        }
        true
    }

    /// What happens by itself by now.
    pub(crate) fn pass_intents(&mut self) {
        let now = self.now;
        let due = |intent: &&Intent| intent.due.is_some_and(|due| due <= now);
        let due: Vec<Intent> = self.intents.values().filter(due).cloned().collect();
        for intent in due {
            self.now = intent.due.unwrap_or(now);
            match (intent.status, intent.method.map(|method| method.does)) {
                (Status::Processing, Some(Does::Bounces)) => {
                    self.refuse(intent, "payment_method_provider_decline", "insufficient_funds");
                }
                (Status::Processing, _) => self.allow(intent),
                _ => self.give_up(intent, "automatic"),
            }
        }
        self.now = now;
    }

    fn attempt(&mut self, mut intent: Intent, method: &'static Method) -> Result<(), Refused> {
        intent.method = Some(method);
        intent.last_error = Value::Null;
        match method.does {
            Does::Succeeds => self.allow(intent),
            Does::Declines(code, decline_code) => {
                let id = intent.id.clone();
                self.refuse(intent, code, decline_code);
                return Err(self.card_error(&id));
            }
            Does::Authenticates => {
                intent.status = Status::RequiresAction;
                self.put(intent, &["payment_intent.requires_action"]);
            }
            Does::Settles | Does::Bounces => {
                intent.status = Status::Processing;
                intent.due = Some(self.now + self.settle_seconds);
                let charge = self.charge(&mut intent, "pending");
                self.put_charge(charge, &["charge.pending"]);
                self.put(intent, &["payment_intent.processing"]);
            }
        }
        Ok(())
    }

    /// The bank allows it: the money is reserved or taken.
    fn allow(&mut self, mut intent: Intent) {
        let method = intent.method.expect("an intent that is confirmed has a method");
        let mut charge = match intent.latest_charge.as_ref().filter(|_| intent.due.is_some()) {
            Some(pending) => self.charges[pending].clone(),
            None => self.charge(&mut intent, "succeeded"),
        };
        charge.status = "succeeded";
        intent.due = None;
        if intent.holds(method) {
            let until = self.now + AUTHORISED_SECONDS;
            charge.capture_before = Some(until);
            self.put_charge(charge, &["charge.succeeded"]);
            (intent.status, intent.capturable) = (Status::RequiresCapture, intent.amount);
            intent.due = Some(until);
            self.put(intent, &["payment_intent.amount_capturable_updated"]);
        } else {
            self.put_charge(charge, &["charge.succeeded"]);
            let amount = intent.amount;
            self.take(&mut intent, amount);
            self.put(intent, &["payment_intent.succeeded"]);
        }
    }

    fn take(&mut self, intent: &mut Intent, amount: i64) {
        let held = intent.capturable > 0;
        (intent.status, intent.capturable, intent.received) = (Status::Succeeded, 0, amount);
        intent.due = None;
        let charge = intent.latest_charge.as_ref().and_then(|id| self.charges.get(id));
        let Some(charge) = charge else { return };
        let charge = Charge { captured: amount, capture_before: None, ..charge.clone() };
        self.put_charge(charge, if held { &["charge.captured"] } else { &[] });
    }

    /// The bank refuses.
    fn refuse(&mut self, mut intent: Intent, code: &str, decline_code: &str) {
        let method = intent.method;
        let authentication = code == "payment_intent_authentication_failure";
        let mut error = json!({
            "type": if authentication { "invalid_request_error" } else { "card_error" },
            "code": code, "message": "The payment was refused.",
            "payment_method": method.map(|method| json!({ "id": method.id, "type": method.kind })),
        });
        if !decline_code.is_empty() {
            error["decline_code"] = json!(decline_code);
        }
        if !authentication {
            let mut charge = match intent.latest_charge.as_ref().filter(|_| intent.due.is_some()) {
                Some(pending) => self.charges[pending].clone(),
                None => self.charge(&mut intent, "failed"),
            };
            (charge.status, charge.failure) = ("failed", Some(code.to_owned()));
            error["charge"] = json!(charge.id);
            self.put_charge(charge, &["charge.failed"]);
        }
        intent.method = None;
        intent.status = Status::RequiresPaymentMethod;
        intent.last_error = error;
        intent.due = None;
        self.put(intent, &["payment_intent.payment_failed"]);
    }

    fn give_up(&mut self, mut intent: Intent, reason: &str) {
        intent.status = Status::Canceled;
        (intent.capturable, intent.due) = (0, None);
        intent.canceled = Some((self.now, reason.to_owned()));
        self.put(intent, &["payment_intent.canceled"]);
    }

    /// What a request that the bank refused is answered.
    fn card_error(&self, id: &str) -> Refused {
        let intent = &self.intents[id];
        let mut error = intent.last_error.clone();
        error["payment_intent"] = intent.document(None);
        Refused { status: 402, error, saved: true }
    }

    fn charge(&mut self, intent: &mut Intent, status: &'static str) -> Charge {
        let id = self.id("ch");
        intent.latest_charge = Some(id.clone());
        Charge {
            id,
            intent: intent.id.clone(),
            amount: intent.amount,
            captured: 0,
            refunded: 0,
            currency: intent.currency.clone(),
            created: self.now,
            status,
            failure: None,
            method: intent.method.expect("an intent that is confirmed has a method"),
            metadata: intent.metadata.clone(),
            capture_before: None,
        }
    }
}

fn unexpected(intent: &Intent, verb: &str) -> Refused {
    let status = intent.status.name();
    let message = format!("This PaymentIntent could not be used to {verb}: its status is {status}");
    let object = ("payment_intent", intent.document(None));
    Refused::state("payment_intent_unexpected_state", message, object)
}

/// A bank debit cannot be reserved.
fn compatible(capture_method: &str, method: Option<&Method>) -> Result<(), Refused> {
    if capture_method != "manual" || method.is_none_or(|method| method.kind == "card") {
        return Ok(());
    }
    let message = "The payment method cannot be captured by hand";
    Err(Refused::invalid("parameter_invalid", "capture_method", message))
}

fn method(params: &Params) -> Result<Option<&'static Method>, Refused> {
    let Some(id) = params.get("payment_method") else { return Ok(None) };
    let unknown = || {
        let message = format!("No such PaymentMethod: '{id}'");
        Refused::invalid("resource_missing", "payment_method", &message)
    };
    methods::find(id).map(Some).ok_or_else(unknown)
}

/// Amount and currency, within Stripe's limits.
fn amount(params: &Params) -> Result<(i64, String), Refused> {
    let currency = params.required("currency")?.to_lowercase();
    params.required("amount")?;
    let amount = params.integer("amount")?.unwrap_or_default();
    let Some(known) = iso_currency::Currency::from_code(&currency.to_uppercase()) else {
        let message = "Invalid currency";
        return Err(Refused::invalid("parameter_invalid", "currency", message));
    };
    let smallest = if currency == "gbp" { 30 } else { 50 };
    if amount < smallest {
        return Err(Refused::invalid("amount_too_small", "amount", "Amount is too small"));
    }
    if amount > AMOUNT_MAX {
        return Err(Refused::invalid("amount_too_large", "amount", "Amount is too large"));
    }
    if known.exponent() == Some(3) && amount % 10 != 0 {
        let message = "The last digit of a three-decimal amount must be 0";
        return Err(Refused::invalid("parameter_invalid_integer", "amount", message));
    }
    Ok((amount, currency))
}
