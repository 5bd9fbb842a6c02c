//! INV-5: the read models are what a replay of the log from position 1 makes of it.

use std::time::Duration;

use event_store::{StoreError, pool};
use futures::future::try_join_all;
use projections::{ALL, Projection, ProjectionError};
use sqlx::PgPool;

use crate::{Evidence, Violation};

const INVARIANT: &str = "INV-5";

/// One to replay and two to ask, for each read model.
const CONNECTIONS_MAX: u32 = 9;

/// How long a read model may take for what was appended just now, by a timer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Every read model, by so many replays: tables that equal two of them say that these are equal,
/// too. Needs the program to be away or idle only for being quick.
pub(super) async fn check(evidence: &Evidence, replays: u32) -> anyhow::Result<Vec<Violation>> {
    let owner = pool::connect_lazy(evidence.pg.clone(), pool::Role::Owner, CONNECTIONS_MAX);
    let checks = ALL.iter().map(|projection| check_one(evidence, &owner, projection, replays));
    let violations = try_join_all(checks).await;
    owner.close().await;
    Ok(violations?.concat())
}

async fn check_one(
    evidence: &Evidence,
    owner: &PgPool,
    projection: &Projection,
    replays: u32,
) -> anyhow::Result<Vec<Violation>> {
    let name = projection.name;
    let violation = |what| Violation { invariant: INVARIANT, what: format!("{name} {what}") };
    let mut conn = owner.acquire().await?;
    let head = event_store::read::head(&mut conn).await?;
    let mut violations = Vec::new();
    if evidence.quiet && !projections::wait_for(owner, &[name], head, PATIENCE).await? {
        violations.push(violation(format!("is behind the log, which is at {head}")));
    }
    if projections::position(owner, name).await? > event_store::read::head(&mut conn).await? {
        // Nothing to compare with. That it is so is a matter of the log, INV-9.
        return Ok(vec![]);
    }
    drop(conn);
    // A replay leaves out what is parked; of what the program itself has stored, nothing may be.
    let parked = projections::parked::list(owner, Some(projection)).await?;
    violations.extend(parked.into_iter().map(|it| {
        violation(format!("cannot apply the event at position {}: {}", it.position, it.reason))
    }));
    for _ in 0..replays {
        match projections::verify(owner, projection).await {
            Ok(differences) => violations.extend(differences.into_iter().map(|it| {
                violation(format!("differs, {} has only {}: {}", it.table, it.side, it.row))
            })),
            Err(
                error @ (ProjectionError::Poison { .. }
                | ProjectionError::Outdated { .. }
                | ProjectionError::Store(StoreError::Gap { .. } | StoreError::Decode { .. })),
            ) => violations.push(violation(format!("cannot be replayed: {error}"))),
            Err(error) => return Err(error.into()),
        }
        if !violations.is_empty() {
            break;
        }
    }
    Ok(violations)
}
