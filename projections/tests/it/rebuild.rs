//! Rebuilding and verifying while everything else goes on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use projections::{
    Projection, ProjectionError, Rebuild, as_store, catalog::products, rebuild, verify,
};
use serde_json::json;

use crate::{
    catalog::created,
    db::Db,
    random::{History, Random, fill},
    shop::{STORE, Shop, product},
};

const CATALOG: &Projection = &projections::catalog::PROJECTION;

async fn full() -> Shop {
    let shop = Shop::new().await;
    fill(&shop, &mut Random(3), 120).await;
    shop.project().await;
    shop
}

#[tokio::test]
async fn a_rebuild_equals_what_it_replaces() {
    let shop = full().await;
    for projection in projections::ALL {
        let before = shop.dump(projection).await;
        let seen = Mutex::new((0, 0));
        let progress = |done, all| *seen.lock().unwrap() = (done, all);
        rebuild(&shop.db.owner, projection, &progress).await.unwrap();
        let (done, all) = *seen.lock().unwrap();
        assert!(done == all && done > 0, "{done} of {all}");
        assert_eq!(shop.dump(projection).await, before);
        // And once more, over what the first one left behind.
        rebuild(&shop.db.owner, projection, &|_, _| {}).await.unwrap();
        assert_eq!(shop.dump(projection).await, before);
        assert_eq!(verify(&shop.db.owner, projection).await.unwrap(), []);
    }
}

#[tokio::test]
async fn rebuilt_tables_are_like_new_ones() {
    let shop = full().await;
    let shape = async || -> Vec<String> {
        sqlx::query_scalar(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'read'
              UNION ALL
             SELECT concat_ws(' ', c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relacl,
                              obj_description(c.oid)) FROM pg_class c
              WHERE c.relnamespace = 'read'::regnamespace AND c.relkind = 'r'
              UNION ALL
             SELECT concat_ws(' ', tablename, policyname, roles, cmd, qual, with_check)
               FROM pg_policies WHERE schemaname = 'read'
              UNION ALL
             SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
               FROM pg_constraint WHERE connamespace = 'read'::regnamespace
              UNION ALL
             SELECT concat_ws(' ', attrelid::regclass, attname,
                              row_number() OVER (PARTITION BY attrelid ORDER BY attnum),
                              attnotnull, attgenerated, col_description(attrelid, attnum),
                              atttypid::regtype, attcollation::regcollation) FROM pg_attribute
              WHERE NOT attisdropped AND attrelid IN (SELECT oid FROM pg_class
                                  WHERE relnamespace = 'read'::regnamespace AND relkind = 'r')
                AND NOT attisdropped
              ORDER BY 1",
        )
        .fetch_all(&shop.db.owner)
        .await
        .unwrap()
    };
    let before = shape().await;
    assert!(before.len() > 200);
    for projection in projections::ALL {
        rebuild(&shop.db.owner, projection, &|_, _| {}).await.unwrap();
    }
    assert_eq!(shape().await, before);
}

#[tokio::test]
async fn readers_and_the_projection_itself_go_on_during_rebuilds() {
    let shop = full().await;
    let done = AtomicBool::new(false);
    let reading = async {
        let mut reads = 0;
        while !done.load(Ordering::Relaxed) {
            let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
            assert!(products::get(&mut tx, STORE, product(1).0).await.unwrap().is_some());
            reads += 1;
        }
        reads
    };
    let projecting = async {
        let mut nth = 100;
        while !done.load(Ordering::Relaxed) {
            let stream = ("product", product(nth).0);
            shop.append(STORE, stream, &[created(&format!("p{nth}"), "Bar", &[], 0)]).await;
            projections::catch_up(&shop.db.projector, CATALOG).await.unwrap();
            nth += 1;
        }
    };
    let rebuilding = async {
        for _ in 0..5 {
            rebuild(&shop.db.owner, CATALOG, &|_, _| {}).await.unwrap();
            assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
        }
        done.store(true, Ordering::Relaxed);
    };
    let (reads, (), ()) = tokio::join!(reading, projecting, rebuilding);
    assert!(reads > 10, "{reads}");
    shop.project().await;
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
}

#[tokio::test]
async fn a_row_that_was_tampered_with_is_found() {
    let shop = full().await;
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
    shop.db.sabotage("UPDATE read.catalog_stock_levels SET on_hand = 7777 WHERE location = 'main' AND store_id = '00000000-0000-0000-0000-00000000000a' AND variant_id = (SELECT min(variant_id::text)::uuid FROM read.catalog_stock_levels WHERE location = 'main' AND store_id = '00000000-0000-0000-0000-00000000000a')").await;
    let differences = verify(&shop.db.owner, CATALOG).await.unwrap();
    let sides: Vec<_> = differences.iter().map(|d| (d.table, d.side.as_str())).collect();
    assert_eq!(sides, [("catalog_stock_levels", "live"), ("catalog_stock_levels", "rebuilt")]);
    assert_eq!(differences[0].row["on_hand"], json!(7777));

    shop.db.sabotage("DELETE FROM read.catalog_products").await;
    let missing = verify(&shop.db.owner, CATALOG).await.unwrap();
    assert!(missing.iter().any(|d| d.table == "catalog_products" && d.side == "rebuilt"));

    rebuild(&shop.db.owner, CATALOG, &|_, _| {}).await.unwrap();
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'read\\_%' AND nspname <> 'read_old_catalog'",
    )
    .fetch_one(&shop.db.owner)
    .await
    .unwrap();
    assert_eq!(left, 0, "nothing is left behind");
}

#[tokio::test]
async fn a_rebuild_says_which_rows_will_be_others_before_they_are() {
    let shop = full().await;
    shop.db.sabotage("DELETE FROM read.catalog_products WHERE handle = 'p1'").await;
    shop.db
        .sabotage("UPDATE read.catalog_variants SET title = 'Forged' WHERE sku IS NOT NULL")
        .await;
    let invented = "INSERT INTO read.catalog_stock_items
                    SELECT store_id, gen_random_uuid(), version, updated_at, position
                      FROM read.catalog_stock_items LIMIT 1";
    shop.db.sabotage(invented).await;
    let before = shop.dump(CATALOG).await;

    let mut rebuild = Rebuild::begin(&shop.db.owner, CATALOG).await.unwrap();
    let comparison = rebuild.compare(&|_, _| {}).await.unwrap();
    let head = projections::position(&shop.db.owner, "catalog").await.unwrap();
    assert_eq!(comparison.position, head);
    let counts = comparison.tables.iter().map(|table| {
        (table.table, table.live_only, table.rebuilt_only, table.changed, table.examples.len())
    });
    let counts: Vec<_> = counts.filter(|counts| counts.4 > 0).collect();
    assert_eq!(
        counts,
        [
            ("catalog_products", 0, 2, 0, 2),
            ("catalog_variants", 0, 0, 10, 10),
            ("catalog_stock_items", 1, 0, 0, 1),
        ]
    );
    let changed = &comparison.tables[1].examples[0];
    assert_eq!(changed.live.as_ref().unwrap()["title"], json!("Forged"));
    assert_ne!(changed.rebuilt.as_ref().unwrap()["title"], json!("Forged"));
    assert_eq!(comparison.rows(), 13);
    assert_eq!(shop.dump(CATALOG).await, before, "nothing has been swapped yet");

    assert_eq!(rebuild.swap(&|_, _| {}).await.unwrap(), head);
    rebuild.end().await;
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
}

#[tokio::test]
async fn writes_during_rebuilds_are_neither_lost_nor_doubled() {
    let shop = Shop::new().await;
    let mut random = Random(11);
    let mut history = History::begin(&shop).await;
    for _ in 0..300 {
        history.step(&shop, &mut random).await;
    }
    let done = AtomicBool::new(false);
    let writing = async {
        while !done.load(Ordering::Relaxed) {
            history.step(&shop, &mut random).await;
        }
    };
    let projecting = async {
        while !done.load(Ordering::Relaxed) {
            for projection in projections::ALL {
                projections::catch_up(&shop.db.projector, projection).await.unwrap();
            }
        }
    };
    let rebuilding = async {
        for _ in 0..3 {
            let (owner, none) = (&shop.db.owner, &|_, _| {});
            let [catalog, orders, sales, ledger] = projections::ALL else { panic!("four") };
            let rebuilt = tokio::try_join!(
                rebuild(owner, catalog, none),
                rebuild(owner, orders, none),
                rebuild(owner, sales, none),
                rebuild(owner, ledger, none)
            );
            rebuilt.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(writing, projecting, rebuilding);
    shop.project().await;
    for projection in projections::ALL {
        let rebuilt = shop.dump(projection).await;
        shop.forget(projection).await;
        while projections::catch_up(&shop.db.projector, projection).await.unwrap() > 0 {}
        assert_eq!(shop.dump(projection).await, rebuilt, "{}", projection.name);
    }
}

#[tokio::test]
async fn a_rebuild_that_is_cut_off_changes_nothing_and_the_next_one_begins_anew() {
    let shop = full().await;
    let before = shop.dump(CATALOG).await;
    // At any moment: each takes a little longer until it is cut off, the last one ends.
    let mut cut_off = 0;
    for millis in (0..).step_by(7) {
        let rebuilding = async {
            loop {
                match rebuild(&shop.db.owner, CATALOG, &|_, _| {}).await {
                    // The server has not noticed yet that the one before is gone.
                    Err(ProjectionError::InUse { .. }) => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    outcome => break outcome,
                }
            }
        };
        match tokio::time::timeout(Duration::from_millis(millis), rebuilding).await {
            Ok(outcome) => {
                outcome.unwrap();
                break;
            }
            Err(_) => cut_off += 1,
        }
        assert_eq!(shop.dump(CATALOG).await, before);
    }
    assert!(cut_off > 2, "{cut_off}");
    assert_eq!(shop.dump(CATALOG).await, before);
    assert_eq!(verify(&shop.db.owner, CATALOG).await.unwrap(), []);
}

#[tokio::test]
async fn views_show_the_tables_that_serve() {
    let shop = full().await;
    let make = "CREATE VIEW public.titles WITH (security_barrier=true) AS
                SELECT p.store_id, p.title, v.sku FROM read.catalog_products p
                  JOIN read.catalog_variants v USING (store_id, product_id);
                COMMENT ON VIEW public.titles IS 'kept';
                GRANT SELECT ON public.titles TO conche_reader";
    sqlx::raw_sql(make).execute(&shop.db.owner).await.unwrap();
    rebuild(&shop.db.owner, CATALOG, &|_, _| {}).await.unwrap();
    shop.db.sabotage("UPDATE read.catalog_products SET title = 'Seen'").await;
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM public.titles WHERE title = 'Seen'")
        .fetch_one(&shop.db.owner)
        .await
        .unwrap();
    assert!(seen > 0);
    let kept: String = sqlx::query_scalar(
        "SELECT concat_ws(' ', reloptions, relacl, obj_description(oid)) FROM pg_class
          WHERE relname = 'titles'",
    )
    .fetch_one(&shop.db.owner)
    .await
    .unwrap();
    assert!(kept.contains("security_barrier=true") && kept.contains("conche_reader=r"), "{kept}");
    assert!(kept.contains("kept"), "{kept}");
}

#[tokio::test]
async fn tables_of_another_version_are_not_touched_before_a_rebuild() {
    let shop = full().await;
    let version = CATALOG.version + 1;
    let newer = Projection { version, ..*CATALOG };
    let error = projections::catch_up(&shop.db.projector, &newer).await.unwrap_err();
    let ProjectionError::Outdated { filled_by, version: wanted, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((u32::try_from(filled_by), wanted), (Ok(CATALOG.version), version));
    rebuild(&shop.db.owner, &newer, &|_, _| {}).await.unwrap();
    assert_eq!(projections::catch_up(&shop.db.projector, &newer).await.unwrap(), 0);
    assert!(projections::catch_up(&shop.db.projector, CATALOG).await.is_err(), "the old program");
}

#[tokio::test]
async fn an_owner_need_not_be_a_superuser() {
    let shop = Shop::on(Db::of_plain_owner().await);
    fill(&shop, &mut Random(9), 50).await;
    shop.project().await;
    for projection in projections::ALL {
        rebuild(&shop.db.owner, projection, &|_, _| {}).await.unwrap();
        assert_eq!(verify(&shop.db.owner, projection).await.unwrap(), []);
    }
    let mut tx = as_store(&shop.db.reader, STORE).await.unwrap();
    assert!(products::get(&mut tx, STORE, product(1).0).await.unwrap().is_some());
}
