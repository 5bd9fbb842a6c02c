//! An auditor's check finds each kind of sabotage, and nothing on a sound log.

use event_store::check::{Fault, Report, check};

use crate::append::unit;
use crate::db::{Db, new_id};

/// 1: a, 2: b, 3–5: a, 6: b
async fn two_streams() -> Db {
    let db = Db::new().await;
    let (a, b) = (new_id(), new_id());
    let units = vec![unit(a, 0, 1), unit(b, 0, 1), unit(a, 1, 3), unit(b, 1, 1)];
    db.engine().append(units).await.unwrap();
    db
}

async fn checked(db: &Db) -> Report {
    let decode = |event: &event_store::Recorded| {
        serde_json::from_slice::<serde_json::Value>(&event.payload)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    check(&db.writer, &decode, &mut |_, _| {}).await.unwrap()
}

async fn faults(db: &Db) -> Vec<(i64, Fault)> {
    let report = checked(db).await;
    report.findings.into_iter().map(|finding| (finding.position, finding.fault)).collect()
}

#[tokio::test]
async fn a_sound_log_has_no_findings() {
    let db = two_streams().await;

    let report = checked(&db).await;

    assert_eq!((report.head, report.events, report.streams), (6, 6, 2));
    assert_eq!((report.findings, report.findings_total), (vec![], 0));
}

#[tokio::test]
async fn a_long_log_is_checked_in_windows() {
    let db = Db::new().await;
    let id = new_id();
    for n in 0..5 {
        db.engine().append(vec![unit(id, n * 500, 500)]).await.unwrap();
    }
    let mut reached = vec![];

    let report =
        check(&db.writer, &|_| Ok(()), &mut |position, head| reached.push((position, head))).await;

    assert_eq!(reached, [(1000, 2500), (2000, 2500), (2500, 2500)]);
    assert_eq!(report.unwrap().findings_total, 0);
}

#[tokio::test]
async fn one_changed_byte_is_found() {
    let db = two_streams().await;
    db.sabotage("UPDATE log.events SET payload = set_byte(payload, 9, 90) WHERE position = 4")
        .await;
    assert_eq!(faults(&db).await, [(4, Fault::Hash)]);
}

#[tokio::test]
async fn a_changed_column_is_found() {
    for change in [
        "recorded_at = recorded_at + interval '1 microsecond'",
        "store_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        "event_type = 'AccountWithdrawn'",
        "schema_version = -1",
        "event_id = stream_id",
        "metadata = '{ }'",
        "leaf_hash = 'short'",
    ] {
        let db = two_streams().await;
        db.sabotage(&format!("UPDATE log.events SET {change} WHERE position = 6")).await;
        assert!(faults(&db).await.contains(&(6, Fault::Hash)), "{change}");
    }
}

#[tokio::test]
async fn a_deleted_row_is_found_in_the_log_and_in_its_stream() {
    let db = two_streams().await;
    db.sabotage("DELETE FROM log.events WHERE position = 3").await;
    let found = faults(&db).await;
    assert_eq!(found, [(3, Fault::Missing { through: 3 }), (4, Fault::Version { version: 3 })]);
}

#[tokio::test]
async fn a_cut_tail_is_found() {
    let db = two_streams().await;
    db.sabotage("DELETE FROM log.events WHERE position >= 5").await;
    let found = faults(&db).await;
    assert_eq!(found[0], (5, Fault::Missing { through: 6 }));
    assert!(found.contains(&(6, Fault::Head { last: 4 })), "{found:?}");
    let streams = found.iter().filter(|(_, fault)| matches!(fault, Fault::Stream { .. }));
    assert_eq!(streams.count(), 2);
}

#[tokio::test]
async fn swapped_versions_are_found() {
    let db = two_streams().await;
    db.sabotage("UPDATE log.events SET version = 99 WHERE position = 3").await;
    db.sabotage("UPDATE log.events SET version = 2 WHERE position = 4").await;
    db.sabotage("UPDATE log.events SET version = 3 WHERE position = 3").await;
    let found = faults(&db).await;
    assert!(found.contains(&(3, Fault::Hash)), "{found:?}");
    assert!(found.contains(&(3, Fault::Version { version: 3 })), "{found:?}");
    assert!(found.contains(&(4, Fault::Hash)), "{found:?}");
}

#[tokio::test]
async fn a_stream_row_that_lies_is_found() {
    let db = two_streams().await;
    db.sabotage("UPDATE log.streams SET version = version + 1 WHERE position = 6").await;
    let found = faults(&db).await;
    assert!(matches!(found[0], (6, Fault::Stream { version: 3, .. })), "{found:?}");
    assert_eq!(found[1], (6, Fault::Sum { versions: 7 }));
}

#[tokio::test]
async fn an_event_that_does_not_decode_is_found() {
    let db = Db::new().await;
    let mut broken = unit(new_id(), 0, 2);
    broken.events[1].payload = b"{".to_vec();
    db.engine().append(vec![broken]).await.unwrap();
    let found = faults(&db).await;
    assert!(matches!(found[..], [(2, Fault::Decode(_))]), "{found:?}");
}
