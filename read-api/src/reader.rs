//! Who reads, how fresh it must be, and how fresh it is.

use std::convert::Infallible;
use std::time::Duration;

use api_kit::{Caller, Deadline, MinPosition, Position, Problem};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponseParts, ResponseParts};
use event_schemas::ids::StoreId;
use projections::{Projection, catalog};
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::{Instant, timeout_at};

use crate::reads::{Reads, poll};

/// Longest wait for a read model to reach `X-Min-Position`. A projector needs a few milliseconds;
/// longer than this is a lag that the client should know of.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Longest wait for the search index after the read model it follows is there, which takes some ten
/// milliseconds. A process that has just begun has none for a while.
const INDEX_WAIT_MAX: Duration = Duration::from_millis(200);

/// What we ask of a client that met a busy or absent database.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// SQLSTATE classes of a server that is reached but cannot serve now.
const AWAY_CLASSES: [&str; 4] = ["08", "53", "57", "58"];

/// Who reads, and from which position on.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    store_id: StoreId,
    min_position: Option<i64>,
    deadline: Deadline,
    reads: Reads,
}

/// One store as it stands in the tables of one projection.
pub(crate) struct View {
    snapshot: PoolConnection<Postgres>,
    pub(crate) freshness: Freshness,
}

/// How far the projection behind an answer is: headers `X-Position`, `X-Stale` with what belongs to
/// it where that is before what was asked for, and `Cache-Control`, because all of it is somebody's
/// business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    position: i64,
    stale: Option<Stale>,
    /// Whether only events can change the answer, so that it may be kept until they do.
    lasting: bool,
}

/// How much is missing from an answer.
#[derive(Clone, Copy, Debug)]
struct Stale {
    /// Events between `X-Position` and `X-Min-Position`, of every store.
    positions: i64,
    /// Age of the oldest of them, where it is known.
    seconds: Option<f64>,
}

/// Extension of an answer that is as fresh as was asked for: the position its rows were read at.
/// For the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsOf(pub(crate) i64);

impl Reader {
    pub(crate) fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// The same reader once more, `within` from now on, for nothing older than this position.
    pub(crate) fn again(&self, position: i64, within: Duration) -> Reader {
        let deadline = Deadline(Instant::now() + within);
        Reader { min_position: Some(position), deadline, ..self.clone() }
    }

    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Waits for `X-Min-Position` if there is one, at most [`WAIT_MAX`], and begins to read; unless
    /// by then nobody waits for the answer any more.
    pub(crate) async fn view(&self, projection: &Projection) -> Result<View, Problem> {
        self.in_time(self.begin(projection)).await
    }

    /// The log itself, as far as it is where queries read; as `X-Min-Position` asks if the primary
    /// can be asked, and without waiting for what is not there.
    pub(crate) async fn log(&self) -> Result<View, Problem> {
        self.in_time(self.begin_log()).await
    }

    /// What a reading finds, unless by then nobody waits for the answer any more.
    pub(crate) async fn in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Problem> {
        let read = timeout_at(self.deadline.0, reading).await;
        let read = read.map_err(|_| Problem::new("timeout").retry_after(RETRY_AFTER))?;
        read.map_err(unreadable)
    }

    async fn begin_log(&self) -> Result<View, sqlx::Error> {
        let Some(primary) = self.reads.primary() else {
            return self.open_log(self.reads.pool()).await;
        };
        match self.open_log(self.reads.pool()).await {
            Ok(view) if view.freshness.stale.is_none() => Ok(view),
            Err(error) if !is_away(&error) => Err(error),
            Ok(_) | Err(_) => self.open_log(primary).await,
        }
    }

    async fn open_log(&self, pool: &PgPool) -> Result<View, sqlx::Error> {
        let mut snapshot = projections::as_store(pool, self.store_id).await?;
        let position = projections::history::head(&mut snapshot).await?;
        let stale = self.min_position.filter(|min| position < *min);
        let stale = stale.map(|min| Stale { positions: min - position, seconds: None });
        Ok(View { snapshot, freshness: Freshness { position, stale, lasting: true } })
    }

    async fn begin(&self, projection: &Projection) -> Result<View, sqlx::Error> {
        // Half of what is left at most: the other half is for reading.
        let wait = self.deadline.within(2 * WAIT_MAX) / 2;
        let Some(primary) = self.reads.primary() else {
            self.reached(projection, Instant::now() + wait).await?;
            return self.open(self.reads.pool(), projection).await;
        };
        let end = Instant::now() + wait;
        let here = self.reached(projection, end - wait / 2).await?;
        if here && self.reads.following().reach(projection).is_some() {
            match self.open(self.reads.pool(), projection).await {
                Err(error) if is_away(&error) => tracing::warn!(%error, "replica is away"),
                opened => return opened,
            }
        }
        if let Some(min) = self.min_position {
            poll(primary, projection, min, end).await?;
        }
        self.open(primary, projection).await
    }

    async fn reached(&self, projection: &Projection, end: Instant) -> Result<bool, sqlx::Error> {
        match self.min_position {
            None => Ok(true),
            Some(min) => self.reads.wait_for(projection, min, end).await,
        }
    }

    /// The catalogue and the search index that follows it, which is what the freshness is of.
    pub(crate) async fn indexed(&self) -> Result<(View, search::View), Problem> {
        let mut view = self.view(&catalog::PROJECTION).await?;
        let Freshness { position, .. } = view.freshness;
        let wanted = self.min_position.map_or(0, |min| min.min(position));
        let end = self.deadline.0.min(Instant::now() + INDEX_WAIT_MAX);
        let Some(shown) = self.reads.index().reached(wanted, end).await else {
            // It is being filled; see `follow` of the index for what goes wrong with that.
            return Err(Problem::unavailable(RETRY_AFTER));
        };
        let reach = self.reads.following().reach(&catalog::PROJECTION);
        let lasting = reach.is_some_and(|reach| reach.generation == shown.at.generation);
        view.freshness = self.freshness(&catalog::PROJECTION, position.min(shown.at.position));
        view.freshness.lasting = lasting;
        Ok((view, shown.view))
    }

    async fn open(&self, pool: &PgPool, projection: &Projection) -> Result<View, sqlx::Error> {
        let (snapshot, position) =
            projections::as_store_at(pool, self.store_id, projection.name).await?;
        Ok(View { snapshot, freshness: self.freshness(projection, position) })
    }

    /// Of an answer that shows the projection as it was at `position`.
    fn freshness(&self, projection: &Projection, position: i64) -> Freshness {
        let stale = self.min_position.filter(|min| position < *min).map(|min| {
            let reach = self.reads.following().reach(projection);
            // What was seen of another server, or at another position, says nothing here.
            let reach = reach.filter(|reach| reach.position == position);
            let seconds = reach.map(|reach| reach.behind_seconds);
            Stale { positions: min - position, seconds }
        });
        Freshness { position, stale, lasting: true }
    }
}

impl View {
    /// Where it stands.
    pub(crate) fn position(&self) -> i64 {
        self.freshness.position
    }

    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.snapshot
    }
}

impl FromRequestParts<Reads> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, reads: &Reads) -> Result<Self, Problem> {
        let Caller { store_id, .. } = Caller::from_request_parts(parts, reads).await?;
        let MinPosition(min_position) = MinPosition::from_request_parts(parts, reads).await?;
        let deadline = Deadline::from_request_parts(parts, reads).await?;
        Ok(Reader { store_id, min_position, deadline, reads: reads.clone() })
    }
}

impl IntoResponseParts for Freshness {
    type Error = Infallible;

    fn into_response_parts(self, parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let mut parts = Position(self.position).into_response_parts(parts)?;
        match self.stale {
            None if self.lasting => drop(parts.extensions_mut().insert(AsOf(self.position))),
            None => {}
            Some(stale) => stale.describe(parts.headers_mut()),
        }
        let headers = parts.headers_mut();
        let private = HeaderValue::from_static("private, no-store");
        headers.insert(header::CACHE_CONTROL, private);
        Ok(parts)
    }
}

impl Stale {
    fn describe(self, headers: &mut HeaderMap) {
        headers.insert("x-stale", HeaderValue::from_static("true"));
        headers.insert("x-stale-positions", HeaderValue::from(self.positions));
        if let Some(seconds) = self.seconds {
            let seconds = HeaderValue::try_from(format!("{seconds:.3}"));
            headers.insert("x-stale-seconds", seconds.expect("a number is a header value"));
        }
    }
}

fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| AWAY_CLASSES.iter().any(|class| code.starts_with(class))),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// `503` if the database is away or busy, else `500`.
pub(crate) fn unreadable(error: sqlx::Error) -> Problem {
    if !is_away(&error) {
        return Problem::internal(error);
    }
    // The client hears only that it should come again; the operator wants to know why.
    tracing::warn!(%error, "read models are not available");
    Problem::unavailable(RETRY_AFTER)
}
