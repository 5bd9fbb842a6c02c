//! Identifiers: a UUID with a prefix that says of what.
//!
//! `ord_01JD5Z…` is the UUID in Crockford's base 32, 26 characters, so that ids sort by the time
//! they were made and an id of the wrong kind is refused before anything is looked up.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Crockford's alphabet: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters of a UUID in base 32: 128 bits in groups of five.
const TEXT_CHARS: usize = 26;

/// Why a text is not an id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is an id, of something else.
    #[error("expected an id that starts with `{expected}_`, found `{found}_`")]
    WrongType {
        /// Prefix of the kind asked for, without underscore.
        expected: &'static str,
        /// Prefix that was found.
        found: String,
    },
    /// The text is no id of any kind.
    #[error("not an id: expected `{expected}_` and 26 characters")]
    Malformed {
        /// Prefix of the kind asked for, without underscore.
        expected: &'static str,
    },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
        #[schema(value_type = String, format = $prefix)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What the text form starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The one id that follows from `parts`: same parts, same id, on every machine.
            ///
            /// A `UUIDv8` (RFC 9562) over SHA-256 of the prefix and the parts with their lengths.
            pub fn derive(parts: &[&[u8]]) -> Self {
                Self(derive($prefix, parts))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, encode(self.0))
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($prefix, text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A store: one merchant's shop, the wall between tenants.
    StoreId, "sto"
);
id!(
    /// A product of one store's catalogue; stream of `ProductEvent`.
    ProductId, "prd"
);
id!(
    /// What is bought and stocked; also the stream of its `StockItemEvent`.
    VariantId, "var"
);
id!(
    /// What somebody may buy one day; stream of `CartEvent`.
    CartId, "crt"
);
id!(
    /// One attempt to buy; stream of `CheckoutEvent`.
    CheckoutId, "chk"
);
id!(
    /// A line of a checkout and of the order made of it.
    LineId, "lin"
);
id!(
    /// An order; stream of `OrderEvent`.
    OrderId, "ord"
);
id!(
    /// One attempt to pay; stream of `PaymentEvent`, and the idempotency key at the provider.
    PaymentId, "pay"
);
id!(
    /// What a purchase costs, for a while.
    QuoteId, "quo"
);
id!(
    /// A code that takes something off; stream of `CouponEvent`.
    CouponId, "cpn"
);
id!(
    /// Money going back, whole or in part.
    RefundId, "ref"
);
id!(
    /// A parcel of an order.
    FulfilmentId, "ful"
);
id!(
    /// Money given back that belongs to no order we know; stream of `AdjustmentEvent`.
    AdjustmentId, "adj"
);
id!(
    /// Someone whose data is sealed under a key of their own: a customer, or the guest of one checkout.
    PersonId, "psn"
);
id!(
    /// One stored event.
    EventId, "evt"
);
id!(
    /// Who acts: a person, a key or a part of the system.
    ActorId, "act"
);
id!(
    /// One command; sending it twice has one effect.
    CommandId, "cmd"
);

impl StoreId {
    /// The store of a slug such as `demo`.
    pub fn of_slug(slug: &str) -> StoreId {
        StoreId::derive(&[slug.as_bytes()])
    }
}

fn derive(prefix: &str, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in std::iter::once(prefix.as_bytes()).chain(parts.iter().copied()) {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn encode(id: Uuid) -> String {
    let bits = id.as_u128();
    (0..TEXT_CHARS)
        .rev()
        .map(|group| {
            let index = (bits >> (group * 5)) & 31;
            char::from(ALPHABET[usize::try_from(index).expect("five bits fit")])
        })
        .collect()
}

fn parse(expected: &'static str, text: &str) -> Result<Uuid, IdError> {
    let malformed = IdError::Malformed { expected };
    let (prefix, body) = text.split_once('_').ok_or(malformed.clone())?;
    let bits = decode(body).ok_or(malformed)?;
    if prefix == expected {
        return Ok(Uuid::from_u128(bits));
    }
    let known = prefix.len() == 3 && prefix.bytes().all(|b| b.is_ascii_lowercase());
    if known {
        return Err(IdError::WrongType { expected, found: prefix.to_owned() });
    }
    Err(IdError::Malformed { expected })
}

fn decode(body: &str) -> Option<u128> {
    if body.len() != TEXT_CHARS {
        return None;
    }
    body.bytes().try_fold(0_u128, |bits, byte| {
        let byte = byte.to_ascii_uppercase();
        let index = ALPHABET.iter().position(|&letter| letter == byte)?;
        // The first character carries three bits: more than `7` would not fit.
        if bits >> 123 != 0 {
            return None;
        }
        Some((bits << 5) | u128::try_from(index).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_an_id_reads_back(bits: u128) {
            let id = OrderId(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }

        #[test]
        fn ids_sort_as_their_texts_do(a: u128, b: u128) {
            let (a, b) = (OrderId(Uuid::from_u128(a)), OrderId(Uuid::from_u128(b)));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<OrderId>();
        }
    }

    #[test]
    fn an_id_of_another_kind_is_named() {
        let product = ProductId(Uuid::from_u128(7)).to_string();
        let error = IdError::WrongType { expected: "ord", found: "prd".into() };
        assert_eq!(product.parse::<OrderId>(), Err(error));
    }

    #[test]
    fn a_number_over_128_bits_is_no_id() {
        let text = format!("ord_8{}", "0".repeat(25));
        assert_eq!(text.parse::<OrderId>(), Err(IdError::Malformed { expected: "ord" }));
    }

    #[test]
    fn derived_ids_depend_on_every_part_and_its_border() {
        let one = OrderId::derive(&[b"ab", b"c"]);
        assert_eq!(one, OrderId::derive(&[b"ab", b"c"]));
        assert_ne!(one, OrderId::derive(&[b"a", b"bc"]));
        assert_ne!(one.0, PaymentId::derive(&[b"ab", b"c"]).0);
        assert_eq!(one.0.get_version_num(), 8);
    }
}
