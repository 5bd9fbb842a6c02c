//! Many purchases at a provider that fails in every way it can, in virtual time: each follows from
//! a seed. Whatever happens on the way, once the faults are over nobody has paid twice, nobody has
//! paid for nothing, and nothing is stuck.
//!
//! Seeds that ever failed stand in `tests/schedules.txt` and run first. `CONCHE_SCHEDULES=10000`
//! runs that many, from `CONCHE_SCHEDULES_FROM` on; a single one is looked at with
//! `CONCHE_SCHEDULES=1 CONCHE_SCHEDULES_FROM=<seed>`.

use std::{fmt::Write as _, fs, sync::Arc, time::Instant};

use futures::{StreamExt as _, stream};

use crate::db::Db;

mod check;
mod plan;
mod play;

use play::Play;

/// How many run if nobody says otherwise: some seconds.
const USUALLY: u64 = 60;

/// Schedules at once. Each waits for the disk most of the time.
const AT_ONCE: usize = 16;

/// Seeds that ever failed, one a line; what stands after a `#` is for people.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schedules.txt");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_schedule_of_the_provider_charges_twice_or_for_nothing_or_leaves_anything_stuck() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let many = number("CONCHE_SCHEDULES").unwrap_or(USUALLY);
    let from = number("CONCHE_SCHEDULES_FROM").unwrap_or(1);
    let db = Arc::new(Db::new().await);
    let engine = db.engine();
    let began = Instant::now();
    let seeds = kept().into_iter().chain(from..from + many);
    let played = stream::iter(seeds).map(|seed| {
        let (db, engine) = (Arc::clone(&db), engine.clone());
        async move { (seed, tokio::spawn(Play::run(db, engine, seed)).await) }
    });
    let played: Vec<_> = played.buffered(AT_ONCE).collect().await;
    let mut sum = check::Tally::default();
    let mut failed = vec![];
    for (seed, played) in &played {
        match played {
            Ok(Ok(tally)) => sum.add(tally),
            Ok(Err(why)) => failed.push(format!("{seed}: {why}")),
            Err(panic) => failed.push(format!("{seed}: {panic}")),
        }
    }
    #[expect(clippy::print_stdout, reason = "how much went wrong is what one wants to know")]
    let () = println!("{} schedules in {:.1?}: {sum:?}", played.len(), began.elapsed());
    keep(&failed);
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    sum.is_telling(played.len());
}

fn kept() -> Vec<u64> {
    let text = fs::read_to_string(KEPT).unwrap();
    let seeds = text.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    seeds.collect()
}

/// Writes down what failed, so that it runs first from now on.
fn keep(failed: &[String]) {
    let known = kept();
    let mut text = fs::read_to_string(KEPT).unwrap();
    for line in failed {
        let (seed, why) = line.split_once(": ").unwrap();
        if !seed.parse().is_ok_and(|seed: u64| known.contains(&seed)) {
            let why: String = why.lines().next().unwrap_or_default().chars().take(100).collect();
            writeln!(text, "{seed} # {why}").unwrap();
        }
    }
    if !failed.is_empty() {
        fs::write(KEPT, text).unwrap();
    }
}
