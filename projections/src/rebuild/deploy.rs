//! A program that was changed sees to its tables before it serves with them.

use std::{sync::Mutex, time::Duration};

use sqlx::PgPool;
use tokio::{sync::watch, time::Instant};

use super::Rebuild;
use crate::{Projection, ProjectionError};

/// How soon a process that stands by looks again: how late it notices that another one is done.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Between two lines about the same rebuild.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// How the tables of a projection stand to the program.
enum Fit {
    /// They are of its version, or nobody has filled them yet.
    Ready,
    /// An older version has filled them.
    Older(i32),
    /// A newer version has filled them.
    Newer(i32),
}

/// Returns once the tables of a projection are of this program's version, or `shutdown` says `true`.
/// Tables of an older version are rebuilt beside what serves, which goes on serving what it has; of
/// several processes one does it and the others wait for it. Tables of a newer version belong to a
/// newer program: this one stands by until they are gone. Failures are logged and tried again.
/// `owner` is a pool of `Role::Owner`.
pub async fn prepare(owner: &PgPool, projection: &Projection, mut shutdown: watch::Receiver<bool>) {
    let name = projection.name;
    let preparing = async {
        // Said once, and again when it changes.
        let mut said = String::new();
        loop {
            let why = match bring_up_to_date(owner, projection).await {
                Ok(None) => return,
                Ok(Some(why)) => why,
                Err(error) => {
                    let source = std::error::Error::source(&error);
                    source.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
                }
            };
            if why != said {
                tracing::warn!(projection = name, "waits: {why}");
                said = why;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        () = preparing => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// `None` if the tables are of this version now; else what is waited for.
async fn bring_up_to_date(
    owner: &PgPool,
    projection: &Projection,
) -> Result<Option<String>, ProjectionError> {
    let (name, version) = (projection.name, projection.version);
    let older = match fit(owner, projection).await? {
        Fit::Ready => return Ok(None),
        Fit::Newer(newer) => {
            return Ok(Some(format!(
                "its tables are of version {newer}, this program is at {version}: it stands by"
            )));
        }
        Fit::Older(older) => older,
    };
    let mut rebuild = match Rebuild::begin(owner, projection).await {
        Err(ProjectionError::InUse { .. }) => {
            return Ok(Some("another process rebuilds its tables".to_owned()));
        }
        begun => begun?,
    };
    let outcome = async {
        // Somebody may have been faster.
        if let Fit::Older(_) = fit(owner, projection).await? {
            tracing::warn!(
                projection = name,
                "its tables are of version {older}, this program is at {version}: they are rebuilt \
                 and serve as they are meanwhile"
            );
            let position = rebuild_with_report(&mut rebuild, name).await?;
            tracing::warn!(projection = name, position, "its tables are rebuilt and swapped in");
        }
        Ok(None)
    };
    let outcome = outcome.await;
    rebuild.end().await;
    outcome
}

async fn rebuild_with_report(
    rebuild: &mut Rebuild<'_>,
    name: &str,
) -> Result<i64, ProjectionError> {
    let reported = Mutex::new(Instant::now());
    let progress = move |done: u64, of: u64| {
        let Ok(mut reported) = reported.lock() else { return };
        if reported.elapsed() >= REPORT_EVERY {
            *reported = Instant::now();
            tracing::info!(projection = name, done, of, "being rebuilt");
        }
    };
    let comparison = rebuild.compare(&progress).await?;
    for table in &comparison.tables {
        let (old, new, changed) = (table.live_only, table.rebuilt_only, table.changed);
        tracing::info!(projection = name, table.table, old, new, changed, "rows that differ");
    }
    rebuild.swap(&progress).await
}

async fn fit(owner: &PgPool, projection: &Projection) -> Result<Fit, sqlx::Error> {
    let filled_by = sqlx::query_scalar!(
        "SELECT version FROM read.projection_states WHERE name = $1",
        projection.name
    );
    let filled_by = filled_by.fetch_optional(owner).await?;
    let version = i32::try_from(projection.version).expect("versions are small");
    Ok(match filled_by {
        Some(older) if older < version => Fit::Older(older),
        Some(newer) if newer > version => Fit::Newer(newer),
        _ => Fit::Ready,
    })
}
