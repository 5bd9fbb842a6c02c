//! The size of a batch does not matter, and neither does when the process dies.

use event_store::{
    checkpoint::{lock_checkpoint, write_checkpoint},
    read::{read_after, read_window},
};
use projections::Projection;

use crate::{
    random::{Random, fill},
    shop::Shop,
};

/// Applies a batch of `size`, and commits it or dies before. Returns how many events it had.
async fn apply(shop: &Shop, projection: &Projection, size: i64, commit: bool) -> i64 {
    let mut tx = shop.db.projector.begin().await.unwrap();
    // Thousands of commits, none of which has to survive this test.
    sqlx::raw_sql("SET LOCAL search_path TO read; SET LOCAL synchronous_commit TO off")
        .execute(&mut *tx)
        .await
        .unwrap();
    let position = lock_checkpoint(&mut tx, projection.name).await.unwrap();
    let (batch, through) = if size == 1 {
        // Every event, whether the projection has asked for it or not.
        let batch = read_after(&mut tx, position, size).await.unwrap();
        let through = position + i64::try_from(batch.len()).unwrap();
        (batch, through)
    } else {
        let window = read_window(&mut tx, position, size, projection.interest()).await.unwrap();
        (window.events, window.through)
    };
    (projection.apply)(&mut tx, &batch).await.unwrap();
    write_checkpoint(&mut tx, projection.name, through).await.unwrap();
    if commit {
        tx.commit().await.unwrap();
    }
    through - position
}

#[tokio::test]
async fn the_size_of_a_batch_does_not_matter() {
    for seed in 1..=3 {
        let shop = Shop::new().await;
        let mut random = Random(seed);
        fill(&shop, &mut random, 120).await;
        for projection in projections::ALL {
            while apply(&shop, projection, 1, true).await > 0 {}
            let one_by_one = shop.dump(projection).await;
            assert!(one_by_one.iter().all(|(_, rows)| rows.as_array().unwrap().len() > 1));

            shop.forget(projection).await;
            while apply(&shop, projection, 500, true).await > 0 {}
            assert_eq!(shop.dump(projection).await, one_by_one, "seed {seed}, batches of 500");

            shop.forget(projection).await;
            loop {
                let size = i64::try_from(2 + random.below(40)).unwrap();
                if apply(&shop, projection, size, true).await == 0 {
                    break;
                }
            }
            assert_eq!(shop.dump(projection).await, one_by_one, "seed {seed}, batches of any size");
        }
    }
}

#[tokio::test]
async fn a_batch_that_was_not_committed_takes_effect_once() {
    let shop = Shop::new().await;
    let mut random = Random(42);
    fill(&shop, &mut random, 120).await;
    shop.project().await;
    for projection in projections::ALL {
        let expected = shop.dump(projection).await;
        shop.forget(projection).await;
        loop {
            let size = i64::try_from(1 + random.below(60)).unwrap();
            let commit = random.below(2) == 0;
            if apply(&shop, projection, size, commit).await == 0 {
                break;
            }
        }
        assert_eq!(shop.dump(projection).await, expected);
    }
}
