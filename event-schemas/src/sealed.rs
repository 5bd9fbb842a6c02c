//! Personal data in events: sealed, because events are for ever and persons may want to be forgotten.

use serde::{Deserialize, Serialize};

use crate::ids::PersonId;

/// Something sealed by the vault under the key of one person. Without that key it says nothing, and
/// when the key is destroyed nobody can open it any more, in any copy of the log.
///
/// Part of events since the first one that names a person: another shape is a new version of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Whose key opens it. Random or derived of ids, never of a name or an address.
    pub key: PersonId,
    /// What was sealed, in base 64 without padding: layout, nonce, ciphertext and tag. At most 22 KiB.
    pub data: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let sealed = Sealed { key: PersonId::derive(&[b"ada"]), data: "AQ".into() };
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(text.starts_with(r#"{"key":"psn_"#), "{text}");
        assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), sealed);
    }
}
