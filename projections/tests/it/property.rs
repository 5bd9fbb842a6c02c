//! Random histories, applied by processes that die at every place, two at a time, at any batch
//! boundary: the tables are always what a replay says.

use std::cell::Cell;

use event_store::Recorded;
use projections::{
    Projection, ProjectionError, analytics, catalog, catch_up, order, parked, payment as ledger,
    rebuild, verify,
};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::{
    random::{History, Random, fill},
    shop::{Shop, next},
};

/// Places at which a projector may die.
const POINTS: [&str; 4] = [
    "projector::after-read",
    "projector::after-apply",
    "projector::before-commit",
    "projector::after-commit",
];

/// Histories per test: some seconds of work.
const SEEDS: u64 = 2;

/// Rounds of appending and projecting per history.
const ROUNDS: u64 = 25;

thread_local! {
    /// Where the projector of this thread's test dies next.
    static DIES_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

fn arm() {
    for point in POINTS {
        let die = move || {
            if DIES_AT.get() == Some(point) {
                DIES_AT.set(None);
                // Like a panic, without its message.
                std::panic::resume_unwind(Box::new("dies, as it should"));
            }
        };
        fail::cfg_callback(point, die).unwrap();
    }
}

/// Applies a batch, by one process or two at once, which die where they were told to.
async fn project(shop: &Shop, projection: &'static Projection, processes: u64) {
    let mut running = JoinSet::new();
    for _ in 0..processes {
        let pool = shop.db.projector.clone();
        running.spawn(async move { catch_up(&pool, projection).await.unwrap() });
    }
    while let Some(ended) = running.join_next().await {
        // Whoever ends otherwise has died where it was told to.
        assert!(ended.is_ok() || DIES_AT.get().is_none());
    }
}

async fn live(shop: &Shop, random: &mut Random) {
    let mut history = History::begin(shop).await;
    let mut died = 0;
    for _ in 0..ROUNDS {
        for _ in 0..=random.below(12) {
            history.step(shop, random).await;
        }
        for projection in projections::ALL {
            let fate = usize::try_from(random.below(6)).unwrap();
            DIES_AT.set(POINTS.get(fate).copied());
            project(shop, projection, 1 + random.below(2)).await;
            died += u64::from(fate < POINTS.len() && DIES_AT.take().is_none());
        }
    }
    assert!(died > ROUNDS, "{died} deaths");
    shop.project().await;
}

#[tokio::test]
async fn whatever_dies_the_tables_are_what_a_replay_says() {
    arm();
    for seed in 1..=SEEDS {
        let shop = Shop::new().await;
        live(&shop, &mut Random(seed)).await;
        for projection in projections::ALL {
            let differences = verify(&shop.db.owner, projection).await.unwrap();
            assert_eq!(differences, [], "seed {seed}");
        }
    }
}

#[tokio::test]
async fn whatever_is_parked_and_comes_later_the_tables_are_what_a_replay_says() {
    arm();
    for seed in 101..=100 + SEEDS {
        let shop = Shop::new().await;
        shop.plant_unknown(seed, 25).await;
        live(&shop, &mut Random(seed)).await;
        for projection in projections::ALL {
            let waiting = parked::list(&shop.db.owner, Some(projection)).await.unwrap();
            assert!(waiting.len() > 1, "seed {seed}: {waiting:?}");
            let differences = verify(&shop.db.owner, projection).await.unwrap();
            assert_eq!(differences, [], "seed {seed}, parked");

            // The next release knows the events; the streams come in any order.
            let next = next(projection);
            if !next.streams_commute {
                let refused = parked::retry(&shop.db.owner, next, &waiting[0]).await;
                assert!(matches!(refused, Err(ProjectionError::NeedsRebuild { .. })));
                rebuild(&shop.db.owner, next, &|_, _| {}).await.unwrap();
                continue;
            }
            for stream in waiting.iter().rev() {
                let resumed = parked::retry(&shop.db.owner, next, stream).await.unwrap().unwrap();
                assert_eq!(resumed.applied, stream.events, "seed {seed}");
                assert_eq!(resumed.parked, None, "seed {seed}");
            }
            let differences = verify(&shop.db.owner, next).await.unwrap();
            assert_eq!(differences, [], "seed {seed}, come later");
        }
    }
}

/// Passes over one event in five that does not begin a stream.
static FORGETFUL: [Projection; 4] = [
    Projection {
        apply: |conn, batch| Box::pin(forget(&catalog::PROJECTION, conn, batch)),
        ..catalog::PROJECTION
    },
    Projection {
        apply: |conn, batch| Box::pin(forget(&order::PROJECTION, conn, batch)),
        ..order::PROJECTION
    },
    Projection {
        apply: |conn, batch| Box::pin(forget(&analytics::PROJECTION, conn, batch)),
        ..analytics::PROJECTION
    },
    Projection {
        apply: |conn, batch| Box::pin(forget(&ledger::PROJECTION, conn, batch)),
        ..ledger::PROJECTION
    },
];

async fn forget(
    of: &'static Projection,
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<(), ProjectionError> {
    let kept = |event: &&Recorded| event.version == 1 || event.position % 5 != 0;
    let kept: Vec<Recorded> = batch.iter().filter(kept).cloned().collect();
    (of.apply)(conn, &kept).await
}

#[tokio::test]
async fn a_projector_with_a_bug_is_found_out() {
    let shop = Shop::new().await;
    fill(&shop, &mut Random(7), 120).await;
    for (buggy, right) in FORGETFUL.iter().zip(projections::ALL) {
        assert_eq!(buggy.name, right.name);
        while catch_up(&shop.db.projector, buggy).await.unwrap() > 0 {}
        let differences = verify(&shop.db.owner, right).await.unwrap();
        assert!(!differences.is_empty(), "{}", right.name);
        rebuild(&shop.db.owner, right, &|_, _| {}).await.unwrap();
        assert_eq!(verify(&shop.db.owner, right).await.unwrap(), []);
    }
}
