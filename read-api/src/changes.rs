//! What an answer depends on, and whether that has changed since.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{PoisonError, RwLock};

use axum::response::{IntoResponseParts, ResponseParts};
use event_schemas::ids::StoreId;
use projections::follow::StreamKey;
use uuid::Uuid;

/// Streams whose last change is remembered; beyond that everything counts as changed. Some 8 MB.
const STREAMS_MAX: usize = 100_000;

/// What an answer about the catalogue depends on; anything in the store if a handler does not say.
#[derive(Clone, Debug)]
pub(crate) struct Depends {
    products: Of,
    /// Stock of variants.
    stock: Of,
}

/// Streams of one category in the store of the answer.
#[derive(Clone, Debug)]
enum Of {
    Any,
    These(Vec<Uuid>),
}

impl Default for Depends {
    fn default() -> Depends {
        Depends { products: Of::Any, stock: Of::Any }
    }
}

impl Depends {
    /// An answer about one product that shows the stock of these variants.
    pub(crate) fn product(product_id: Uuid, variants: Vec<Uuid>) -> Depends {
        Depends { products: Of::These(vec![product_id]), stock: Of::These(variants) }
    }

    /// How many streams it names.
    pub(crate) fn ids(&self) -> usize {
        let named = |of: &Of| if let Of::These(ids) = of { ids.len() } else { 0 };
        named(&self.products) + named(&self.stock)
    }

    /// A selection of products that shows the stock of these variants. Not for one that selects,
    /// sorts or counts by stock: that depends on any.
    pub(crate) fn products(variants: Vec<Uuid>) -> Depends {
        Depends { products: Of::Any, stock: Of::These(variants) }
    }
}

/// For the cache, which stands around the handler.
impl IntoResponseParts for Depends {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Last changes in the catalogue of every store, as positions of the log. A stream that is not
/// here has not changed after `floor`.
#[derive(Debug, Default)]
pub(crate) struct Changes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What was remembered before the last time everything had to be forgotten is another one.
    epoch: u64,
    /// Everything may have changed up to here.
    floor: i64,
    stores: HashMap<Uuid, StoreChanges>,
    products: HashMap<(Uuid, Uuid), i64>,
    stock: HashMap<(Uuid, Uuid), i64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct StoreChanges {
    products: i64,
    stock: i64,
}

impl Changes {
    /// Names what was read from now on, for [`Changes::unchanged`].
    pub(crate) fn epoch(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Whether what was read at position `as_of`, after `epoch` was asked for, is still the answer.
    pub(crate) fn unchanged(
        &self,
        store_id: StoreId,
        depends: &Depends,
        (epoch, as_of): (u64, i64),
    ) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if epoch != known.epoch || as_of < known.floor {
            return false;
        }
        let Some(store) = known.stores.get(&store_id.0) else { return true };
        let unchanged = |of: &Of, any: i64, each: &HashMap<(Uuid, Uuid), i64>| {
            any <= as_of
                || match of {
                    Of::Any => false,
                    Of::These(ids) => ids.iter().all(|id| {
                        each.get(&(store_id.0, *id)).is_none_or(|changed| *changed <= as_of)
                    }),
                }
        };
        unchanged(&depends.products, store.products, &known.products)
            && unchanged(&depends.stock, store.stock, &known.stock)
    }

    /// These streams have changed, at `position` or before. Called before anybody is told that the
    /// read model is there.
    pub(crate) fn note(&self, position: i64, streams: &[StreamKey]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for StreamKey { store_id, category, stream_id } in streams {
            let store = known.stores.entry(*store_id).or_default();
            if category == "product" {
                store.products = position;
                known.products.insert((*store_id, *stream_id), position);
            } else {
                store.stock = position;
                known.stock.insert((*store_id, *stream_id), position);
            }
        }
        let remembered = known.stores.len() + known.products.len() + known.stock.len();
        if STREAMS_MAX < remembered {
            let epoch = known.epoch;
            *known = Known { epoch, floor: position, ..Known::default() };
        }
    }

    /// Anything may have changed up to `position`.
    pub(crate) fn forget(&self, position: i64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = known.epoch + 1;
        *known = Known { epoch, floor: position, ..Known::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId(Uuid::from_u128(1));
    const PRODUCT: Uuid = Uuid::from_u128(2);
    const VARIANT: Uuid = Uuid::from_u128(3);
    const OTHER: Uuid = Uuid::from_u128(4);

    fn stream(category: &str, stream_id: Uuid) -> StreamKey {
        StreamKey { store_id: STORE.0, category: category.to_owned(), stream_id }
    }

    /// Whether (one product, a list, a list by stock) read at position 10 still hold.
    fn hold(changes: &Changes, store: StoreId) -> (bool, bool, bool) {
        let one = Depends::product(PRODUCT, vec![VARIANT]);
        let list = Depends::products(vec![VARIANT]);
        let at = (0, 10);
        (
            changes.unchanged(store, &one, at),
            changes.unchanged(store, &list, at),
            changes.unchanged(store, &Depends::default(), at),
        )
    }

    #[test]
    fn an_answer_holds_until_something_it_depends_on_changes() {
        let cases = [
            (vec![], (true, true, true)),
            (vec![stream("product", PRODUCT)], (false, false, false)),
            (vec![stream("product", OTHER)], (true, false, false)),
            (vec![stream("stock_item", VARIANT)], (false, false, false)),
            (vec![stream("stock_item", OTHER)], (true, true, false)),
        ];
        for (streams, expected) in cases {
            let changes = Changes::default();
            changes.note(11, &streams);
            assert_eq!(hold(&changes, STORE), expected, "{streams:?}");
            assert_eq!(hold(&changes, StoreId(OTHER)), (true, true, true));
            let before = Changes::default();
            before.note(10, &streams);
            assert_eq!(hold(&before, STORE), (true, true, true), "{streams:?} was in it");
        }
    }

    #[test]
    fn too_many_changes_are_a_change_of_everything() {
        let changes = Changes::default();
        for number in 0..u128::try_from(STREAMS_MAX).unwrap() {
            changes.note(11, &[stream("product", Uuid::from_u128(1_000 + number))]);
        }
        assert_eq!(hold(&changes, StoreId(OTHER)), (false, false, false));
        let at = (0, 11);
        assert!(changes.unchanged(STORE, &Depends::default(), at), "read after that");
    }

    #[test]
    fn nothing_that_was_read_before_tables_were_replaced_holds() {
        let changes = Changes::default();
        changes.forget(10);
        assert_eq!(hold(&changes, STORE), (false, false, false));
        assert!(changes.unchanged(STORE, &Depends::default(), (changes.epoch(), 10)));
    }
}
