//! (being written)
use crate::{Projection, ProjectionError};
use sqlx::PgPool;
/// A row that is not the same.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Which table.
    pub table: &'static str,
}
/// Rebuild.
pub async fn rebuild(
    _pool: &PgPool,
    _projection: &Projection,
    _progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<(), ProjectionError> {
    Ok(())
}
/// Verify.
pub async fn verify(
    _pool: &PgPool,
    _projection: &Projection,
) -> Result<Vec<Difference>, ProjectionError> {
    Ok(vec![])
}
