//! INV-5: the read models are what a replay of the log from position 1 makes of it.

use event_store::{StoreError, pool};
use futures::future::try_join_all;
use projections::{ALL, Projection, ProjectionError};
use sqlx::PgPool;

use crate::{Evidence, Violation};

const INVARIANT: &str = "INV-5";

/// One to replay and one to ask, for each read model.
const CONNECTIONS_MAX: u32 = 6;

/// Events up to which a log is replayed twice: the tables then equal two replays, so these equal
/// each other.
const TWICE_MAX: i64 = 50_000;

/// Every read model. Needs the program to be away or idle only for being quick.
pub(super) async fn check(evidence: &Evidence) -> anyhow::Result<Vec<Violation>> {
    let owner = pool::connect_lazy(evidence.pg.clone(), pool::Role::Owner, CONNECTIONS_MAX);
    let checks = ALL.iter().map(|projection| check_one(evidence, &owner, projection));
    let violations = try_join_all(checks).await;
    owner.close().await;
    Ok(violations?.concat())
}

async fn check_one(
    evidence: &Evidence,
    owner: &PgPool,
    projection: &Projection,
) -> anyhow::Result<Vec<Violation>> {
    let name = projection.name;
    let violation = |what| Violation { invariant: INVARIANT, what: format!("{name} {what}") };
    let mut conn = owner.acquire().await?;
    let head = event_store::read::head(&mut conn).await?;
    drop(conn);
    let position = projections::position(owner, name).await?;
    if position > head {
        // Nothing to compare with. That it is so is a matter of the log, INV-9.
        return Ok(vec![]);
    }
    let mut violations = Vec::new();
    if evidence.quiet && position < head {
        violations.push(violation(format!("is at {position}, the log at {head}")));
    }
    let times = if evidence.quiet && head <= TWICE_MAX { 2 } else { 1 };
    for _ in 0..times {
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
