//! Who may read which store with SQL, in schema `analytics`.

use anyhow::Context as _;
use event_schemas::ids::StoreId;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::terminal::say;

/// Grants listed at most.
const GRANTS_MAX: i64 = 10_000;

/// Connections of an analyst at once: a notebook and a BI tool. The shop needs the others.
const CONNECTIONS_MAX: u32 = 8;

/// What a session of an analyst begins with. While a statement or a transaction is open, the server
/// keeps every old version of the log's head, and each append walks past them; a swap of rebuilt
/// tables waits for it too.
const SETTINGS: [(&str, &str); 2] =
    [("statement_timeout", "5min"), ("idle_in_transaction_session_timeout", "1min")];

/// SQLSTATE: the owner of the tables may not alter roles.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Lets a role, which must exist, read one more store, and gives it [`SETTINGS`] and
/// [`CONNECTIONS_MAX`] where it has none of its own. Repeating changes nothing.
pub async fn allow(owner: &PgPool, role: &str, store: &str) -> anyhow::Result<()> {
    let mut tx = owner.begin().await?;
    let found = sqlx::query!(
        r#"SELECT rolsuper OR rolbypassrls AS "unbound!", quote_ident(rolname) AS "name!",
                  rolconnlimit < 0 AS "unlimited!",
                  coalesce(rolconfig, ARRAY[]::text[]) AS "settings!"
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
    let membership = format!("GRANT conche_analyst TO {}", found.name);
    sqlx::raw_sql(AssertSqlSafe(membership)).execute(&mut *tx).await?;
    let limits = limits(&found.name, found.unlimited, &found.settings);
    let refused = !limit(&mut tx, &limits).await?;
    tx.commit().await?;
    say(&format!("{role} may read store {store} in schema analytics"))?;
    if refused {
        say(&format!("without limits, which one who may alter roles has to set: {limits}"))?;
    }
    Ok(())
}

/// The statements that give a role the limits it lacks.
fn limits(name: &str, unlimited: bool, settings: &[String]) -> String {
    let connections =
        unlimited.then(|| format!("ALTER ROLE {name} CONNECTION LIMIT {CONNECTIONS_MAX};"));
    let lacks = |setting: &str| {
        let set = |one: &String| one.split('=').next() == Some(setting);
        !settings.iter().any(set)
    };
    let lacking = SETTINGS.iter().filter(|(setting, _)| lacks(setting));
    let lacking =
        lacking.map(|(setting, value)| format!("ALTER ROLE {name} SET {setting} = '{value}';"));
    connections.into_iter().chain(lacking).collect::<Vec<_>>().join(" ")
}

/// Whether it was allowed.
async fn limit(conn: &mut PgConnection, limits: &str) -> Result<bool, sqlx::Error> {
    let mut part = conn.begin().await?;
    match sqlx::raw_sql(AssertSqlSafe(limits.to_owned())).execute(&mut *part).await {
        Ok(_) => part.commit().await.map(|()| true),
        Err(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) =>
        {
            part.rollback().await.map(|()| false)
        }
        Err(error) => Err(error),
    }
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
