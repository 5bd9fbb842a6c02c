//! Personal data, which is stored for ever only as long as its key is.

use serde::{Deserialize, Serialize};

use crate::ids::PersonId;

/// Bytes that only whoever has the person's key can read. Without the key they are erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Whose key.
    pub key: PersonId,
    /// What was sealed, in base 64 without padding.
    pub data: String,
}
