//! Where a purchase goes.
//!
//! The address is sealed under the key of the person before it becomes part of an event. Only what
//! taxes and rates of carriage follow from is in the clear.

use api_kit::{Body, Caller, FieldError, Path, Problem, Validation};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use commands::CommandError;
use commands::checkout::{self as use_case, Checkout, Destination};
use event_schemas::ids::{CheckoutId, PersonId, StoreId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vault::VaultError;

use super::Journey;
use super::answer::{Asked, answer};
use super::problem::problem;
use crate::WriteState;
use crate::refusal::RETRY_AFTER;
use crate::sender::Sender;

mod country;

use country::is_country;

/// What an address is sealed as: nothing else that was sealed can be passed off as one.
const CONTEXT: &str = "checkout.address";

/// Characters of each part of an address: longer ones fit on no label.
const PART_CHARS_MAX: usize = 200;

/// Characters of an e-mail address (RFC 5321).
const EMAIL_CHARS_MAX: usize = 254;

/// Characters of a postcode: the longest there are have ten.
const POSTCODE_CHARS_MAX: usize = 16;

/// Characters of a part of a country, in ISO 3166-2 behind the hyphen.
const REGION_CHARS_MAX: usize = 3;

/// Characters of a postcode that name a district and no house, except in the United Kingdom.
const DISTRICT_CHARS: usize = 3;

/// Characters of a British postcode behind its district: a digit and two letters.
const INWARD_CHARS: usize = 3;

/// Characters of the district of a British postcode.
const OUTWARD_CHARS: std::ops::RangeInclusive<usize> = 2..=4;

/// Where a purchase goes, and to whom.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ShippingAddress, example = json!({
    "email": "ada@example.com", "name": "Ada Example", "line1": "1 Cocoa Lane", "city": "York",
    "postcode": "YO1 7AA", "country": "GB"
}))]
pub(super) struct AddressBody {
    /// Where to write about the order; up to 254 characters.
    email: String,
    /// Up to 200 characters, as every text here that says nothing else.
    name: String,
    company: Option<String>,
    line1: String,
    line2: Option<String>,
    city: String,
    /// Up to 16 characters.
    postcode: Option<String>,
    /// Part of the country as in ISO 3166-2, without the country: `CA` for California.
    region: Option<String>,
    /// ISO 3166-1, two letters.
    country: String,
    phone: Option<String>,
}

/// Says where it shall go. A new address takes back what was chosen and quoted for the one before.
///
/// All but country, region and the beginning of the postcode is sealed under the person's own key
/// before it is stored.
#[utoipa::path(put, path = "/api/v1/checkouts/{checkout_id}/address", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = AddressBody,
    responses((status = 200, description = "The checkout with the address.",
        body = super::answer::CheckoutBody)))]
pub(super) async fn set_address(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CheckoutId>,
    Body { value, digest }: Body<AddressBody>,
) -> Result<Response, Problem> {
    let address = value.checked()?;
    let store_id = sender.store_id();
    let checkout = load(&state, store_id, id).await?;
    let plain = serde_json::to_vec(&address).expect("texts are JSON");
    let person = person(store_id, id, &checkout);
    let sealed = state.vault.seal(store_id, person, CONTEXT, &plain).await.map_err(not_sealed)?;
    let destination = Destination {
        address: sealed,
        postcode_prefix: address.district(),
        country: address.country,
        region: address.region,
    };
    let intent = sender.intent(&shortened(&digest));
    let done = use_case::set_address(&state.ctx, &intent, id, destination).await;
    let done = done.map_err(problem)?;
    let view = Journey::of(&sender, id).load(&state).await?;
    Ok(answer(Asked::Read, (view, None), done.replayed))
}

/// Where it goes, opened. `404 address_not_found` if nobody has said, or if the person was erased.
#[utoipa::path(get, path = "/api/v1/checkouts/{checkout_id}/address", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path)),
    responses((status = 200, description = "The address.", body = AddressBody)))]
pub(super) async fn get_address(
    State(state): State<WriteState>,
    caller: Caller,
    Path(id): Path<CheckoutId>,
) -> Result<Response, Problem> {
    let checkout = load(&state, caller.store_id, id).await?;
    let missing = || Problem::new("address_not_found");
    let set = checkout.address.as_ref().ok_or_else(missing)?;
    let plain = state.vault.open(caller.store_id, CONTEXT, &set.address).await;
    let plain = plain.map_err(not_sealed)?.ok_or_else(missing)?;
    let address: AddressBody = serde_json::from_slice(&plain).map_err(Problem::internal)?;
    Ok(Json(address).into_response())
}

async fn load(state: &WriteState, store_id: StoreId, id: CheckoutId) -> Result<Checkout, Problem> {
    let loaded = use_case::load(&state.ctx, store_id, id).await;
    let checkout = loaded.map_err(|error| problem(CommandError::Store(error)))?.state;
    let there = checkout.started.is_some();
    if there { Ok(checkout) } else { Err(Problem::new("checkout_not_found")) }
}

/// Whose key it is: a customer's has all their addresses, a guest is somebody new each time.
fn person(store_id: StoreId, id: CheckoutId, checkout: &Checkout) -> PersonId {
    let started = checkout.started.as_ref();
    match started.and_then(|started| started.customer_reference.as_ref()) {
        Some(reference) => {
            PersonId::derive(&[store_id.0.as_bytes(), b"customer", reference.as_bytes()])
        }
        None => PersonId::derive(&[store_id.0.as_bytes(), b"guest", id.0.as_bytes()]),
    }
}

/// Enough to notice that a key was used for another address, and too little to find out for which:
/// the whole digest of an address would outlive the key it is sealed under.
fn shortened(digest: &[u8; 32]) -> [u8; 32] {
    let mut short = [0; 32];
    short[..2].copy_from_slice(&digest[..2]);
    short
}

fn not_sealed(error: VaultError) -> Problem {
    match error {
        VaultError::Erased => Problem::new("person_erased"),
        VaultError::Database(cause) => {
            tracing::warn!(error = %cause, "vault is not available");
            Problem::unavailable(RETRY_AFTER)
        }
        VaultError::TooLarge { .. }
        | VaultError::Name
        | VaultError::UnknownMasterKey { .. }
        | VaultError::Damaged => Problem::internal(error),
    }
}

impl AddressBody {
    /// As it is kept: trimmed, codes in capitals.
    fn checked(self) -> Result<AddressBody, Problem> {
        let trimmed = |text: String| text.trim().to_owned();
        let some = |text: Option<String>| text.map(trimmed).filter(|text| !text.is_empty());
        let capitals = |text: String| text.to_ascii_uppercase();
        let address = AddressBody {
            email: trimmed(self.email),
            name: trimmed(self.name),
            company: some(self.company),
            line1: trimmed(self.line1),
            line2: some(self.line2),
            city: trimmed(self.city),
            postcode: some(self.postcode).map(capitals),
            region: some(self.region).map(capitals),
            country: capitals(trimmed(self.country)),
            phone: some(self.phone),
        };
        address.check()?;
        Ok(address)
    }

    fn check(&self) -> Result<(), Problem> {
        let mut check = Validation::new();
        for (pointer, text) in
            [("/name", &self.name), ("/line1", &self.line1), ("/city", &self.city)]
        {
            check.that(!text.is_empty(), pointer, "empty", "must not be empty");
        }
        let texts = [
            ("/name", Some(&self.name), PART_CHARS_MAX),
            ("/company", self.company.as_ref(), PART_CHARS_MAX),
            ("/line1", Some(&self.line1), PART_CHARS_MAX),
            ("/line2", self.line2.as_ref(), PART_CHARS_MAX),
            ("/city", Some(&self.city), PART_CHARS_MAX),
            ("/postcode", self.postcode.as_ref(), POSTCODE_CHARS_MAX),
            ("/phone", self.phone.as_ref(), PART_CHARS_MAX),
        ];
        for (pointer, text, max) in texts {
            let Some(text) = text else { continue };
            if max < text.chars().count() {
                let detail = format!("at most {max} characters");
                check.refuse(FieldError::field(pointer, "too_long", detail));
            }
            let plain = !text.chars().any(char::is_control);
            check.that(plain, pointer, "invalid", "must be one line of text");
        }
        check.that(is_email(&self.email), "/email", "invalid", "must be an e-mail address");
        let country = is_country(&self.country);
        check.that(country, "/country", "invalid", "must be two letters of ISO 3166-1");
        let region = self.region.as_deref().is_none_or(is_region);
        check.that(region, "/region", "invalid", "must be 1 to 3 letters or digits of ISO 3166-2");
        check.finish()
    }

    /// The beginning of the postcode that is in the clear.
    fn district(&self) -> Option<String> {
        let code: Vec<char> =
            self.postcode.as_ref()?.chars().filter(char::is_ascii_alphanumeric).collect();
        // Never all of it: there are codes of three characters.
        let chars = match self.country.as_str() {
            "GB" => outward(&code)?,
            _ => DISTRICT_CHARS.min(code.len().saturating_sub(1)),
        };
        let district: String = code.iter().take(chars).collect();
        (!district.is_empty()).then_some(district)
    }
}

/// Characters of the district, if it is written as a British postcode is. Who knows what else stands
/// in the field if not.
fn outward(code: &[char]) -> Option<usize> {
    let chars = code.len().checked_sub(INWARD_CHARS)?;
    let (district, inward) = code.split_at(chars);
    let shaped = district.first()?.is_ascii_alphabetic()
        && inward[0].is_ascii_digit()
        && inward[1..].iter().all(char::is_ascii_alphabetic);
    (shaped && OUTWARD_CHARS.contains(&chars)).then_some(chars)
}

/// Whether a message could be sent there. Only sending one shows that it arrives.
fn is_email(text: &str) -> bool {
    let fits = text.chars().count() <= EMAIL_CHARS_MAX;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    let parts = text.rsplit_once('@');
    let named = parts.is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.split('.').count() > 1
            && domain.split('.').all(|it| !it.is_empty())
    });
    fits && named && !text.contains(odd)
}

fn is_region(text: &str) -> bool {
    text.len() <= REGION_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> AddressBody {
        AddressBody {
            email: " ada@example.com ".to_owned(),
            name: "Ada Example".to_owned(),
            company: Some("  ".to_owned()),
            line1: "1 Cocoa Lane".to_owned(),
            line2: None,
            city: "York".to_owned(),
            postcode: Some("yo1 7aa".to_owned()),
            region: None,
            country: "gb".to_owned(),
            phone: None,
        }
    }

    #[test]
    fn an_address_is_kept_trimmed_and_its_codes_in_capitals() {
        let kept = address().checked().unwrap();
        assert_eq!((kept.email.as_str(), kept.company), ("ada@example.com", None));
        assert_eq!((kept.country.as_str(), kept.postcode.as_deref()), ("GB", Some("YO1 7AA")));
    }

    #[test]
    fn only_the_district_of_a_postcode_is_in_the_clear() {
        let district = |country: &str, postcode: Option<&str>| {
            let (country, postcode) = (country.to_owned(), postcode.map(str::to_owned));
            AddressBody { postcode, country, ..address() }.checked().unwrap().district()
        };
        assert_eq!(district("GB", Some("YO1 7AA")).as_deref(), Some("YO1"));
        assert_eq!(district("GB", Some("sw1a1aa")).as_deref(), Some("SW1A"));
        assert_eq!(district("US", Some("94103-1234")).as_deref(), Some("941"));
        assert_eq!(district("IE", None), None);
        assert_eq!(district("IS", Some("101")).as_deref(), Some("10"), "not the whole code");
        for odd in ["1A", "YO1 7AA 12B", "YO17AA FLAT 4", "Y 7AA", "YO1 777", "12AB 7AA"] {
            assert_eq!(district("GB", Some(odd)), None, "{odd}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let bad = [
            AddressBody { email: "ada".to_owned(), ..address() },
            AddressBody { email: "a da@example.com".to_owned(), ..address() },
            AddressBody { email: "ada@example".to_owned(), ..address() },
            AddressBody { email: format!("{}@example.com", "a".repeat(254)), ..address() },
            AddressBody { name: " ".to_owned(), ..address() },
            AddressBody { line1: "a\nb".to_owned(), ..address() },
            AddressBody { city: "x".repeat(PART_CHARS_MAX + 1), ..address() },
            AddressBody { postcode: Some("1".repeat(POSTCODE_CHARS_MAX + 1)), ..address() },
            AddressBody { country: "UK".to_owned(), ..address() },
            AddressBody { country: "GBR".to_owned(), ..address() },
            AddressBody { region: Some("CALI".to_owned()), ..address() },
        ];
        for (index, address) in bad.into_iter().enumerate() {
            let refused = address.checked().map(|_| ());
            assert_eq!(refused.unwrap_err().code(), "validation_failed", "{index}");
        }
    }

    #[test]
    fn an_address_as_large_as_it_may_be_can_be_sealed() {
        // Texts whose characters have as many bytes as characters can.
        let long = |chars: usize| "𝄞".repeat(chars);
        let largest = AddressBody {
            email: format!("{}@b.co", long(EMAIL_CHARS_MAX - 5)),
            name: long(PART_CHARS_MAX),
            company: Some(long(PART_CHARS_MAX)),
            line1: long(PART_CHARS_MAX),
            line2: Some(long(PART_CHARS_MAX)),
            city: long(PART_CHARS_MAX),
            postcode: Some(long(POSTCODE_CHARS_MAX)),
            phone: Some(long(PART_CHARS_MAX)),
            ..address()
        };
        let largest = largest.checked().unwrap();
        assert!(serde_json::to_vec(&largest).unwrap().len() <= vault::PLAIN_BYTES_MAX);
    }
}
