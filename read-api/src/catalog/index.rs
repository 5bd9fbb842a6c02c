//! The search index of this process: it lives in memory, is filled from the catalogue's tables when
//! the process begins, and follows them from then on.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use projections::catalog::PROJECTION;
use projections::catalog::documents::{self, ProductDocument};
use search::{Document, Index, SearchError, View};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::follower::Following;

/// Products of one statement while the index is filled: some hundred kilobytes.
const CHUNK: i64 = 1_000;

/// After a failure, until the next try.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What searches see, and how far it is.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) view: View,
    pub(crate) at: At,
}

/// What searches ask. Nothing is there until [`follow`] has filled it.
#[derive(Debug, Default)]
pub(crate) struct ProductIndex(watch::Sender<Option<Shown>>);

/// Why the index does not follow.
#[derive(Debug, thiserror::Error)]
enum IndexError {
    #[error("catalogue could not be read")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error("search index did not come back")]
    Stopped(#[from] JoinError),
}

impl ProductIndex {
    /// What is there once it has reached `position`, or at `end`; `None` if nothing is there by then.
    pub(crate) async fn reached(&self, position: i64, end: Instant) -> Option<Shown> {
        let mut shown = self.0.subscribe();
        let there =
            |shown: &Option<Shown>| shown.as_ref().is_some_and(|s| position <= s.at.position);
        // Neither too late nor too early: what is there then is what there is.
        drop(timeout_at(end, shown.wait_for(there)).await);
        shown.borrow().clone()
    }

    /// Keeps the index at what is seen of the catalogue, for ever. `pool` sees every store.
    ///
    /// Where rows changed for another reason than the next events, it is filled anew beside the old
    /// index, which answers until then; so it is after a failure of its own.
    pub(crate) async fn follow(&self, pool: &PgPool, following: &Following) -> Infallible {
        let mut filled: Option<Filled> = None;
        loop {
            let at = filled.as_ref().map(|filled| filled.at);
            let reach = following.beyond(&PROJECTION, at).await;
            let before = filled.as_ref().filter(|f| f.at.generation == reach.generation);
            match refreshed(pool, before, reach.generation).await {
                Ok(now) => {
                    self.0.send_replace(Some(Shown { view: now.view.clone(), at: now.at }));
                    filled = Some(now);
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(source, "search index stands still: {error}");
                    if !matches!(error, IndexError::Database(_)) {
                        filled = None;
                    }
                    tokio::time::sleep(RETRY_AFTER_FAILURE).await;
                }
            }
        }
    }
}

/// How far what is shown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Number of what the catalogue's tables were filled by; see `Reach`.
    pub(crate) generation: (i64, i64),
    /// Every event up to here has taken effect.
    pub(crate) position: i64,
}

/// An index and what it was filled from.
struct Filled {
    index: Arc<Mutex<Index>>,
    at: At,
    view: View,
}

/// What has been shown up to now, and how far that was.
#[derive(Clone)]
struct Before {
    position: i64,
    view: View,
}

/// Takes in what has changed since `filled`, or everything. What is put and not committed because
/// of a failure is put again the next time.
async fn refreshed(
    pool: &PgPool,
    filled: Option<&Filled>,
    generation: (i64, i64),
) -> Result<Filled, IndexError> {
    let index = match filled {
        Some(filled) => Arc::clone(&filled.index),
        None => Arc::new(Mutex::new(Index::new()?)),
    };
    let before =
        filled.map(|filled| Before { position: filled.at.position, view: filled.view.clone() });
    let (mut tx, position) = documents::begin(pool).await?;
    let (mut after, mut changed) = ((Uuid::nil(), Uuid::nil()), false);
    loop {
        let found = match &before {
            Some(before) => documents::changed(&mut tx, before.position, after, CHUNK).await?,
            None => documents::all(&mut tx, after, CHUNK).await?,
        };
        let Some(last) = found.last() else { break };
        after = (last.store_id, last.product_id);
        let (index, before) = (Arc::clone(&index), before.clone());
        changed |= spawn_blocking(move || put(&index, found, before)).await??;
    }
    // Only to be polite: the pool would do it.
    tx.rollback().await?;
    let view = match before {
        Some(before) if !changed => before.view,
        _ => {
            let index = Arc::clone(&index);
            spawn_blocking(move || locked(&index).commit()).await??
        }
    };
    Ok(Filled { index, at: At { generation, position }, view })
}

/// Returns whether any of `found` was news.
fn put(
    index: &Mutex<Index>,
    found: Vec<ProductDocument>,
    before: Option<Before>,
) -> Result<bool, SearchError> {
    let index = locked(index);
    let mut changed = false;
    for product in found {
        if let Some(before) = &before
            && product.position <= before.position
        {
            // Its stock has changed: most of the time not from some to none, or back.
            let shown = before.view.in_stock(product.store_id, product.product_id)?;
            if shown == Some(product.in_stock) {
                continue;
            }
        }
        index.put(&document(product))?;
        changed = true;
    }
    Ok(changed)
}

fn locked(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

fn document(product: ProductDocument) -> Document {
    let mut codes = product.codes;
    codes.push(product.handle);
    Document {
        store_id: product.store_id,
        product_id: product.product_id,
        title: product.title,
        status: product.status,
        category: product.product_type,
        vendor: product.vendor,
        tags: product.tags,
        codes,
        price: product.price_minor.zip(product.currency),
        in_stock: product.in_stock,
        created_at: product.created_at.timestamp_micros(),
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("at", &self.at).finish_non_exhaustive()
    }
}
