//! Which provider moves the money of which store.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use event_schemas::ids::StoreId;
use lru::LruCache;
use vault::Vault;

use crate::payment::{
    PaymentProvider, Sandbox, Stripe,
    stripe::{Account, SECRET_NAME},
};

/// Stores whose connections a process keeps: some 10 KiB each.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("is not zero");

/// The providers of every store. Cheap to clone; clones share connections and circuit breakers.
#[derive(Clone)]
pub struct Providers(Source);

#[derive(Clone)]
enum Source {
    Everywhere(PaymentProvider),
    Accounts { vault: Vault, open: Arc<Mutex<LruCache<StoreId, Open>>> },
}

/// A store's account and who acts for it.
struct Open {
    account: Account,
    provider: PaymentProvider,
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
    /// Stripe for the stores that have an account in the vault, the sandbox for the others.
    pub fn of_accounts(vault: Vault) -> Providers {
        Providers(Source::Accounts { vault, open: Arc::new(Mutex::new(LruCache::new(OPEN_MAX))) })
    }

    /// Who moves the money of a payment that was begun with the provider of that name
    /// ([`PaymentProvider::name`]): the sandbox keeps what began there, whatever account came since.
    pub async fn named(
        &self,
        store_id: StoreId,
        name: &str,
    ) -> Result<PaymentProvider, ProvidersError> {
        let current = self.of(store_id).await?;
        match name {
            _ if name == current.name() => Ok(current),
            "sandbox" => Ok(PaymentProvider::Sandbox(Sandbox::default())),
            _ => {
                let detail = format!("the store has no account at {name} any more");
                Err(ProvidersError::Unreadable { detail })
            }
        }
    }

    /// Who moves the money of a store's new payments. An account that is replaced is used within
    /// [`vault::SECRETS_STALE_MAX`].
    pub async fn of(&self, store_id: StoreId) -> Result<PaymentProvider, ProvidersError> {
        let (vault, open) = match &self.0 {
            Source::Everywhere(provider) => return Ok(provider.clone()),
            Source::Accounts { vault, open } => (vault, open),
        };
        let unreadable = |detail| ProvidersError::Unreadable { detail };
        let secret = vault.get_secret(store_id, SECRET_NAME).await;
        let secret = secret.map_err(|error| unreadable(error.to_string()))?;
        let Some(secret) = secret else {
            return Ok(PaymentProvider::Sandbox(Sandbox::default()));
        };
        let account =
            Account::read(secret.expose()).map_err(|error| unreadable(error.to_string()))?;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&store_id).filter(|known| known.account == account) {
            return Ok(known.provider.clone());
        }
        let stripe = Stripe::new(&account).map_err(|error| unreadable(error.to_string()))?;
        let provider = PaymentProvider::Stripe(stripe.for_store(store_id));
        open.put(store_id, Open { account, provider: provider.clone() });
        Ok(provider)
    }

    /// Stores that have an account of their own at a provider, which lists its events.
    pub async fn stores(&self) -> Result<Vec<StoreId>, ProvidersError> {
        match &self.0 {
            Source::Everywhere(_) => Ok(vec![]),
            Source::Accounts { vault, .. } => {
                let stores = vault.stores_with_secret(SECRET_NAME).await;
                stores.map_err(|error| ProvidersError::Unreadable { detail: error.to_string() })
            }
        }
    }
}

impl From<PaymentProvider> for Providers {
    /// The same provider for every store.
    fn from(everywhere: PaymentProvider) -> Providers {
        Providers(Source::Everywhere(everywhere))
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Providers")
    }
}
