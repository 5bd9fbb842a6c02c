//! What every query works with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use projections::analytics::KeptFigures;
use projections::{Projection, history};
use sqlx::PgPool;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::cache::{Cache, CacheCounts};
use crate::catalog::ProductIndex;
use crate::follower::{Follower, Following};
use crate::live::Shelf;

/// Where queries read, and what they may remember.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Role `conche_reader`; on a replica, if there is one.
    pub reader: PgPool,
    /// Role `conche_projector` on the same server: looks how far the read models are there. One
    /// connection is enough.
    pub follower: PgPool,
    /// Where `reader` is a replica: role `conche_reader` on the primary, for what the replica does
    /// not have yet and for when it is away.
    pub primary: Option<PgPool>,
    /// Whether answers about the catalogue are kept.
    pub cached: bool,
}

/// State of the query API. Cheap to clone.
#[derive(Clone)]
pub struct Reads(Arc<Parts>);

struct Parts {
    sources: Sources,
    following: Following,
    index: ProductIndex,
    cache: Option<Cache>,
    shelf: Shelf,
    figures: KeptFigures,
    /// Who looks for the position of a time.
    times: Mutex<()>,
}

impl Reads {
    /// Nothing is known, and nothing kept, until [`Reads::follow`] runs.
    pub fn new(sources: Sources) -> Reads {
        let cache = sources.cached.then(Cache::new);
        let (following, index) = (Following::default(), ProductIndex::default());
        Reads(Arc::new(Parts {
            sources,
            following,
            index,
            cache,
            shelf: Shelf::default(),
            figures: KeptFigures::new(),
            times: Mutex::default(),
        }))
    }

    /// The one task of the process that looks how far the read models are, until `stop` says `true`
    /// or its sender is gone. `wakeups` changes when something was appended to the log; without
    /// that it shows a quarter of a second late.
    pub async fn follow(self, wakeups: watch::Receiver<i64>, stop: watch::Receiver<bool>) {
        let Parts { sources, following, index, cache, .. } = &*self.0;
        let follower = Follower::new(&sources.follower, following, cache.is_some());
        tokio::select! {
            () = follower.run(wakeups, stop) => {}
            never = index.follow(&sources.follower, following) => match never {},
        }
        following.feeds.end();
    }

    /// How often the cache was asked; `None` if it is off.
    pub fn cache_counts(&self) -> Option<CacheCounts> {
        self.cache().map(Cache::counts)
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.0.sources.reader
    }

    /// The first position that was recorded at `time` or later. One at a time: a crowd must not
    /// stand in the way of the follower, whose connections these are.
    pub(crate) async fn position_at(&self, time: DateTime<Utc>) -> Result<i64, sqlx::Error> {
        let _turn = self.0.times.lock().await;
        history::position_at(&self.0.sources.follower, time).await
    }

    pub(crate) fn primary(&self) -> Option<&PgPool> {
        self.0.sources.primary.as_ref()
    }

    pub(crate) fn following(&self) -> &Following {
        &self.0.following
    }

    pub(crate) fn index(&self) -> &ProductIndex {
        &self.0.index
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    pub(crate) fn figures(&self) -> &KeptFigures {
        &self.0.figures
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }

    /// Waits until the projection has reached `position` where [`Reads::pool`] reads, at most until
    /// `end`. Does not wait for what is not in the log.
    pub(crate) async fn wait_for(
        &self,
        projection: &Projection,
        position: i64,
        end: Instant,
    ) -> Result<bool, sqlx::Error> {
        let is_primary = self.primary().is_none();
        let waited = self.following().wait_for(projection, position, (end, is_primary));
        if let Some(reached) = waited.await {
            return Ok(reached);
        }
        if !is_primary {
            // The replica does not answer, or the process has just begun.
            return Ok(false);
        }
        poll(self.pool(), projection, position, end).await
    }
}

/// As [`Reads::wait_for`], by asking the database again and again.
pub(crate) async fn poll(
    pool: &PgPool,
    projection: &Projection,
    position: i64,
    end: Instant,
) -> Result<bool, sqlx::Error> {
    let left = end.checked_duration_since(Instant::now()).unwrap_or(Duration::ZERO);
    projections::wait_for(pool, &[projection.name], position, left).await
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").field("sources", &self.0.sources).finish_non_exhaustive()
    }
}
