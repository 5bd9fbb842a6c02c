//! Reading in windows; a hole stops every reader.

use event_store::StoreError;
use event_store::checkpoint::{checkpoint, lock_checkpoint, try_lock_checkpoint, write_checkpoint};
use event_store::read::{
    Filter, Interest, LOOK_MAX, head, read_after, read_after_filtered, read_stream, read_window,
};

use crate::account::STORE;
use crate::append::unit;
use crate::db::{Db, new_id};

#[tokio::test]
async fn windows_join_without_a_hole_and_without_overlap() {
    let db = Db::new().await;
    db.engine().append((0..25).map(|_| unit(new_id(), 0, 1)).collect()).await.unwrap();
    let mut conn = db.writer.acquire().await.unwrap();

    let (mut position, mut seen) = (0, vec![]);
    loop {
        let window = read_after(&mut conn, position, 10).await.unwrap();
        let Some(last) = window.last() else { break };
        position = last.position;
        seen.extend(window.iter().map(|event| event.position));
    }

    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    assert_eq!(head(&mut conn).await.unwrap(), 25);
}

#[tokio::test]
async fn a_missing_event_stops_a_reader_wherever_it_is() {
    let db = Db::new().await;
    let id = new_id();
    db.engine().append(vec![unit(id, 0, 10)]).await.unwrap();
    db.sabotage("DELETE FROM log.events WHERE position IN (5, 10)").await;
    let mut conn = db.writer.acquire().await.unwrap();

    let in_between = read_after(&mut conn, 0, 100).await;
    let first = read_after(&mut conn, 4, 100).await;
    let whole_window = read_after(&mut conn, 4, 1).await;
    let end = read_after(&mut conn, 9, 100).await;
    let stream = read_stream(&mut conn, STORE, ("account", id), 2, 100).await;

    assert!(matches!(in_between, Err(StoreError::Gap { expected: 5, found: Some(6) })));
    assert!(matches!(first, Err(StoreError::Gap { expected: 5, found: Some(6) })));
    assert!(matches!(whole_window, Err(StoreError::Gap { expected: 5, found: None })));
    assert!(matches!(end, Err(StoreError::Gap { expected: 10, found: None })));
    assert!(matches!(stream, Err(StoreError::Gap { expected: 5, found: Some(6) })));
}

#[tokio::test]
async fn a_filter_passes_over_events_and_says_how_far_it_looked() {
    let db = Db::new().await;
    let mut other = unit(new_id(), 0, 4);
    other.stream.category = "loan";
    other.events[1].event_type = "LoanRepaid".into();
    db.engine().append(vec![unit(new_id(), 0, 3), other, unit(new_id(), 0, 3)]).await.unwrap();
    let mut conn = db.writer.acquire().await.unwrap();
    let mut read = async |after, limit, filter| {
        let found = read_after_filtered(&mut conn, after, limit, filter).await.unwrap();
        let positions: Vec<i64> = found.events.iter().map(|event| event.position).collect();
        (positions, found.through)
    };

    let loans = Filter { categories: &["loan"], types: &[] };
    assert_eq!(read(0, 3, loans).await, (vec![4, 5, 6], 6));
    assert_eq!(read(6, 3, loans).await, (vec![7], 10));
    assert_eq!(read(10, 3, loans).await, (vec![], 10));
    let both = Filter { categories: &["loan", "account"], types: &[] };
    assert_eq!(read(2, 5, both).await, (vec![3, 4, 5, 6, 7], 7));
    let repaid = Filter { categories: &[], types: &["LoanRepaid"] };
    assert_eq!(read(0, 5, repaid).await, (vec![5], 10));
    let neither = Filter { categories: &["account"], types: &["LoanRepaid"] };
    assert_eq!(read(0, 5, neither).await, (vec![], 10));
    assert_eq!(read(8, 5, Filter::default()).await, (vec![9, 10], 10));
}

#[tokio::test]
async fn a_window_leaves_out_what_is_of_no_interest_and_still_stops_at_a_hole() {
    let db = Db::new().await;
    let mut other = unit(new_id(), 0, 4);
    other.stream.category = "loan";
    other.events[1].event_type = "LoanRepaid".into();
    db.engine().append(vec![unit(new_id(), 0, 3), other, unit(new_id(), 0, 3)]).await.unwrap();
    let mut conn = db.writer.acquire().await.unwrap();
    let mut read = async |after, limit, interest| {
        let found = read_window(&mut conn, after, limit, interest).await?;
        let positions: Vec<i64> = found.events.iter().map(|event| event.position).collect();
        Ok::<_, StoreError>((positions, found.through))
    };

    let loans = Interest { categories: &["loan"], except: &[] };
    assert_eq!(read(0, 5, loans).await.unwrap(), (vec![4, 5], 5));
    assert_eq!(read(5, 100, loans).await.unwrap(), (vec![6, 7], 10));
    assert_eq!(read(7, 2, loans).await.unwrap(), (vec![], 9));
    assert_eq!(read(10, 5, loans).await.unwrap(), (vec![], 10));
    let open = Interest { categories: &["loan"], except: &["LoanRepaid"] };
    assert_eq!(read(0, 100, open).await.unwrap(), (vec![4, 6, 7], 10));

    db.sabotage("DELETE FROM log.events WHERE position IN (2, 9, 10)").await;
    let of_no_interest = read(0, 100, loans).await;
    assert!(matches!(of_no_interest, Err(StoreError::Gap { expected: 2, found: Some(3) })));
    assert_eq!(read(2, 100, loans).await.unwrap(), (vec![4, 5, 6, 7], 8));
    let end = read(8, 100, loans).await;
    assert!(matches!(end, Err(StoreError::Gap { expected: 9, found: None })));
}

#[tokio::test]
async fn a_filter_that_matches_little_is_looked_for_piece_by_piece() {
    let db = Db::new().await;
    db.engine().append(vec![unit(new_id(), 0, 3)]).await.unwrap();
    db.sabotage(&format!("UPDATE log.head SET position = {}", LOOK_MAX + 5)).await;
    let mut late = unit(new_id(), 0, 1);
    late.stream.category = "loan";
    db.engine().append(vec![late]).await.unwrap();
    let mut conn = db.writer.acquire().await.unwrap();
    let loans = Filter { categories: &["loan"], types: &[] };

    let first = read_after_filtered(&mut conn, 0, 10, loans).await.unwrap();
    let second = read_after_filtered(&mut conn, first.through, 10, loans).await.unwrap();

    assert_eq!((first.events.len(), first.through, first.more), (0, LOOK_MAX, true));
    assert_eq!((second.events.len(), second.through, second.more), (1, LOOK_MAX + 6, false));
    let both = Filter::default();
    let limited = read_after_filtered(&mut conn, 0, 2, both).await.unwrap();
    assert_eq!((limited.events.len(), limited.through, limited.more), (2, 2, true));
}

#[tokio::test]
async fn a_checkpoint_moves_with_the_transaction_and_belongs_to_one_at_a_time() {
    let db = Db::new().await;
    let mut one = db.writer.begin().await.unwrap();
    assert_eq!(lock_checkpoint(&mut one, "sales").await.unwrap(), 0);
    write_checkpoint(&mut one, "sales", 7).await.unwrap();
    one.commit().await.unwrap();

    let mut one = db.writer.begin().await.unwrap();
    let mut two = db.writer.begin().await.unwrap();
    assert_eq!(lock_checkpoint(&mut one, "sales").await.unwrap(), 7);
    assert_eq!(try_lock_checkpoint(&mut two, "sales").await.unwrap(), None);
    write_checkpoint(&mut one, "sales", 9).await.unwrap();
    one.rollback().await.unwrap();

    assert_eq!(try_lock_checkpoint(&mut two, "sales").await.unwrap(), Some(7));
    assert_eq!(checkpoint(&mut two, "never").await.unwrap(), 0);
}
