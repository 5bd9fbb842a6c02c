//! Unique keys: who holds a SKU, a slug, an e-mail address. Written by the append, read here.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{Engine, KeyChange, StoreError};

impl Engine {
    /// The stream that holds `key`. Read now, so it may change hands before you act on it: a claim
    /// is decided in the append. One round trip, shared with others who ask at the same time.
    pub async fn key_owner(
        &self,
        store_id: Uuid,
        scope: &str,
        key: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        self.shared.lookup.owner((store_id, scope.to_owned(), key.to_owned())).await
    }
}

/// What the changes of one decision come to, releases first.
///
/// Counted per key, because the events of one decision may hand a key around inside the stream:
/// two variants that swap SKUs release and claim both, and both stay held; a variant added and
/// removed again claims and releases, and nothing is held.
pub(crate) fn net(changes: impl IntoIterator<Item = KeyChange>) -> Vec<KeyChange> {
    let mut counts: BTreeMap<(&'static str, String), i32> = BTreeMap::new();
    for change in changes {
        match change {
            KeyChange::Claim { scope, key } => *counts.entry((scope, key)).or_default() += 1,
            KeyChange::Release { scope, key } => *counts.entry((scope, key)).or_default() -= 1,
        }
    }
    let (releases, claims): (Vec<_>, Vec<_>) =
        counts.into_iter().filter(|(_, count)| *count != 0).partition(|(_, count)| *count < 0);
    let releases = releases.into_iter().map(|((scope, key), _)| KeyChange::Release { scope, key });
    let claims = claims.into_iter().map(|((scope, key), _)| KeyChange::Claim { scope, key });
    releases.chain(claims).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(key: &str) -> KeyChange {
        KeyChange::Claim { scope: "sku", key: key.into() }
    }

    fn release(key: &str) -> KeyChange {
        KeyChange::Release { scope: "sku", key: key.into() }
    }

    #[test]
    fn two_variants_that_swap_keys_keep_both() {
        assert_eq!(net([release("a"), claim("b"), release("b"), claim("a")]), []);
    }

    #[test]
    fn a_key_claimed_and_let_go_is_not_claimed() {
        assert_eq!(net([claim("a"), release("a"), claim("b")]), [claim("b")]);
    }

    #[test]
    fn releases_come_before_claims() {
        assert_eq!(net([claim("a"), release("z")]), [release("z"), claim("a")]);
    }
}
