//! Waiting until the program has nothing left to do.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::sleep;

/// How long after all faults are healed everything may take to come to rest.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is still to be done, as sentences; no row when all is quiet. What is due in more than half
/// a minute is a hold that has not ended: nobody has to do anything about it.
const UNDONE: [&str; 2] = [
    "SELECT format('projection %s is at %s of %s', c.name, c.position, h.position)
       FROM log.checkpoints c, log.head h
      WHERE c.name = ANY ($1) AND c.position < h.position",
    "SELECT format('%s %s is due at %s, leased until %s, after %s failures: %s',
                   process, id, due_at, leased_until, attempts, last_error)
       FROM process.work
      WHERE $1::text[] IS NOT NULL
        AND (due_at < now() + interval '30 seconds' OR leased_until > now() OR attempts > 0)",
];

/// Waits until nothing is left to do; gives what is, if it takes too long.
pub(crate) async fn wait(options: &PgConnectOptions) -> anyhow::Result<Vec<String>> {
    let began = Instant::now();
    let mut conn = PgConnection::connect_with(options).await?;
    loop {
        let undone = undone(&mut conn).await?;
        if undone.is_empty() || PATIENCE < began.elapsed() {
            conn.close().await?;
            return Ok(undone);
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn undone(conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let names: Vec<&str> = projections::ALL.iter().map(|projection| projection.name).collect();
    let mut undone = Vec::new();
    for question in UNDONE {
        let rows = sqlx::query(AssertSqlSafe(question)).bind(&names).fetch_all(&mut *conn).await?;
        for row in rows {
            undone.push(row.try_get(0)?);
        }
    }
    Ok(undone)
}
