//! What clients send about checkouts.

use std::fmt;

use api_kit::{FieldError, Problem, Validation};
use commands::checkout::{NewCheckout, NewLine};
use event_schemas::ids::{CartId, VariantId};
use event_schemas::money::Money;
use event_schemas::order::Channel;
use providers::payment::{PaymentProvider, is_card_number};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// Characters of a customer reference: the merchant's own key, not a text.
const CUSTOMER_CHARS_MAX: usize = 255;

/// Characters of a country: the longest official name has fewer.
const COUNTRY_CHARS_MAX: usize = 64;

/// What shall be bought: either `lines` or what is in a cart. Prices are the store's: there is no
/// field to send one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "lines": [{ "variant_id": "var_01JD5Z7M2K0000000000000000", "quantity": 2 }],
    "customer_reference": "C-1042", "country": "GB"
}))]
pub(super) struct BeginCheckout {
    /// 1 to 100.
    lines: Option<Vec<BeginLine>>,
    /// The cart, which takes no more items from then on. If the checkout comes to nothing, it does
    /// again.
    cart_id: Option<CartId>,
    /// Your own reference of the customer; no name, no address. None for a guest, and with a cart,
    /// which knows its own.
    customer_reference: Option<String>,
    /// Country the order goes to.
    country: Option<String>,
}

/// One line of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BeginLine {
    variant_id: VariantId,
    /// Units, 1 to 999.
    quantity: u32,
}

impl BeginCheckout {
    pub(super) fn into_checkout(self) -> Result<NewCheckout, Problem> {
        let mut check = Validation::new();
        let texts = [
            ("/customer_reference", self.customer_reference.as_deref(), CUSTOMER_CHARS_MAX),
            ("/country", self.country.as_deref(), COUNTRY_CHARS_MAX),
        ];
        for (pointer, text, max) in texts {
            let Some(text) = text else { continue };
            check.that(!text.trim().is_empty(), pointer, "empty", "leave it out instead");
            if max < text.chars().count() {
                let detail = format!("at most {max} characters");
                check.refuse(FieldError::field(pointer, "too_long", detail));
            }
        }
        let either = self.lines.is_some() != self.cart_id.is_some();
        let code = if self.lines.is_some() { "conflict" } else { "missing" };
        check.that(either, "/lines", code, "send either lines or cart_id");
        let theirs = self.cart_id.is_some() && self.customer_reference.is_some();
        check.that(!theirs, "/customer_reference", "conflict", "the cart knows its own");
        check.finish()?;
        let line = |line: BeginLine| {
            let BeginLine { variant_id, quantity } = line;
            NewLine { variant_id, quantity, unit_price: None }
        };
        Ok(NewCheckout {
            lines: self.lines.into_iter().flatten().map(line).collect(),
            charges: Vec::new(),
            customer_reference: self.customer_reference,
            country: self.country,
            cart_id: self.cart_id,
            coupons: vec![],
            channel: Channel::Api,
            order_number: None,
            hold_until: None,
            backdated_to: None,
            payment_method: None,
        })
    }
}

/// How to pay: either of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "payment": { "card_number": "4242 4242 4242 4242" } }))]
pub(super) struct CompleteCheckout {
    /// A card of the sandbox.
    payment: Option<Card>,
    /// The payment provider's token of a card.
    #[schema(example = "sbx_ok")]
    payment_method: Option<String>,
    /// What you showed the shopper: refused with `422 amount_mismatch` if something else is due.
    pub(super) expected_total: Option<Money>,
}

/// A card of the sandbox. Its number becomes a token at once and is neither stored nor logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Card {
    #[serde(deserialize_with = "card_number")]
    #[schema(example = "4242 4242 4242 4242")]
    card_number: String,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").finish_non_exhaustive()
    }
}

/// As a text, whose refusal does not quote it: it may be a real number.
fn card_number<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(number) => Ok(number),
        _ => Err(D::Error::custom("card number must be a text")),
    }
}

impl CompleteCheckout {
    /// The token of the card.
    pub(super) fn payment_method(self, provider: &PaymentProvider) -> Result<String, Problem> {
        match (self.payment, self.payment_method) {
            (Some(card), None) => {
                let token = provider.tokenise(&card.card_number);
                let pointer = "/payment/card_number";
                let refused = |error: providers::payment::CardError| {
                    Problem::invalid(pointer, "invalid", error.to_string())
                };
                token.map(str::to_owned).map_err(refused)
            }
            // What is stored as a token stays for ever.
            (None, Some(token)) if is_card_number(&token) => {
                let detail = "this is a card number; send it as payment.card_number";
                Err(Problem::invalid("/payment_method", "invalid", detail))
            }
            (None, Some(token)) => Ok(token),
            (None, None) => {
                Err(Problem::invalid("/payment", "missing", "send payment or payment_method"))
            }
            (Some(_), Some(_)) => {
                let detail = "send payment or payment_method, not both";
                Err(Problem::invalid("/payment_method", "conflict", detail))
            }
        }
    }
}

/// How it shall be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChooseShipping {
    /// Code of one of the shipping options.
    #[schema(example = "standard")]
    pub(super) option: String,
}

/// What shall be counted on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "coupons": ["TEN-OFF"] }))]
pub(super) struct AskQuote {
    /// Codes of coupons, at most five; those it had if left out.
    pub(super) coupons: Option<Vec<String>>,
}

/// What the shopper's bank said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmAction {
    /// As the bank handed it back. The sandbox takes `pass` for a success.
    #[schema(example = "pass")]
    pub(super) answer: String,
}
