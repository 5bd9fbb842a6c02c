//! The one call that writes.

use chrono::{DateTime, TimeDelta, Utc};
use event_store::check::check;
use event_store::read::{read_after, read_stream};
use event_store::{AppendError, KeyChange, Loser, NewEvent, Refusal, StreamKey, Unit, partitions};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::account::{OTHER_STORE, STORE};
use crate::db::{Db, new_id};

/// A unit of `events` events.
pub(crate) fn unit(id: Uuid, expected: i64, events: usize) -> Unit {
    let event = || NewEvent {
        event_id: new_id(),
        event_type: "AccountDeposited".into(),
        schema_version: 1,
        payload: br#"{"type":"Deposited","amount":1}"#.to_vec(),
    };
    Unit {
        stream: StreamKey { store_id: STORE, category: "account", id },
        expected,
        command_id: new_id(),
        fingerprint: [7; 32],
        metadata: b"{}".to_vec(),
        keys: vec![],
        events: (0..events).map(|_| event()).collect(),
    }
}

fn claim(key: &str) -> KeyChange {
    KeyChange::Claim { scope: "number", key: key.into() }
}

fn release(key: &str) -> KeyChange {
    KeyChange::Release { scope: "number", key: key.into() }
}

async fn losers(db: &Db, units: Vec<Unit>) -> Vec<Loser> {
    match db.engine().append(units).await {
        Err(AppendError::Refused(losers)) => losers,
        other => panic!("should be refused: {other:?}"),
    }
}

#[tokio::test]
async fn sixteen_writers_leave_no_hole_though_some_are_refused() {
    let db = Db::new().await;
    let mut writers = JoinSet::new();
    for _ in 0..16 {
        let engine = db.engine();
        writers.spawn(async move {
            let stream = new_id();
            let mut positions = vec![];
            for version in 0..10 {
                let done = engine.append(vec![unit(stream, version, 1)]).await.unwrap();
                positions.push(done[0].position);
                // Decided on a version that is over: aborts after it took a position.
                engine.append(vec![unit(stream, version, 1)]).await.unwrap_err();
            }
            positions
        });
    }
    let mut positions: Vec<i64> = writers.join_all().await.into_iter().flatten().collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=160).collect::<Vec<_>>());
    let mut conn = db.writer.acquire().await.unwrap();
    assert_eq!(read_after(&mut conn, 0, 1000).await.unwrap().len(), 160);
}

#[tokio::test]
async fn units_of_one_stream_may_follow_each_other() {
    let db = Db::new().await;
    let (one, two) = (new_id(), new_id());
    let units = vec![unit(one, 0, 2), unit(two, 0, 1), unit(one, 2, 3)];

    let done = db.engine().append(units).await.unwrap();

    let places: Vec<_> = done.iter().map(|done| (done.id, done.version, done.position)).collect();
    assert_eq!(places, [(one, 2, 2), (two, 1, 3), (one, 5, 6)]);
    let mut conn = db.writer.acquire().await.unwrap();
    let events = read_stream(&mut conn, STORE, ("account", one), 0, 100).await.unwrap();
    let positions: Vec<_> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, [1, 2, 4, 5, 6]);
}

#[tokio::test]
async fn a_unit_that_skips_a_version_is_refused() {
    let db = Db::new().await;
    let id = new_id();

    let losers = losers(&db, vec![unit(id, 0, 2), unit(id, 3, 1)]).await;

    assert_eq!(losers, [Loser { unit: 1, why: Refusal::Version { current: 2 } }]);
}

#[tokio::test]
async fn a_stream_that_does_not_exist_has_no_later_version() {
    let db = Db::new().await;

    let losers = losers(&db, vec![unit(new_id(), 5, 1)]).await;

    assert_eq!(losers, [Loser { unit: 0, why: Refusal::Version { current: 0 } }]);
}

#[tokio::test]
async fn a_refused_batch_names_its_losers_and_the_others_go_through_alone() {
    let db = Db::new().await;
    let engine = db.engine();
    let (moved, other) = (new_id(), new_id());
    engine.append(vec![unit(moved, 0, 4)]).await.unwrap();
    let batch = vec![unit(other, 0, 1), unit(moved, 3, 1), unit(moved, 4, 1), unit(new_id(), 0, 1)];

    let losers = losers(&db, batch.clone()).await;

    // The second unit of `moved` builds on the first and falls with it.
    let stale = |unit| Loser { unit, why: Refusal::Version { current: 4 } };
    assert_eq!(losers, [stale(1), stale(2)]);
    let rest: Vec<Unit> = [&batch[0], &batch[3]].into_iter().cloned().collect();
    let done = engine.append(rest).await.unwrap();
    assert_eq!(done.iter().map(|done| done.position).collect::<Vec<_>>(), [5, 6]);
}

#[tokio::test]
async fn a_command_id_counts_once_also_within_one_call() {
    let db = Db::new().await;
    let first = unit(new_id(), 0, 1);
    let again = Unit { command_id: first.command_id, ..unit(new_id(), 0, 1) };
    let other = Unit { fingerprint: [8; 32], ..again.clone() };

    let refused = losers(&db, vec![first.clone(), again.clone(), other.clone()]).await;
    assert_eq!(
        refused,
        [Loser { unit: 1, why: Refusal::Repeated }, Loser { unit: 2, why: Refusal::Reused }]
    );

    db.engine().append(vec![first]).await.unwrap();
    assert_eq!(losers(&db, vec![again]).await, [Loser { unit: 0, why: Refusal::Repeated }]);
    assert_eq!(losers(&db, vec![other]).await, [Loser { unit: 0, why: Refusal::Reused }]);
}

#[tokio::test]
async fn two_stores_may_use_the_same_command_id() {
    let db = Db::new().await;
    let one = unit(new_id(), 0, 1);
    let mut other = Unit { command_id: one.command_id, ..unit(new_id(), 0, 1) };
    other.stream.store_id = OTHER_STORE;

    db.engine().append(vec![one.clone(), other]).await.unwrap();

    let mut third = Unit { command_id: one.command_id, ..unit(new_id(), 0, 1) };
    third.stream.store_id = Uuid::from_u128(3);
    db.engine().append(vec![third]).await.unwrap();
    assert_eq!(losers(&db, vec![one]).await, [Loser { unit: 0, why: Refusal::Repeated }]);
}

#[tokio::test]
async fn all_repeated_commands_are_named_before_any_version() {
    let db = Db::new().await;
    let (id, other) = (new_id(), new_id());
    let done = vec![unit(id, 0, 1), unit(other, 0, 1)];
    db.engine().append(done.clone()).await.unwrap();
    let stale = unit(id, 7, 1);
    let other_body = Unit { fingerprint: [8; 32], ..done[1].clone() };

    let refused =
        losers(&db, vec![stale.clone(), done[0].clone(), unit(new_id(), 0, 1), other_body]);

    let repeated =
        [Loser { unit: 1, why: Refusal::Repeated }, Loser { unit: 3, why: Refusal::Reused }];
    assert_eq!(refused.await, repeated);
    // The same where the versions within the call do not fit together.
    let broken = vec![stale, done[0].clone()];
    assert_eq!(losers(&db, broken).await, [Loser { unit: 1, why: Refusal::Repeated }]);
}

/// The time a command was recorded decides where its id is looked for.
#[tokio::test]
async fn a_command_id_counts_once_across_periods() {
    let db = Db::new().await;
    let engine = db.engine();
    let mut owner = db.admin.acquire().await.unwrap();
    let repeated = [Loser { unit: 0, why: Refusal::Repeated }];
    let first = unit(new_id(), 0, 1);
    engine.append(vec![first.clone()]).await.unwrap();

    // The next period begins before anybody has looked where it is.
    db.sabotage("UPDATE log.head SET recorded_at = period_until").await;
    let second = unit(new_id(), 0, 1);
    engine.append(vec![second.clone()]).await.unwrap();
    assert_eq!(losers(&db, vec![first.clone()]).await, repeated);
    assert_eq!(losers(&db, vec![second.clone()]).await, repeated);

    // Now it is known where it is.
    let since = "SELECT period_from FROM log.head";
    let before: DateTime<Utc> = sqlx::query_scalar(since).fetch_one(&db.admin).await.unwrap();
    assert_eq!(partitions::ensure(&mut owner).await.unwrap(), 1);
    let after: DateTime<Utc> = sqlx::query_scalar(since).fetch_one(&db.admin).await.unwrap();
    assert_eq!(after - before, TimeDelta::days(35));
    assert_eq!(losers(&db, vec![first.clone()]).await, repeated);
    assert_eq!(losers(&db, vec![second]).await, repeated);
    let other = Unit { fingerprint: [8; 32], ..first };
    assert_eq!(losers(&db, vec![other]).await, [Loser { unit: 0, why: Refusal::Reused }]);
}

#[tokio::test]
async fn chains_and_streams_new_and_known_go_in_one_call() {
    let db = Db::new().await;
    let engine = db.engine();
    let (known, chain) = (new_id(), new_id());
    engine.append(vec![unit(known, 0, 3)]).await.unwrap();
    let mut units = vec![unit(known, 3, 2)];
    for version in 0..100 {
        units.push(unit(chain, 2 * version, 2));
        units.push(unit(new_id(), 0, 1));
    }
    units.push(unit(known, 5, 1));

    let done = engine.append(units).await.unwrap();

    let last = done.last().unwrap();
    assert_eq!((last.id, last.version, last.position), (known, 6, 306));
    assert_eq!(done[199].version, 200);
    let report = check(&db.writer, &|_| Ok(()), &mut |_, _| {}).await.unwrap();
    assert_eq!((report.events, report.streams, report.findings), (306, 102, vec![]));
}

#[tokio::test]
async fn a_key_belongs_to_one_stream_of_a_store_at_a_time() {
    let db = Db::new().await;
    let engine = db.engine();
    let (one, two) = (new_id(), new_id());
    let with = |unit: Unit, keys: Vec<KeyChange>| Unit { keys, ..unit };
    engine.append(vec![with(unit(one, 0, 1), vec![claim("a"), claim("b")])]).await.unwrap();

    // Taken, and nothing else of the batch is stored either.
    let refused = losers(&db, vec![with(unit(two, 0, 1), vec![claim("c"), claim("a")])]).await;
    let why = Refusal::KeyTaken { scope: "number".into(), key: "a".into() };
    assert_eq!(refused, [Loser { unit: 0, why }]);
    assert_eq!(engine.key_owner(STORE, "number", "c").await.unwrap(), None);

    // Another store has its own; the owner may claim again; nobody else can release.
    let mut elsewhere = with(unit(two, 0, 1), vec![claim("a")]);
    elsewhere.stream.store_id = OTHER_STORE;
    engine.append(vec![elsewhere]).await.unwrap();
    engine.append(vec![with(unit(one, 1, 1), vec![claim("a")])]).await.unwrap();
    engine.append(vec![with(unit(two, 0, 1), vec![release("a")])]).await.unwrap();
    assert_eq!(engine.key_owner(STORE, "number", "a").await.unwrap(), Some(one));

    // Handed over within one call.
    let hand_over =
        vec![with(unit(one, 2, 1), vec![release("a")]), with(unit(two, 1, 1), vec![claim("a")])];
    engine.append(hand_over).await.unwrap();
    assert_eq!(engine.key_owner(STORE, "number", "a").await.unwrap(), Some(two));
    assert_eq!(engine.key_owner(STORE, "number", "b").await.unwrap(), Some(one));
}

#[tokio::test]
async fn recorded_times_never_go_back_even_if_the_clock_does() {
    let db = Db::new().await;
    let engine = db.engine();
    engine.append(vec![unit(new_id(), 0, 1)]).await.unwrap();
    db.sabotage("UPDATE log.head SET recorded_at = now() + interval '1 hour'").await;

    engine.append(vec![unit(new_id(), 0, 2)]).await.unwrap();

    let mut conn = db.writer.acquire().await.unwrap();
    let events = read_after(&mut conn, 0, 10).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.recorded_at));
    assert!(events[2].recorded_at - events[0].recorded_at > chrono::Duration::minutes(59));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let db = Db::new().await;
    let engine = db.engine();
    let mut large = unit(new_id(), 0, 1);
    large.events[0].payload = vec![b' '; event_store::PAYLOAD_BYTES_MAX + 1];
    let many = unit(new_id(), 0, event_store::EVENTS_PER_COMMAND_MAX + 1);
    let nothing = unit(new_id(), 0, 0);

    for unit in [large, many, nothing] {
        assert!(matches!(engine.append(vec![unit]).await, Err(AppendError::Store(_))));
    }
    let full = (0..4).map(|_| unit(new_id(), 0, event_store::EVENTS_PER_COMMAND_MAX)).collect();
    assert_eq!(engine.append(full).await.unwrap()[3].position, 2000);
}
