//! A provider that pretends: what happens follows from the card, and from nothing else.
//!
//! | card | token | what happens |
//! |---|---|---|
//! | `4242 4242 4242 4242` | `sbx_ok` | reserved, captured, refunded |
//! | `4000 0000 0000 0002` | `sbx_declined` | declined: `card_declined`, another card |
//! | `4000 0000 0000 9995` | `sbx_insufficient_funds` | declined: `insufficient_funds`, another card |
//! | `4000 0025 0000 3155` | `sbx_three_d_secure` | 3-D Secure; the answer `pass` reserves, any other is declined: `authentication_failed`, try again |
//! | `4000 0000 0000 0101` | `sbx_late_success` | no answer; after 5 s it turns out to be reserved |
//! | `4000 0000 0000 0119` | `sbx_late_decline` | no answer; after 5 s it turns out to be declined: `card_declined` |
//! | `4000 0000 0000 0341` | `sbx_capture_fails` | reserved; the capture fails: `capture_failed` |
//! | `4000 0000 0000 7726` | `sbx_refund_pending` | like the first; a refund is pending and arrives after 5 s |
//! | `4000 0000 0000 5126` | `sbx_refund_fails` | like the first; a refund is pending and fails after 5 s: `expired_or_canceled_card` |
//! | any other valid number | `sbx_unknown_card` | declined: `test_card_unknown`, another card |
//! | – | `sbx_bank_debit` | is being processed; after 5 s the money is taken |
//! | – | `sbx_bank_debit_fails` | is being processed; after 5 s declined: `insufficient_funds`, another method |
//! | – | none | the shopper chooses and confirms; the answer `pass` reserves, any other is declined |
//!
//! It keeps no state: the same call gets the same answer in every process and after every crash,
//! which is what an idempotency key promises. A lost answer is reported at once and not after ten
//! seconds of waiting, so that tests with a still clock are exact.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Duration, Utc};
use event_schemas::{
    money::Money,
    payment::{DeclineAdvice, PaymentAction},
};
use sha2::{Digest as _, Sha256};

use super::{
    Authorisation, Charge, ClientSecret, LookUp, PaymentError, Refund, RefundState, Refunded,
};

/// How long the sandbox takes to know what became of what it does not say at once.
pub const LOOK_UP_AFTER: Duration = Duration::seconds(5);

/// The answer of a shopper's bank that says: it is them.
pub const ANSWER_PASS: &str = "pass";

/// Digits of a card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// Token of a valid number that is no test card.
const UNKNOWN_CARD: &str = "sbx_unknown_card";

/// A card number of the sandbox. These are published numbers that no bank has given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestCard {
    /// The number.
    pub number: &'static str,
    /// What [`tokenise`] makes of it.
    pub token: &'static str,
    /// What happens, for people.
    pub behaviour: &'static str,
}

/// Every card that does something else than being unknown.
pub const TEST_CARDS: &[TestCard] = &[
    TestCard { number: "4242424242424242", token: "sbx_ok", behaviour: "succeeds" },
    TestCard {
        number: "4000000000000002",
        token: "sbx_declined",
        behaviour: "is declined: card_declined",
    },
    TestCard {
        number: "4000000000009995",
        token: "sbx_insufficient_funds",
        behaviour: "is declined: insufficient_funds",
    },
    TestCard {
        number: "4000002500003155",
        token: "sbx_three_d_secure",
        behaviour: "needs 3-D Secure; the answer `pass` succeeds, any other is declined",
    },
    TestCard {
        number: "4000000000000101",
        token: "sbx_late_success",
        behaviour: "times out and turns out authorised after 5 seconds",
    },
    TestCard {
        number: "4000000000000119",
        token: "sbx_late_decline",
        behaviour: "times out and turns out declined after 5 seconds",
    },
    TestCard {
        number: "4000000000000341",
        token: "sbx_capture_fails",
        behaviour: "is authorised, then the capture fails: capture_failed",
    },
    TestCard {
        number: "4000000000007726",
        token: "sbx_refund_pending",
        behaviour: "succeeds; a refund arrives after 5 seconds",
    },
    TestCard {
        number: "4000000000005126",
        token: "sbx_refund_fails",
        behaviour: "succeeds; a refund fails after 5 seconds",
    },
];

/// Why a text is not a card number. Says nothing of the text: it may be a real number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// Something else than digits, spaces and hyphens.
    #[error("a card number consists of digits")]
    NotDigits,
    /// Too short or too long.
    #[error("a card number has 12 to 19 digits")]
    Length,
    /// The check digit is wrong: a typing error.
    #[error("the card number has a typing error")]
    Checksum,
    /// This provider is given numbers by the shopper's browser alone.
    #[error("give the number to the payment provider, and send its payment method")]
    NotTaken,
}

/// The token of a card number. Spaces and hyphens do not count. The number is forgotten.
pub fn tokenise(card_number: &str) -> Result<&'static str, CardError> {
    let digits = card_digits(card_number)?;
    let same = |card: &&TestCard| {
        card.number.chars().filter_map(|mark| mark.to_digit(10)).eq(digits.iter().copied())
    };
    Ok(TEST_CARDS.iter().find(same).map_or(UNKNOWN_CARD, |card| card.token))
}

/// Whether a text is a card number with a right check digit, which must be stored nowhere.
pub fn is_card_number(text: &str) -> bool {
    card_digits(text).is_ok()
}

fn card_digits(text: &str) -> Result<Vec<u32>, CardError> {
    let marks = text.chars().filter(|mark| !matches!(mark, ' ' | '-'));
    let digits: Option<Vec<u32>> = marks.map(|mark| mark.to_digit(10)).collect();
    let digits = digits.ok_or(CardError::NotDigits)?;
    if !CARD_DIGITS.contains(&digits.len()) {
        return Err(CardError::Length);
    }
    if !luhn(&digits).is_multiple_of(10) {
        return Err(CardError::Checksum);
    }
    Ok(digits)
}

/// Sum of the digits, every second one from the right doubled.
fn luhn(digits: &[u32]) -> u32 {
    let weigh = |(place, digit): (usize, &u32)| match (place % 2, digit * 2) {
        (0, _) => *digit,
        (_, doubled) if doubled > 9 => doubled - 9,
        (_, doubled) => doubled,
    };
    digits.iter().rev().enumerate().map(weigh).sum()
}

/// The provider that pretends.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    journal: Option<Arc<Mutex<Vec<String>>>>,
}

impl Sandbox {
    /// A sandbox that writes down every call that would move money, as `call key`. Grows without
    /// bound: for tests.
    pub fn recording() -> (Sandbox, Arc<Mutex<Vec<String>>>) {
        let journal = Arc::new(Mutex::new(vec![]));
        (Sandbox { journal: Some(journal.clone()) }, journal)
    }

    fn note(&self, call: &str, key: &str) {
        if let Some(journal) = &self.journal {
            let mut calls = journal.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push(format!("{call} {key}"));
        }
    }

    pub(super) fn authorise(&self, charge: Charge<'_>) -> Result<Authorisation, PaymentError> {
        self.note("authorise", charge.key);
        at_first(charge)
    }

    pub(super) fn confirm_action(
        &self,
        charge: Charge<'_>,
        reference: &str,
        answer: &str,
    ) -> Result<Authorisation, PaymentError> {
        self.note("confirm", charge.key);
        if answer == ANSWER_PASS {
            return Ok(authorised(reference.to_owned(), charge.amount));
        }
        Err(declined("authentication_failed", DeclineAdvice::Retry))
    }

    pub(super) fn look_up(&self, look_up: LookUp<'_>) -> Result<Authorisation, PaymentError> {
        let LookUp { charge, asked_at, now, .. } = look_up;
        self.note("look_up", charge.key);
        if now < asked_at + LOOK_UP_AFTER { at_first(charge) } else { in_the_end(charge) }
    }

    pub(super) fn capture(
        &self,
        reference: &str,
        amount: Money,
        key: &str,
    ) -> Result<Money, PaymentError> {
        self.note("capture", key);
        if reference.starts_with("sbx_capture_fails.") {
            return Err(declined("capture_failed", DeclineAdvice::Stop));
        }
        Ok(amount)
    }

    pub(super) fn void(&self, _reference: &str, key: &str) {
        self.note("void", key);
    }

    pub(super) fn refund(&self, refund: Refund<'_>) -> Refunded {
        self.note("refund", refund.key);
        let state = match token_of(refund.reference) {
            "sbx_refund_pending" | "sbx_refund_fails" => RefundState::Pending,
            _ => RefundState::Succeeded,
        };
        refunded(refund, state)
    }

    pub(super) fn look_up_refund(
        &self,
        refund: Refund<'_>,
        asked_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Refunded {
        self.note("look_up_refund", refund.key);
        let code = "expired_or_canceled_card";
        let state = match token_of(refund.reference) {
            "sbx_refund_pending" | "sbx_refund_fails" if now < asked_at + LOOK_UP_AFTER => {
                RefundState::Pending
            }
            "sbx_refund_fails" => RefundState::Failed { code: code.to_owned() },
            _ => RefundState::Succeeded,
        };
        refunded(refund, state)
    }
}

/// What is known of a charge at once.
fn at_first(charge: Charge<'_>) -> Result<Authorisation, PaymentError> {
    match charge.token {
        Some("sbx_late_success" | "sbx_late_decline") => Err(PaymentError::Unknown),
        Some("sbx_bank_debit" | "sbx_bank_debit_fails") => {
            Ok(Authorisation::Processing { reference: reference_of(charge) })
        }
        _ => in_the_end(charge),
    }
}

/// What becomes of a charge once it is known.
fn in_the_end(charge: Charge<'_>) -> Result<Authorisation, PaymentError> {
    let reference = reference_of(charge);
    let Some(token) = charge.token else {
        return Ok(Authorisation::ActionRequired { reference, action: PaymentAction::Confirm });
    };
    match token {
        "sbx_ok" | "sbx_late_success" | "sbx_capture_fails" | "sbx_refund_pending"
        | "sbx_refund_fails" => Ok(authorised(reference, charge.amount)),
        "sbx_bank_debit" => Ok(Authorisation::Captured { reference, amount: charge.amount }),
        "sbx_three_d_secure" => {
            Ok(Authorisation::ActionRequired { reference, action: PaymentAction::ThreeDSecure })
        }
        "sbx_declined" | "sbx_late_decline" => {
            Err(declined("card_declined", DeclineAdvice::OtherMethod))
        }
        "sbx_insufficient_funds" | "sbx_bank_debit_fails" => {
            Err(declined("insufficient_funds", DeclineAdvice::OtherMethod))
        }
        UNKNOWN_CARD => Err(declined("test_card_unknown", DeclineAdvice::OtherMethod)),
        _ => Err(declined("token_unknown", DeclineAdvice::OtherMethod)),
    }
}

fn authorised(reference: String, amount: Money) -> Authorisation {
    Authorisation::Authorised { reference, amount, expires_at: None }
}

fn refunded(refund: Refund<'_>, state: RefundState) -> Refunded {
    let reference = reference("sbx_refund", &format!("{} {}", refund.reference, refund.key));
    Refunded { reference, amount: refund.amount, state }
}

fn declined(code: &str, advice: DeclineAdvice) -> PaymentError {
    PaymentError::Declined { code: code.to_owned(), advice }
}

/// What a shopper's browser would be given; nothing takes it.
pub(super) fn client_secret(reference: &str) -> ClientSecret {
    ClientSecret { client_secret: format!("{reference}_secret"), publishable_key: None }
}

fn reference_of(charge: Charge<'_>) -> String {
    reference(charge.token.unwrap_or("sbx_confirmed"), charge.key)
}

fn token_of(reference: &str) -> &str {
    reference.split('.').next().unwrap_or_default()
}

/// The sandbox's name of a payment: the card's token, by which a later call knows what to pretend,
/// and a hash of the key.
fn reference(token: &str, key: &str) -> String {
    let mut reference = format!("{token}.");
    for byte in &Sha256::digest(key.as_bytes())[..8] {
        write!(reference, "{byte:02x}").expect("writing to a string cannot fail");
    }
    reference
}

#[cfg(test)]
mod tests {
    use event_schemas::money::Currency;

    use super::*;

    const AMOUNT: Money = Money { amount_minor: 1299, currency: Currency::GBP };

    fn charge(token: &str) -> Charge<'_> {
        Charge { key: "pay_1", token: Some(token), amount: AMOUNT }
    }

    /// Asks at `now` for what was asked for at the epoch.
    fn look_up(token: &str, now: DateTime<Utc>) -> Result<Authorisation, PaymentError> {
        let asked_at = DateTime::UNIX_EPOCH;
        let look_up = LookUp { charge: charge(token), reference: None, asked_at, now };
        Sandbox::default().look_up(look_up)
    }

    fn code<T: std::fmt::Debug>(result: Result<T, PaymentError>) -> String {
        match result.unwrap_err() {
            PaymentError::Declined { code, .. } => code,
            PaymentError::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn every_test_card_passes_the_check_and_leads_to_its_token() {
        for card in TEST_CARDS {
            assert_eq!(tokenise(card.number), Ok(card.token));
        }
        assert_eq!(tokenise("4242 4242-4242 4242"), Ok("sbx_ok"));
        assert_eq!(tokenise("4111 1111 1111 1111"), Ok(UNKNOWN_CARD));
    }

    #[test]
    fn what_is_no_card_number_is_refused() {
        assert_eq!(tokenise("4242424242424241"), Err(CardError::Checksum));
        assert_eq!(tokenise("4242x24242424242"), Err(CardError::NotDigits));
        assert_eq!(tokenise("42424242424"), Err(CardError::Length));
        assert_eq!(tokenise("42424242424242424242"), Err(CardError::Length));
        assert_eq!(tokenise(""), Err(CardError::Length));
        assert_eq!(tokenise("４２４２４２４２４２４２４２４２"), Err(CardError::NotDigits));
    }

    #[test]
    fn the_same_key_gets_the_same_answer() {
        let once = Sandbox::default().authorise(charge("sbx_ok"));
        assert_eq!(once, Sandbox::default().authorise(charge("sbx_ok")));
        let other = Charge { key: "pay_2", ..charge("sbx_ok") };
        assert_ne!(once, Sandbox::default().authorise(other));
    }

    #[test]
    fn cards_are_declined_as_the_table_says() {
        let sandbox = Sandbox::default();
        assert_eq!(code(sandbox.authorise(charge("sbx_declined"))), "card_declined");
        assert_eq!(code(sandbox.authorise(charge("sbx_insufficient_funds"))), "insufficient_funds");
        assert_eq!(code(sandbox.authorise(charge(UNKNOWN_CARD))), "test_card_unknown");
        assert_eq!(code(sandbox.authorise(charge("whatever"))), "token_unknown");
    }

    #[test]
    fn a_lost_answer_is_known_five_seconds_later() {
        let sandbox = Sandbox::default();
        let asked = DateTime::UNIX_EPOCH;
        let early = asked + LOOK_UP_AFTER - Duration::milliseconds(1);
        for token in ["sbx_late_success", "sbx_late_decline"] {
            assert_eq!(sandbox.authorise(charge(token)), Err(PaymentError::Unknown));
            assert_eq!(look_up(token, early), Err(PaymentError::Unknown));
        }
        let late = |token| look_up(token, asked + LOOK_UP_AFTER);
        assert!(matches!(late("sbx_late_success"), Ok(Authorisation::Authorised { .. })));
        assert_eq!(code(late("sbx_late_decline")), "card_declined");
    }

    #[test]
    fn a_bank_debit_is_processed_and_then_taken_or_not() {
        let (early, late) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + LOOK_UP_AFTER);
        for token in ["sbx_bank_debit", "sbx_bank_debit_fails"] {
            let first = Sandbox::default().authorise(charge(token));
            assert!(matches!(first, Ok(Authorisation::Processing { .. })));
            assert_eq!(look_up(token, early), first);
        }
        assert!(matches!(look_up("sbx_bank_debit", late), Ok(Authorisation::Captured { .. })));
        assert_eq!(code(look_up("sbx_bank_debit_fails", late)), "insufficient_funds");
    }

    #[test]
    fn without_a_method_the_shopper_confirms() {
        let sandbox = Sandbox::default();
        let charge = Charge { token: None, ..charge("") };
        let Ok(Authorisation::ActionRequired { reference, action: PaymentAction::Confirm }) =
            sandbox.authorise(charge)
        else {
            panic!("the shopper was not asked");
        };
        let confirmed = sandbox.confirm_action(charge, &reference, ANSWER_PASS);
        assert!(matches!(confirmed, Ok(Authorisation::Authorised { .. })));
    }

    #[test]
    fn some_refunds_take_their_time() {
        let sandbox = Sandbox::default();
        let state = |token, after| {
            let payment = reference(token, "pay_1");
            let key = "refund_1";
            let refund = Refund { key, payment_key: "pay_1", reference: &payment, amount: AMOUNT };
            let asked = DateTime::UNIX_EPOCH;
            assert_eq!(sandbox.refund(refund), sandbox.look_up_refund(refund, asked, asked));
            sandbox.look_up_refund(refund, asked, asked + after).state
        };
        assert_eq!(state("sbx_ok", Duration::zero()), RefundState::Succeeded);
        assert_eq!(state("sbx_refund_pending", Duration::zero()), RefundState::Pending);
        assert_eq!(state("sbx_refund_pending", LOOK_UP_AFTER), RefundState::Succeeded);
        let failed = RefundState::Failed { code: "expired_or_canceled_card".into() };
        assert_eq!(state("sbx_refund_fails", LOOK_UP_AFTER), failed);
    }

    #[test]
    fn only_the_right_answer_passes_three_d_secure() {
        let sandbox = Sandbox::default();
        let Ok(Authorisation::ActionRequired { reference, .. }) =
            sandbox.authorise(charge("sbx_three_d_secure"))
        else {
            panic!("3-D Secure was not asked for");
        };
        let confirm =
            |answer| sandbox.confirm_action(charge("sbx_three_d_secure"), &reference, answer);
        assert!(matches!(confirm("pass"), Ok(Authorisation::Authorised { .. })));
        assert_eq!(code(confirm("fail")), "authentication_failed");
    }

    #[test]
    fn one_card_can_be_reserved_but_not_captured() {
        let (sandbox, journal) = Sandbox::recording();
        let Ok(Authorisation::Authorised { reference, .. }) =
            sandbox.authorise(charge("sbx_capture_fails"))
        else {
            panic!("was not authorised");
        };
        assert_eq!(code(sandbox.capture(&reference, AMOUNT, "pay_1/capture")), "capture_failed");
        assert_eq!(*journal.lock().unwrap(), ["authorise pay_1", "capture pay_1/capture"]);
    }
}
