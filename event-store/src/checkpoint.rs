//! Checkpoints: how far a reader of the log has come.

use sqlx::PgConnection;

use crate::StoreError;

/// The position up to which `name` has taken effect, locked until the transaction of `conn` ends,
/// so that of several processes one works at a time and the others wait (up to `lock_timeout`).
/// A new reader starts at 0. Two round trips.
pub async fn lock_checkpoint(conn: &mut PgConnection, name: &str) -> Result<i64, StoreError> {
    sqlx::query!("INSERT INTO log.checkpoints (name) VALUES ($1) ON CONFLICT DO NOTHING", name)
        .execute(&mut *conn)
        .await?;
    let position = sqlx::query_scalar!(
        "SELECT position FROM log.checkpoints WHERE name = $1 FOR UPDATE",
        name
    );
    Ok(position.fetch_one(conn).await?)
}

/// Like [`lock_checkpoint`], but `None` at once if another transaction holds it: for processes
/// that stand by. One round trip, unless there is nothing to lock.
pub async fn try_lock_checkpoint(
    conn: &mut PgConnection,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    let position = sqlx::query_scalar!(
        "SELECT position FROM log.checkpoints WHERE name = $1 FOR UPDATE SKIP LOCKED",
        name
    );
    let position = position.fetch_optional(&mut *conn).await?;
    if position.is_some() {
        return Ok(position);
    }
    // Locked, or not there. Whoever makes it holds it.
    let made =
        sqlx::query!("INSERT INTO log.checkpoints (name) VALUES ($1) ON CONFLICT DO NOTHING", name)
            .execute(conn)
            .await?;
    Ok((made.rows_affected() == 1).then_some(0))
}

/// Moves a checkpoint. In the same transaction as the effects and after [`lock_checkpoint`].
pub async fn write_checkpoint(
    conn: &mut PgConnection,
    name: &str,
    position: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO log.checkpoints (name, position) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET position = $2, updated_at = now()",
        name,
        position
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The position `name` has reached, without locking; 0 if it never ran.
pub async fn checkpoint(conn: &mut PgConnection, name: &str) -> Result<i64, StoreError> {
    let position =
        sqlx::query_scalar!("SELECT position FROM log.checkpoints WHERE name = $1", name);
    Ok(position.fetch_optional(conn).await?.unwrap_or(0))
}
