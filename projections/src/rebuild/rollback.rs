//! What a rebuild has replaced is kept until the next one, and can come back.

use event_store::checkpoint::{lock_checkpoint, write_checkpoint};
use sqlx::{Connection as _, PgConnection, PgPool};

use super::{SWAP_LOCK_TIMEOUT, SWAP_PAUSE, SWAP_TRIES, is_not_granted, lock, unlock};
use crate::{Projection, ProjectionError};

/// Where the tables are that a rebuild has replaced. Nobody who serves has rights there.
pub(super) fn kept(projection: &Projection) -> String {
    format!("read_old_{}", projection.name)
}

/// Notes what is kept from now on: the tables that served up to position `live`. The new ones are of
/// this program's version.
pub(super) async fn keep(
    conn: &mut PgConnection,
    projection: &Projection,
    live: i64,
) -> Result<(), sqlx::Error> {
    let version = i32::try_from(projection.version).expect("versions are small");
    sqlx::query!(
        "INSERT INTO read.projection_states AS s (name, version, kept_version, kept_position, kept_at)
         VALUES ($1, $2, $2, $3, now())
         ON CONFLICT (name) DO UPDATE SET version = $2, kept_version = s.version,
             kept_position = $3, kept_at = now()",
        projection.name,
        version,
        live
    )
    .execute(&mut *conn)
    .await?;
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *conn).await?;
    sqlx::query!("SELECT read.keep_parked($1)", projection.name).execute(&mut *conn).await?;
    sqlx::raw_sql("SET LOCAL ROLE NONE").execute(conn).await?;
    Ok(())
}

/// Puts the tables that the last rebuild replaced back into service, and keeps in their place those
/// that served until now. The projection goes on where they stand, and so makes up for what was
/// appended since. Returns that position.
///
/// [`ProjectionError::NoWayBack`] if none are kept, if another version of the code filled them, if
/// the tables have got another shape since, or if an event was discarded since.
pub async fn roll_back(owner: &PgPool, projection: &Projection) -> Result<i64, ProjectionError> {
    let mut conn = lock(owner, projection).await?;
    let outcome = roll_back_with(&mut conn, projection).await;
    unlock(conn).await;
    outcome
}

async fn roll_back_with(
    conn: &mut PgConnection,
    projection: &Projection,
) -> Result<i64, ProjectionError> {
    for _ in 1..SWAP_TRIES {
        match try_to(conn, projection).await {
            Err(ProjectionError::Database(error)) if is_not_granted(&error) => {
                tokio::time::sleep(SWAP_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    try_to(conn, projection).await
}

async fn try_to(conn: &mut PgConnection, projection: &Projection) -> Result<i64, ProjectionError> {
    let mut tx = conn.begin().await?;
    let live = lock_checkpoint(&mut tx, projection.name).await?;
    let position = fit(&mut tx, projection).await?;
    sqlx::raw_sql(SWAP_LOCK_TIMEOUT).execute(&mut *tx).await?;
    sqlx::query!("SELECT read.swap_back($1)", kept(projection)).execute(&mut *tx).await?;
    sqlx::query!(
        "UPDATE read.projection_states
            SET version = kept_version, kept_version = version, kept_position = $2, kept_at = now()
          WHERE name = $1",
        projection.name,
        live
    )
    .execute(&mut *tx)
    .await?;
    write_checkpoint(&mut tx, projection.name, position).await?;
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *tx).await?;
    sqlx::query!("SELECT read.exchange_parked($1)", projection.name).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(position)
}

/// The position of the tables that are kept, if they may serve again.
async fn fit(conn: &mut PgConnection, projection: &Projection) -> Result<i64, ProjectionError> {
    let no_way = |reason: String| ProjectionError::NoWayBack { name: projection.name, reason };
    let state = sqlx::query!(
        r#"SELECT kept_version, kept_position, kept_at,
                  (SELECT bool_and(read.shape('read', t)
                                   IS NOT DISTINCT FROM read.shape($2, t)) AS "same!"
                     FROM unnest($3::text[]) t)
             FROM read.projection_states WHERE name = $1"#,
        projection.name,
        kept(projection),
        projection.tables as &[&str]
    );
    let state = state.fetch_optional(&mut *conn).await?;
    let kept = state.as_ref().and_then(|state| Some((state.kept_version?, state.kept_position?)));
    let Some((version, position)) = kept else {
        return Err(no_way("no rebuild has replaced any tables".to_owned()));
    };
    if u32::try_from(version) != Ok(projection.version) {
        return Err(no_way(format!(
            "version {version} filled the tables that are kept, this program is at {}",
            projection.version
        )));
    }
    if !state.is_some_and(|state| state.same) {
        return Err(no_way("the tables that are kept have another shape".to_owned()));
    }
    sqlx::raw_sql("SET LOCAL ROLE conche_projector").execute(&mut *conn).await?;
    let discarded = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM log.discarded d JOIN read.projection_states s
                                   ON s.name = d.projection AND d.discarded_at > s.kept_at
                           WHERE d.projection = $1) AS "discarded!""#,
        projection.name
    );
    if discarded.fetch_one(&mut *conn).await? {
        return Err(no_way(
            "an event was discarded since they were replaced, and they would meet it again"
                .to_owned(),
        ));
    }
    sqlx::raw_sql("SET LOCAL ROLE NONE").execute(conn).await?;
    Ok(position)
}
