//! Who may read which store with SQL, in schema `analytics`.

use anyhow::Context as _;
use event_schemas::ids::StoreId;
use sqlx::{AssertSqlSafe, PgPool};

use crate::terminal::say;

/// Grants listed at most.
const GRANTS_MAX: i64 = 10_000;

/// Lets a role, which must exist, read one more store. Repeating changes nothing.
pub async fn allow(owner: &PgPool, role: &str, store: &str) -> anyhow::Result<()> {
    let mut tx = owner.begin().await?;
    let found = sqlx::query!(
        r#"SELECT rolsuper OR rolbypassrls AS "unbound!",
                  format('GRANT conche_analyst TO %I', rolname) AS "membership!"
             FROM pg_roles WHERE rolname = $1"#,
        role
    );
    let found = found.fetch_optional(&mut *tx).await?;
    let found = found.with_context(|| format!("there is no role `{role}`: CREATE ROLE first"))?;
    anyhow::ensure!(!found.unbound, "`{role}` sees every store anyway: no wall holds for it");
    sqlx::query!(
        "INSERT INTO analytics.store_grants (grantee, store_id)
         SELECT oid, $2 FROM pg_roles WHERE rolname = $1
         ON CONFLICT DO NOTHING",
        role,
        StoreId::of_slug(store).0
    )
    .execute(&mut *tx)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(found.membership)).execute(&mut *tx).await?;
    tx.commit().await?;
    say(&format!("{role} may read store {store} in schema analytics"))?;
    Ok(())
}

/// Takes a store from a role; without any it still may look at the shape of the schema.
pub async fn deny(owner: &PgPool, role: &str, store: &str) -> anyhow::Result<()> {
    let done = sqlx::query!(
        "DELETE FROM analytics.store_grants g USING pg_roles r
          WHERE r.oid = g.grantee AND r.rolname = $1 AND g.store_id = $2",
        role,
        StoreId::of_slug(store).0
    );
    let done = done.execute(owner).await?;
    let was = if done.rows_affected() == 0 { "could not read" } else { "may no longer read" };
    say(&format!("{role} {was} store {store}"))?;
    Ok(())
}

/// Prints who may read what: the role and the id of the store.
pub async fn list(owner: &PgPool) -> anyhow::Result<()> {
    let grants = sqlx::query!(
        r#"SELECT r.rolname::text AS "role!", g.store_id FROM analytics.store_grants g
             JOIN pg_roles r ON r.oid = g.grantee ORDER BY 1, 2 LIMIT $1"#,
        GRANTS_MAX
    );
    for grant in grants.fetch_all(owner).await? {
        say(&format!("{:<24} {}", grant.role, StoreId(grant.store_id)))?;
    }
    Ok(())
}
