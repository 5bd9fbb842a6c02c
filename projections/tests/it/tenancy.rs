//! A reader sees one store: the one its transaction is for.

use projections::as_store;
use sqlx::{AssertSqlSafe, Executor as _};
use uuid::Uuid;

use crate::{
    random::{Random, fill},
    shop::{OTHER_STORE, STORE, Shop},
};

#[tokio::test]
async fn a_reader_sees_the_rows_of_its_store_and_no_others() {
    let shop = Shop::new().await;
    fill(&shop, &mut Random(7), 120).await;
    shop.project().await;
    for table in projections::ALL.iter().flat_map(|projection| projection.tables) {
        let stores = format!("SELECT DISTINCT store_id FROM {table}");
        for store_id in [STORE, OTHER_STORE] {
            let mut tx = as_store(&shop.db.reader, store_id).await.unwrap();
            let seen: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(stores.clone()))
                .fetch_all(&mut *tx)
                .await
                .unwrap();
            assert_eq!(seen, [store_id.0], "{table}");
        }
        // The setting ends with the transaction, and without it there is nothing to see.
        let stores = format!("SELECT DISTINCT store_id FROM read.{table}");
        let seen: Vec<Uuid> =
            sqlx::query_scalar(AssertSqlSafe(stores)).fetch_all(&shop.db.reader).await.unwrap();
        assert!(seen.is_empty(), "{table}");
    }
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let shop = Shop::new().await;
    for table in projections::ALL.iter().flat_map(|projection| projection.tables) {
        let delete = format!("DELETE FROM read.{table}");
        let mut conn = shop.db.reader.acquire().await.unwrap();
        // Out of the transaction it is lent in: the role has no right either.
        conn.execute("ROLLBACK").await.unwrap();
        let error = conn.execute(AssertSqlSafe(delete)).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{table}");
    }
}

#[tokio::test]
async fn every_table_that_has_a_store_is_walled_and_belongs_to_a_projection() {
    let shop = Shop::new().await;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE c.relnamespace = 'read'::regnamespace AND c.relkind = 'r'
            AND a.attname = 'store_id' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    )
    .fetch_all(&shop.db.owner)
    .await
    .unwrap();
    assert_eq!(open, Vec::<String>::new());
    let mut tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
          WHERE relnamespace = 'read'::regnamespace AND relkind = 'r'
            AND relname <> 'projection_states' ORDER BY 1",
    )
    .fetch_all(&shop.db.owner)
    .await
    .unwrap();
    let mut known: Vec<_> = projections::ALL.iter().flat_map(|p| p.tables).copied().collect();
    known.sort_unstable();
    tables.sort_unstable();
    assert_eq!(tables, known);
}
