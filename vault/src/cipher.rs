//! The cipher: what is sealed, under which key, and as what.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, Payload},
};
use event_schemas::ids::{PersonId, StoreId};
use zeroize::Zeroizing;

use crate::VaultError;

/// First byte of everything sealed: this cipher, this layout. Another one is another number.
const LAYOUT: u8 = 1;

/// Bytes of a key, and of a nonce.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// A secret in the clear, for whoever needs it at this moment. Its memory is overwritten at the end
/// and it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn new(plain: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(plain))
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, if it is text.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key of the cipher.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// From the operating system's randomness.
    ///
    /// # Panics
    /// If the operating system has none, which does not come back by itself.
    pub(crate) fn random() -> Key {
        Key(Zeroizing::new(<[u8; KEY_BYTES]>::generate()))
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Key> {
        Some(Key(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Layout, nonce, ciphertext with its tag.
    pub(crate) fn seal(&self, place: Place, plain: &[u8]) -> Vec<u8> {
        // Drawn anew for each text: of 192 bits none is met twice, however much is sealed.
        let nonce = <[u8; NONCE_BYTES]>::generate();
        let payload = Payload { msg: plain, aad: &place.0 };
        let cipher = self.cipher().encrypt(&XNonce::from(nonce), payload);
        let cipher = cipher.expect("what is sealed is far below the cipher's 256 GiB");
        [&[LAYOUT], nonce.as_slice(), &cipher].concat()
    }

    pub(crate) fn open(&self, place: Place, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (layout, rest) = sealed.split_first().ok_or(VaultError::Damaged)?;
        let (nonce, cipher) = rest.split_at_checked(NONCE_BYTES).ok_or(VaultError::Damaged)?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| VaultError::Damaged)?;
        if *layout != LAYOUT {
            return Err(VaultError::Damaged);
        }
        let payload = Payload { msg: cipher, aad: &place.0 };
        let plain = self.cipher().decrypt(&XNonce::from(nonce), payload);
        plain.map_err(|_| VaultError::Damaged)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

/// What something sealed is, and whose: authenticated with it, not stored with it.
pub(crate) struct Place(Vec<u8>);

impl Place {
    /// Personal data.
    pub(crate) fn person(store_id: StoreId, person: PersonId, context: &str) -> Place {
        Place::of(&[b"person", store_id.0.as_bytes(), context.as_bytes(), person.0.as_bytes()])
    }

    /// The key of a person.
    pub(crate) fn key(store_id: StoreId, person: PersonId) -> Place {
        Place::of(&[b"key", store_id.0.as_bytes(), person.0.as_bytes()])
    }

    /// A secret of a store.
    pub(crate) fn secret(store_id: StoreId, name: &str) -> Place {
        Place::of(&[b"secret", store_id.0.as_bytes(), name.as_bytes()])
    }

    fn of(parts: &[&[u8]]) -> Place {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        let part = |part: &&[u8]| [&(part.len() as u64).to_be_bytes(), *part].concat();
        Place(parts.iter().flat_map(part).collect())
    }
}

/// Bytes as they stand in an event.
pub(crate) fn to_text(data: &[u8]) -> String {
    STANDARD_NO_PAD.encode(data)
}

pub(crate) fn of_text(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(context: &str) -> Place {
        Place::person(StoreId::of_slug("demo"), PersonId::derive(&[b"ada"]), context)
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plain: Vec<u8>) {
            let key = Key::random();
            let sealed = key.seal(place("address"), &plain);
            prop_assert_eq!(key.open(place("address"), &sealed).unwrap(), plain);
        }

        #[test]
        fn no_bytes_make_opening_panic(sealed: Vec<u8>) {
            prop_assert!(Key::random().open(place("address"), &sealed).is_err());
        }
    }

    #[test]
    fn every_byte_counts() {
        let key = Key::random();
        let sealed = key.seal(place("address"), b"1 Cocoa Street");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut other = sealed.clone();
                other[at] ^= 1 << bit;
                assert!(key.open(place("address"), &other).is_err(), "byte {at}, bit {bit}");
            }
            assert!(key.open(place("address"), &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn it_opens_under_its_key_and_in_its_place_only() {
        let key = Key::random();
        let sealed = key.seal(place("address"), b"1 Cocoa Street");
        let (store, other) = (StoreId::of_slug("demo"), StoreId::of_slug("elsewhere"));
        let (ada, bob) = (PersonId::derive(&[b"ada"]), PersonId::derive(&[b"bob"]));
        for elsewhere in [
            place("addres"),
            place("email"),
            Place::person(other, ada, "address"),
            Place::person(store, bob, "address"),
            Place::secret(store, "address"),
        ] {
            assert!(key.open(elsewhere, &sealed).is_err());
        }
        assert!(Key::random().open(place("address"), &sealed).is_err());
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same_way_twice() {
        let key = Key::random();
        assert_ne!(key.seal(place("address"), b"a"), key.seal(place("address"), b"a"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new(b"sk_test_hidden".to_vec());
        assert!(!format!("{secret:?}").contains("hidden"));
    }
}
