//! The master keys: never in the database, so that a copy of it opens nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::{VaultError, cipher::Key};

/// Keys at a time: the current one and those that a rotation has not done away with.
const KEYS_MAX: usize = 8;

/// Why a text is not a list of master keys. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("there is no key")]
    Empty,
    /// A part of it is no key.
    #[error("a key is 32 bytes in base64")]
    NotAKey,
    /// More than anyone needs.
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
}

/// The keys that a process was given. The first one seals; all of them open.
#[derive(Clone)]
pub struct MasterKeys {
    current: (String, Key),
    former: Vec<(String, Key)>,
}

impl MasterKeys {
    /// Of 32 bytes each in base64, the current one first, with commas or white space between.
    pub fn parse(text: &str) -> Result<MasterKeys, KeyError> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        let keys = parts.filter(|part| !part.is_empty()).map(|part| {
            let bytes = STANDARD.decode(part).map_err(|_| KeyError::NotAKey)?;
            Key::of_bytes(&bytes).map(named).ok_or(KeyError::NotAKey)
        });
        let mut keys = keys.collect::<Result<Vec<_>, KeyError>>()?;
        if KEYS_MAX < keys.len() {
            return Err(KeyError::TooMany);
        }
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(MasterKeys { current: keys.remove(0), former: keys })
    }

    /// One new key, and its text for [`MasterKeys::parse`].
    pub fn generate() -> (MasterKeys, String) {
        let key = Key::random();
        let text = STANDARD.encode(key.bytes());
        (MasterKeys { current: named(key), former: vec![] }, text)
    }

    /// What seals, with its name.
    pub(crate) fn current(&self) -> (&str, &Key) {
        (&self.current.0, &self.current.1)
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Key, VaultError> {
        let mut keys = std::iter::once(&self.current).chain(&self.former);
        let found = keys.find(|(name, _)| name == id).map(|(_, key)| key);
        found.ok_or_else(|| VaultError::UnknownMasterKey { id: id.to_owned() })
    }
}

/// Shows the names only, which say nothing of the keys.
impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = std::iter::once(&self.current).chain(&self.former).map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

/// A key with its name: the first 64 bits of a hash of it, in base 16.
fn named(key: Key) -> (String, Key) {
    let digest = Sha256::new().chain_update(b"conche master key").chain_update(key.bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.finalize()[..8]);
    (format!("{:016x}", u64::from_be_bytes(first)), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_the_current_one() {
        let ((one, one_text), (two, two_text)) = (MasterKeys::generate(), MasterKeys::generate());
        let both = MasterKeys::parse(&format!("{two_text}, {one_text}\n")).unwrap();
        assert_eq!(both.current().0, two.current().0);
        assert!(both.get(one.current().0).is_ok());
        let missing = two.get(one.current().0);
        assert!(matches!(missing, Err(VaultError::UnknownMasterKey { .. })));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let refused = |text: &str| MasterKeys::parse(text).unwrap_err();
        assert_eq!(refused(" ,\n"), KeyError::Empty);
        assert_eq!(refused("hunter2"), KeyError::NotAKey);
        assert_eq!(refused(&STANDARD.encode([7; 31])), KeyError::NotAKey);
        let key = STANDARD.encode([7; 32]);
        assert_eq!(refused(&[key.as_str(); 9].join(",")), KeyError::TooMany);
        assert!(!refused("hunter2").to_string().contains("hunter2"));
    }

    #[test]
    fn keys_are_not_printed() {
        let (keys, text) = MasterKeys::generate();
        assert!(!format!("{keys:?}").contains(text.trim_end_matches('=')));
    }
}
