//! Which provider moves the money of which store.

use event_schemas::ids::StoreId;

use crate::payment::PaymentProvider;

/// The providers of every store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Providers {
    everywhere: PaymentProvider,
}

/// Why it is not known who moves the money of a store. Nothing was asked of anybody.
#[derive(Debug, thiserror::Error)]
pub enum ProvidersError {
    /// What was stored about the store's account cannot be read.
    #[error("the store's payment account cannot be read: {detail}")]
    Unreadable {
        /// What was said, without anything secret.
        detail: String,
    },
}

impl Providers {
    /// Who moves the money of new payments of a store.
    pub async fn of(&self, _store_id: StoreId) -> Result<PaymentProvider, ProvidersError> {
        std::future::ready(Ok(self.everywhere.clone())).await
    }
}

impl From<PaymentProvider> for Providers {
    /// The same provider for every store.
    fn from(everywhere: PaymentProvider) -> Providers {
        Providers { everywhere }
    }
}
