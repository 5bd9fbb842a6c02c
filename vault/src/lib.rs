//! The vault: what must not stand anywhere in the clear, and the keys to it.
//!
//! Personal data goes into events sealed under a key of its person. Events are for ever; the key
//! is a row of `vault.person_keys`, and destroying it makes everything sealed under it unreadable,
//! in every backup of the log too. Secrets of stores, such as credentials of a provider, are rows
//! of `vault.store_secrets`.
//!
//! Both are stored under a master key, which is never in the database ([`MasterKeys`]). The cipher
//! is XChaCha20-Poly1305 with a random nonce of 192 bits; what something is and whose is part of
//! the authentication, so that a ciphertext put into another place does not open.
#![warn(missing_docs)]

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use event_schemas::{
    ids::{PersonId, StoreId},
    sealed::Sealed,
};
use lru::LruCache;
use sqlx::PgPool;
use tokio::time::Instant;

mod cipher;
mod master;
mod rotate;

pub use cipher::Secret;
pub use master::{KeyError, MasterKeys};
pub use rotate::Rotated;

use cipher::{Key, Place};

/// Most that is sealed at once, in bytes: an address with every field at its bound is below 4 KiB.
pub const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// Longest name of a secret, in bytes. The table has the same bound.
pub const NAME_BYTES_MAX: usize = 100;

/// How long a process goes on with a secret it has read, so that a flood of webhooks does not ask
/// the database for the same row each time. A secret that is replaced works elsewhere for as long.
pub const SECRETS_STALE_MAX: Duration = Duration::from_secs(10);

/// Secrets a process remembers, of at most 16 KiB each: a few per store that is at work. Whoever
/// asks for many stores that do not exist pushes out no more than this.
const SECRETS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_024).expect("is not zero");

/// Why something cannot be sealed or opened. Says nothing of the content.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key of this person was destroyed: nothing more is kept of them.
    #[error("the key of this person was destroyed")]
    Erased,
    /// More than [`PLAIN_BYTES_MAX`].
    #[error("too large to be sealed: {bytes} bytes")]
    TooLarge {
        /// How much there was.
        bytes: usize,
    },
    /// A secret without a name, or with one longer than [`NAME_BYTES_MAX`].
    #[error("a secret's name has 1 to {NAME_BYTES_MAX} bytes")]
    Name,
    /// It was sealed under a master key that this process was not given.
    #[error("sealed under the master key {id}, which is not among those in CONCHE_VAULT_KEY")]
    UnknownMasterKey {
        /// Name of that key.
        id: String,
    },
    /// Not what was sealed, or not in this place.
    #[error("what was sealed has been changed, or belongs elsewhere")]
    Damaged,
    /// The tables of the vault cannot be reached.
    #[error("the vault's database failed")]
    Database(#[from] sqlx::Error),
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    pool: PgPool,
    master: Arc<MasterKeys>,
    secrets: Arc<Mutex<LruCache<(StoreId, String), Remembered>>>,
}

/// A secret as it was at a time, or that there was none.
struct Remembered {
    secret: Option<Secret>,
    until: Instant,
}

impl Vault {
    /// A vault on connections that act as the role of the vault, which no other pool can stand in
    /// for.
    pub fn new(pool: PgPool, master: MasterKeys) -> Vault {
        let secrets = Arc::new(Mutex::new(LruCache::new(SECRETS_REMEMBERED)));
        Vault { pool, master: Arc::new(master), secrets }
    }

    /// Seals personal data under the key of `person`, which is made at first use and is on the disk
    /// when this returns. `context` says what it is, such as `checkout.address`, and is needed to
    /// open it. The same data sealed twice is two different texts.
    ///
    /// # Errors
    /// [`VaultError::Erased`] if the person's key was destroyed; [`VaultError::TooLarge`].
    pub async fn seal(
        &self,
        store_id: StoreId,
        person: PersonId,
        context: &str,
        plain: &[u8],
    ) -> Result<Sealed, VaultError> {
        within_bounds(plain)?;
        let key = match self.make_key(store_id, person).await? {
            Some(key) => key,
            None => self.key(store_id, person).await?.ok_or(VaultError::Erased)?,
        };
        let data = key.seal(Place::person(store_id, person, context), plain);
        Ok(Sealed { key: person, data: cipher::to_text(&data) })
    }

    /// Opens what was sealed in the same store and context; `None` if the person's key was
    /// destroyed, or never was.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] if this is not what was sealed there.
    pub async fn open(
        &self,
        store_id: StoreId,
        context: &str,
        sealed: &Sealed,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let data = cipher::of_text(&sealed.data).ok_or(VaultError::Damaged)?;
        let Some(key) = self.key(store_id, sealed.key).await? else { return Ok(None) };
        key.open(Place::person(store_id, sealed.key, context), &data).map(Some)
    }

    /// Destroys the key of a person. Whatever was sealed under it cannot be opened any more, and
    /// nothing more can be sealed. Repeating changes nothing.
    pub async fn erase(&self, store_id: StoreId, person: PersonId) -> Result<(), VaultError> {
        sqlx::query!(
            "INSERT INTO vault.person_keys AS k (store_id, person_id) VALUES ($1, $2)
                 ON CONFLICT (store_id, person_id) DO UPDATE
                SET master_key = NULL, wrapped = NULL, erased_at = coalesce(k.erased_at, now())",
            store_id.0,
            person.0
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Keeps a secret of a store under a name, such as `stripe.api_key`, in place of what was there.
    ///
    /// # Errors
    /// [`VaultError::TooLarge`], [`VaultError::Name`].
    pub async fn put_secret(
        &self,
        store_id: StoreId,
        name: &str,
        secret: &[u8],
    ) -> Result<(), VaultError> {
        within_bounds(secret)?;
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(VaultError::Name);
        }
        let (id, master) = self.master.current();
        sqlx::query!(
            "INSERT INTO vault.store_secrets (store_id, name, master_key, sealed)
             VALUES ($1, $2, $3, $4)
                 ON CONFLICT (store_id, name) DO UPDATE
                SET master_key = EXCLUDED.master_key, sealed = EXCLUDED.sealed, changed_at = now()",
            store_id.0,
            name,
            id,
            master.seal(Place::secret(store_id, name), secret)
        )
        .execute(&self.pool)
        .await?;
        self.remembered().pop(&(store_id, name.to_owned()));
        Ok(())
    }

    /// A secret of a store, at most [`SECRETS_STALE_MAX`] old.
    ///
    /// # Errors
    /// [`VaultError::UnknownMasterKey`], [`VaultError::Damaged`].
    pub async fn get_secret(
        &self,
        store_id: StoreId,
        name: &str,
    ) -> Result<Option<Secret>, VaultError> {
        let key = (store_id, name.to_owned());
        if let Some(known) = self.remembered().get(&key)
            && Instant::now() < known.until
        {
            return Ok(known.secret.clone());
        }
        let until = Instant::now() + SECRETS_STALE_MAX;
        let secret = self.read_secret(store_id, name).await?;
        self.remembered().put(key, Remembered { secret: secret.clone(), until });
        Ok(secret)
    }

    /// Stores that have a secret of this name.
    pub async fn stores_with_secret(&self, name: &str) -> Result<Vec<StoreId>, VaultError> {
        let stores = sqlx::query_scalar!(
            "SELECT store_id FROM vault.store_secrets WHERE name = $1 ORDER BY store_id",
            name
        );
        let stores = stores.fetch_all(&self.pool).await?;
        Ok(stores.into_iter().map(StoreId).collect())
    }

    /// Forgets a secret of a store. Repeating changes nothing.
    pub async fn remove_secret(&self, store_id: StoreId, name: &str) -> Result<(), VaultError> {
        sqlx::query!(
            "DELETE FROM vault.store_secrets WHERE store_id = $1 AND name = $2",
            store_id.0,
            name
        )
        .execute(&self.pool)
        .await?;
        self.remembered().pop(&(store_id, name.to_owned()));
        Ok(())
    }

    /// Puts everything under the current master key that is under another one. When it returns, the
    /// others are needed no more. Can be cut short and repeated, and run beside everything else.
    pub async fn rotate(&self) -> Result<Rotated, VaultError> {
        rotate::rotate(&self.pool, &self.master).await
    }

    async fn read_secret(
        &self,
        store_id: StoreId,
        name: &str,
    ) -> Result<Option<Secret>, VaultError> {
        let row = sqlx::query!(
            "SELECT master_key, sealed FROM vault.store_secrets WHERE store_id = $1 AND name = $2",
            store_id.0,
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let plain =
            self.master.get(&row.master_key)?.open(Place::secret(store_id, name), &row.sealed)?;
        Ok(Some(Secret::new(plain)))
    }

    /// A new key for a person who has none.
    async fn make_key(
        &self,
        store_id: StoreId,
        person: PersonId,
    ) -> Result<Option<Key>, VaultError> {
        let key = Key::random();
        let (id, master) = self.master.current();
        let made = sqlx::query!(
            "INSERT INTO vault.person_keys (store_id, person_id, master_key, wrapped)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            store_id.0,
            person.0,
            id,
            master.seal(Place::key(store_id, person), key.bytes())
        )
        .execute(&self.pool)
        .await?;
        Ok((made.rows_affected() == 1).then_some(key))
    }

    /// The key of a person, unless it was destroyed or never made.
    async fn key(&self, store_id: StoreId, person: PersonId) -> Result<Option<Key>, VaultError> {
        let row = sqlx::query!(
            "SELECT master_key, wrapped FROM vault.person_keys
              WHERE store_id = $1 AND person_id = $2",
            store_id.0,
            person.0
        )
        .fetch_optional(&self.pool)
        .await?;
        let wrapped = row.and_then(|row| Some((row.master_key?, row.wrapped?)));
        let Some((id, wrapped)) = wrapped else { return Ok(None) };
        let bytes = self.master.get(&id)?.open(Place::key(store_id, person), &wrapped)?;
        Key::of_bytes(&bytes).map(Some).ok_or(VaultError::Damaged)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, LruCache<(StoreId, String), Remembered>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows neither keys nor secrets.
impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("master", &self.master).finish_non_exhaustive()
    }
}

fn within_bounds(plain: &[u8]) -> Result<(), VaultError> {
    if PLAIN_BYTES_MAX < plain.len() {
        return Err(VaultError::TooLarge { bytes: plain.len() });
    }
    Ok(())
}
