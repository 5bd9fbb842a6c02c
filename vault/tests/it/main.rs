//! The vault on a real database.

use event_schemas::ids::{PersonId, StoreId};
use event_store::pool::{self, Role};
use sqlx::PgPool;
use test_database::Database;
use vault::{MasterKeys, PLAIN_BYTES_MAX, Rotated, Vault, VaultError};

const ADDRESS: &[u8] = b"Ada Lovelace, 1 Cocoa Street";
const CONTEXT: &str = "checkout.address";

struct Place {
    admin: PgPool,
    pool: PgPool,
    store_id: StoreId,
    ada: PersonId,
    _database: Database,
}

impl Place {
    async fn new() -> Place {
        let database = Database::new().await;
        Place {
            admin: pool::connect_lazy(database.options(), Role::Owner, 2),
            pool: pool::connect_lazy(database.options(), Role::Vault, 8),
            store_id: StoreId::of_slug("demo"),
            ada: PersonId::derive(&[b"ada"]),
            _database: database,
        }
    }

    fn vault(&self, keys: &MasterKeys) -> Vault {
        Vault::new(self.pool.clone(), keys.clone())
    }

    async fn text_of_tables(&self) -> String {
        let sql = "SELECT coalesce(string_agg(t, ' '), '') FROM (
                       SELECT k::text FROM vault.person_keys k
                       UNION ALL SELECT s::text FROM vault.store_secrets s) AS rows (t)";
        sqlx::query_scalar(sql).fetch_one(&self.admin).await.expect("the tables can be read")
    }
}

#[tokio::test]
async fn an_address_is_sealed_for_a_person_and_opens_where_it_belongs_only() {
    let place = Place::new().await;
    let vault = place.vault(&MasterKeys::generate().0);

    let sealed = vault.seal(place.store_id, place.ada, CONTEXT, ADDRESS).await.unwrap();

    assert!(!serde_text(&sealed).contains("Cocoa"));
    let opened = vault.open(place.store_id, CONTEXT, &sealed).await.unwrap();
    assert_eq!(opened.as_deref(), Some(ADDRESS));
    let elsewhere = vault.open(place.store_id, "order.note", &sealed).await;
    assert!(matches!(elsewhere, Err(VaultError::Damaged)), "{elsewhere:?}");
    // In another store this person has no key.
    let other = StoreId::of_slug("elsewhere");
    assert_eq!(vault.open(other, CONTEXT, &sealed).await.unwrap(), None);
    vault.seal(other, place.ada, CONTEXT, b"x").await.unwrap();
    assert!(matches!(vault.open(other, CONTEXT, &sealed).await, Err(VaultError::Damaged)));
}

#[tokio::test]
async fn everyone_who_seals_for_a_new_person_at_once_uses_one_key() {
    let place = Place::new().await;
    let vault = place.vault(&MasterKeys::generate().0);
    let seal = |_| vault.seal(place.store_id, place.ada, CONTEXT, ADDRESS);
    let (a, b, c, d) = tokio::join!(seal(0), seal(1), seal(2), seal(3));
    for sealed in [a, b, c, d] {
        let opened = vault.open(place.store_id, CONTEXT, &sealed.unwrap()).await.unwrap();
        assert_eq!(opened.as_deref(), Some(ADDRESS));
    }
}

#[tokio::test]
async fn who_is_erased_is_gone_from_every_copy_and_stays_gone() {
    let place = Place::new().await;
    let vault = place.vault(&MasterKeys::generate().0);
    let sealed = vault.seal(place.store_id, place.ada, CONTEXT, ADDRESS).await.unwrap();
    let bob = PersonId::derive(&[b"bob"]);
    let of_bob = vault.seal(place.store_id, bob, CONTEXT, b"Bob").await.unwrap();

    vault.erase(place.store_id, place.ada).await.unwrap();
    vault.erase(place.store_id, place.ada).await.unwrap();

    assert_eq!(vault.open(place.store_id, CONTEXT, &sealed).await.unwrap(), None);
    let again = vault.seal(place.store_id, place.ada, CONTEXT, ADDRESS).await;
    assert!(matches!(again, Err(VaultError::Erased)), "{again:?}");
    let of_bob = vault.open(place.store_id, CONTEXT, &of_bob).await.unwrap();
    assert_eq!(of_bob.as_deref(), Some(b"Bob".as_slice()));
}

#[tokio::test]
async fn secrets_are_kept_per_store_and_name_and_stand_nowhere_in_the_clear() {
    let place = Place::new().await;
    let (keys, _) = MasterKeys::generate();
    let vault = place.vault(&keys);
    let secret = async |vault: &Vault, store_id, name: &str| {
        vault.get_secret(store_id, name).await.unwrap().map(|secret| secret.expose().to_vec())
    };
    let other = StoreId::of_slug("elsewhere");
    assert_eq!(secret(&vault, place.store_id, "stripe.api_key").await, None);

    vault.put_secret(place.store_id, "stripe.api_key", b"sk_test_first").await.unwrap();
    assert_eq!(
        secret(&vault, place.store_id, "stripe.api_key").await.as_deref(),
        Some(b"sk_test_first".as_slice())
    );
    vault.put_secret(place.store_id, "stripe.api_key", b"sk_test_next").await.unwrap();

    let next = Some(b"sk_test_next".to_vec());
    assert_eq!(secret(&vault, place.store_id, "stripe.api_key").await, next);
    assert_eq!(secret(&place.vault(&keys), place.store_id, "stripe.api_key").await, next);
    assert_eq!(secret(&vault, other, "stripe.api_key").await, None);
    assert_eq!(secret(&vault, place.store_id, "stripe.webhook").await, None);
    assert!(!place.text_of_tables().await.contains("sk_test"));
    let with = vault.stores_with_secret("stripe.api_key").await.unwrap();
    assert_eq!(with, [place.store_id]);
    vault.remove_secret(place.store_id, "stripe.api_key").await.unwrap();
    assert_eq!(secret(&vault, place.store_id, "stripe.api_key").await, None);
}

#[tokio::test]
async fn a_row_moved_to_another_store_opens_nothing() {
    let place = Place::new().await;
    let (keys, _) = MasterKeys::generate();
    place.vault(&keys).put_secret(place.store_id, "stripe.api_key", b"sk_test_x").await.unwrap();
    let other = StoreId::of_slug("elsewhere");
    let moved = sqlx::query("UPDATE vault.store_secrets SET store_id = $1").bind(other.0);
    moved.execute(&place.admin).await.unwrap();
    let stolen = place.vault(&keys).get_secret(other, "stripe.api_key").await;
    assert!(matches!(stolen, Err(VaultError::Damaged)), "{stolen:?}");
}

#[tokio::test]
async fn after_a_rotation_the_former_master_key_is_needed_no_more() {
    let place = Place::new().await;
    let (old, old_text) = MasterKeys::generate();
    let (new, new_text) = MasterKeys::generate();
    let sealed = place.vault(&old).seal(place.store_id, place.ada, CONTEXT, ADDRESS).await.unwrap();
    place.vault(&old).put_secret(place.store_id, "stripe.api_key", b"sk_test_x").await.unwrap();
    let gone = PersonId::derive(&[b"gone"]);
    place.vault(&old).erase(place.store_id, gone).await.unwrap();
    let early = place.vault(&new).open(place.store_id, CONTEXT, &sealed).await;
    assert!(matches!(early, Err(VaultError::UnknownMasterKey { .. })), "{early:?}");

    let both = MasterKeys::parse(&format!("{new_text},{old_text}")).unwrap();
    let rotated = place.vault(&both).rotate().await.unwrap();

    assert_eq!(rotated, Rotated { person_keys: 1, secrets: 1 });
    assert_eq!(place.vault(&both).rotate().await.unwrap(), Rotated::default());
    let opened = place.vault(&new).open(place.store_id, CONTEXT, &sealed).await.unwrap();
    assert_eq!(opened.as_deref(), Some(ADDRESS));
    let secret = place.vault(&new).get_secret(place.store_id, "stripe.api_key").await.unwrap();
    assert_eq!(secret.unwrap().expose_text(), Some("sk_test_x"));
    let late = place.vault(&old).open(place.store_id, CONTEXT, &sealed).await;
    assert!(matches!(late, Err(VaultError::UnknownMasterKey { .. })), "{late:?}");
}

#[tokio::test]
async fn what_is_too_large_or_has_no_name_is_refused() {
    let place = Place::new().await;
    let vault = place.vault(&MasterKeys::generate().0);
    let large = vec![0; PLAIN_BYTES_MAX + 1];
    let refused = vault.seal(place.store_id, place.ada, CONTEXT, &large).await;
    assert!(matches!(refused, Err(VaultError::TooLarge { .. })), "{refused:?}");
    let largest = &large[1..];
    vault.seal(place.store_id, place.ada, CONTEXT, largest).await.unwrap();
    vault.put_secret(place.store_id, &"n".repeat(100), largest).await.unwrap();
    for name in ["", &"n".repeat(101)] {
        let refused = vault.put_secret(place.store_id, name, b"x").await;
        assert!(matches!(refused, Err(VaultError::Name)), "{refused:?}");
    }
}

fn serde_text(sealed: &event_schemas::sealed::Sealed) -> String {
    format!("{} {}", sealed.key, sealed.data)
}
