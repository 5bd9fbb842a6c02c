//! The same history every time, also from the middle on.

use super::*;

fn arguments() -> BenchLoad {
    let until = "2026-11-01".parse().unwrap();
    BenchLoad { products: 60, orders: 400, first: None, seed: 7, store: "bench".to_owned(), until }
}

/// All that follows the first events of a load.
fn batches(arguments: &BenchLoad, there: i64) -> anyhow::Result<Vec<Batch>> {
    let (sender, mut receiver) = mpsc::channel(1_000);
    make(&Plan::new(arguments), there, &sender)?;
    drop(sender);
    let mut batches = Vec::new();
    while let Ok(batch) = receiver.try_recv() {
        batches.push(batch);
    }
    Ok(batches)
}

fn texts(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(|batch| &batch.units).map(|unit| format!("{unit:?}")).collect()
}

#[test]
fn the_same_seed_makes_the_same_events_and_another_seed_others() {
    let one = texts(&batches(&arguments(), 0).unwrap());
    assert!(400 * 12 < one.len());
    assert!(one == texts(&batches(&arguments(), 0).unwrap()));
    let other = texts(&batches(&BenchLoad { seed: 8, ..arguments() }, 0).unwrap());
    assert!(one[0] != other[0]);
}

#[test]
fn a_load_that_was_cut_short_goes_on_with_the_next_batch() {
    let all = batches(&arguments(), 0).unwrap();
    let there: usize = all[..2].iter().map(|batch| batch.events).sum();
    let rest = batches(&arguments(), i64::try_from(there).unwrap()).unwrap();
    assert!(texts(&all[2..]) == texts(&rest));
    let some = batches(&BenchLoad { first: Some(150), ..arguments() }, 0).unwrap();
    let there: usize = some.iter().map(|batch| batch.events).sum();
    let rest = batches(&arguments(), i64::try_from(there).unwrap()).unwrap();
    assert!(texts(&all) == [texts(&some), texts(&rest)].concat());
    assert!(batches(&arguments(), 17).is_err(), "somebody used the store in the middle");
    assert!(batches(&arguments(), 1_000_000).is_err(), "somebody used the store afterwards");
}
