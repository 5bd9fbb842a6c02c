//! A new master key takes the place of an old one.

use event_schemas::ids::{PersonId, StoreId};
use sqlx::PgPool;

use crate::{MasterKeys, VaultError, cipher::Place};

/// Rows of one transaction: short, so that nobody who seals waits for it.
const BATCH: i64 = 500;

/// What a rotation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Keys of persons that were put under the current master key.
    pub person_keys: u64,
    /// Secrets of stores that were.
    pub secrets: u64,
}

pub(crate) async fn rotate(pool: &PgPool, master: &MasterKeys) -> Result<Rotated, VaultError> {
    let mut rotated = Rotated::default();
    loop {
        let (keys, secrets) =
            (person_keys(pool, master).await?, store_secrets(pool, master).await?);
        if keys + secrets == 0 {
            return Ok(rotated);
        }
        rotated.person_keys += keys;
        rotated.secrets += secrets;
    }
}

async fn person_keys(pool: &PgPool, master: &MasterKeys) -> Result<u64, VaultError> {
    let (id, current) = master.current();
    let mut tx = pool.begin().await?;
    let rows = sqlx::query!(
        r#"SELECT store_id, person_id, master_key AS "master_key!", wrapped AS "wrapped!"
             FROM vault.person_keys WHERE master_key <> $1 LIMIT $2 FOR UPDATE"#,
        id,
        BATCH
    )
    .fetch_all(&mut *tx)
    .await?;
    let (mut stores, mut persons, mut wrapped) = (vec![], vec![], vec![]);
    for row in rows {
        let place = || Place::key(StoreId(row.store_id), PersonId(row.person_id));
        let key = master.get(&row.master_key)?.open(place(), &row.wrapped)?;
        stores.push(row.store_id);
        persons.push(row.person_id);
        wrapped.push(current.seal(place(), &key));
    }
    let done = sqlx::query!(
        "UPDATE vault.person_keys k SET master_key = $1, wrapped = n.wrapped
           FROM unnest($2::uuid[], $3::uuid[], $4::bytea[]) AS n (store_id, person_id, wrapped)
          WHERE (k.store_id, k.person_id) = (n.store_id, n.person_id)",
        id,
        &stores,
        &persons,
        &wrapped
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

async fn store_secrets(pool: &PgPool, master: &MasterKeys) -> Result<u64, VaultError> {
    let (id, current) = master.current();
    let mut tx = pool.begin().await?;
    let rows = sqlx::query!(
        "SELECT store_id, name, master_key, sealed FROM vault.store_secrets
          WHERE master_key <> $1 LIMIT $2 FOR UPDATE",
        id,
        BATCH
    )
    .fetch_all(&mut *tx)
    .await?;
    let (mut stores, mut names, mut sealed) = (vec![], vec![], vec![]);
    for row in rows {
        let place = || Place::secret(StoreId(row.store_id), &row.name);
        let secret = master.get(&row.master_key)?.open(place(), &row.sealed)?;
        sealed.push(current.seal(place(), &secret));
        stores.push(row.store_id);
        names.push(row.name);
    }
    let done = sqlx::query!(
        "UPDATE vault.store_secrets s SET master_key = $1, sealed = n.sealed
           FROM unnest($2::uuid[], $3::text[], $4::bytea[]) AS n (store_id, name, sealed)
          WHERE (s.store_id, s.name) = (n.store_id, n.name)",
        id,
        &stores,
        &names,
        &sealed
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}
