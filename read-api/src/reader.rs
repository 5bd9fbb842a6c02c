//! Who reads, how fresh it must be, and how fresh it is.

use std::convert::Infallible;
use std::time::Duration;

use api_kit::{Caller, Deadline, MinPosition, Position, Problem};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponseParts, ResponseParts};
use event_schemas::ids::StoreId;
use projections::Projection;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::time::timeout_at;

/// Longest wait for a read model to reach `X-Min-Position`. A projector needs a few milliseconds;
/// longer than this is a lag that the client should know of.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// What we ask of a client that met a busy or absent database.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// SQLSTATE classes of a server that is reached but cannot serve now.
const AWAY_CLASSES: [&str; 4] = ["08", "53", "57", "58"];

/// Who reads, and from which position on.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    store_id: StoreId,
    min_position: Option<i64>,
    deadline: Deadline,
    pool: PgPool,
}

/// One store as it stands in the tables of one projection.
pub(crate) struct View {
    tx: Transaction<'static, Postgres>,
    pub(crate) freshness: Freshness,
}

/// How far the projection behind an answer is: headers `X-Position`, `X-Stale: true` where that is
/// before what was asked for, and `Cache-Control`, because all of it is somebody's business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    position: i64,
    stale: bool,
}

impl Reader {
    pub(crate) fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// Waits for `X-Min-Position` if there is one, at most [`WAIT_MAX`], and begins to read; unless
    /// by then nobody waits for the answer any more.
    pub(crate) async fn view(&self, projection: &Projection) -> Result<View, Problem> {
        let view = timeout_at(self.deadline.0, self.begin(projection)).await;
        let view = view.map_err(|_| Problem::new("timeout").retry_after(RETRY_AFTER))?;
        view.map_err(unreadable)
    }

    async fn begin(&self, projection: &Projection) -> Result<View, sqlx::Error> {
        let Reader { store_id, min_position, deadline, pool } = self;
        if let Some(min) = min_position {
            // Half of what is left at most: the other half is for reading.
            let wait = deadline.within(2 * WAIT_MAX) / 2;
            projections::wait_for(pool, &[projection.name], *min, wait).await?;
        }
        // Before the transaction begins, so that what it reads is at least that far.
        let position = projections::position(pool, projection.name).await?;
        let tx = projections::as_store(pool, *store_id).await?;
        let stale = min_position.is_some_and(|min| position < min);
        Ok(View { tx, freshness: Freshness { position, stale } })
    }
}

impl View {
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

impl FromRequestParts<PgPool> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, pool: &PgPool) -> Result<Self, Problem> {
        let Caller { store_id, .. } = Caller::from_request_parts(parts, pool).await?;
        let MinPosition(min_position) = MinPosition::from_request_parts(parts, pool).await?;
        let deadline = Deadline::from_request_parts(parts, pool).await?;
        Ok(Reader { store_id, min_position, deadline, pool: pool.clone() })
    }
}

impl IntoResponseParts for Freshness {
    type Error = Infallible;

    fn into_response_parts(self, parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let mut parts = Position(self.position).into_response_parts(parts)?;
        let headers = parts.headers_mut();
        if self.stale {
            headers.insert("x-stale", HeaderValue::from_static("true"));
        }
        let private = HeaderValue::from_static("private, no-store");
        headers.insert(header::CACHE_CONTROL, private);
        Ok(parts)
    }
}

/// `503` if the database is away or busy, else `500`.
pub(crate) fn unreadable(error: sqlx::Error) -> Problem {
    let away = match &error {
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| AWAY_CLASSES.iter().any(|class| code.starts_with(class))),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    };
    if !away {
        return Problem::internal(error);
    }
    // The client hears only that it should come again; the operator wants to know why.
    tracing::warn!(%error, "read models are not available");
    Problem::unavailable(RETRY_AFTER)
}
