//! Partitions of the log, made ahead of need. As the owner of the tables, not as a serving role.

use sqlx::PgConnection;

use crate::StoreError;

/// Makes the partitions the next appends need; returns how many were missing. Call it after
/// migrating and then hourly: there is always a whole spare partition of events (10,000,000), and
/// there are partitions of command records (five weeks each) for the next two weeks at least.
pub async fn ensure(conn: &mut PgConnection) -> Result<i32, StoreError> {
    let made = sqlx::query_scalar!(r#"SELECT log.ensure_partitions() AS "made!""#);
    Ok(made.fetch_one(conn).await?)
}

/// Drops partitions of command records that ended more than 35 days ago; returns how many. Call it
/// daily. Fails with a lock time-out (2 s) if readers are in the way: try again later.
pub async fn drop_expired_commands(conn: &mut PgConnection) -> Result<i32, StoreError> {
    let dropped = sqlx::query_scalar!(r#"SELECT log.drop_expired_commands() AS "dropped!""#);
    Ok(dropped.fetch_one(conn).await?)
}
