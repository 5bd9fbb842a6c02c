//! A waiting line per variant, so that a crowd that wants one thing leaves room for those who want
//! another.
//!
//! Only a few of a line are worked for at a time: more would not be served faster, and would be in
//! the way of everybody else. The others wait their turn, which costs nothing but their place; and
//! if the line is long, they are told to come again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_kit::{Deadline, Problem};
use event_schemas::ids::{StoreId, VariantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

/// Checkouts of one variant that are begun at a time: enough to keep two cores busy and to share
/// round trips and commits.
const AT_ONCE: usize = 8;

/// Those and the ones that wait, of one variant: half of what one process works on at once, and
/// less than a second's work.
const LINE_MAX: usize = 256;

/// What we ask of a client that finds the line too long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Key = (StoreId, VariantId);

/// All lines of a process. Cheap to clone; there are as many as variants somebody waits for.
#[derive(Clone, Debug, Default)]
pub struct Crowd(Arc<Mutex<HashMap<Key, Line>>>);

#[derive(Debug)]
struct Line {
    inside: usize,
    turns: Arc<Semaphore>,
}

/// The turn to begin a checkout; the next in line gets it when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // In this order: who comes next must find the line.
    _turn: OwnedSemaphorePermit,
    _place: Place,
}

/// A place in a line.
#[derive(Debug)]
struct Place {
    crowd: Crowd,
    key: Key,
}

impl Crowd {
    /// Waits for the turn at each variant, first come, first served. `503` if a line is too long,
    /// or if nobody waits for the answer any more.
    pub(super) async fn turns(
        &self,
        store_id: StoreId,
        variants: BTreeSet<VariantId>,
        deadline: Deadline,
    ) -> Result<Vec<Turn>, Problem> {
        let mut turns = Vec::with_capacity(variants.len());
        // In the order of their ids: two that want the same things never wait for each other.
        for variant_id in variants {
            let line = self.enter((store_id, variant_id));
            let (place, line) = line.ok_or_else(|| busy("overloaded"))?;
            let turn = timeout_at(deadline.0, line.acquire_owned()).await;
            let turn = turn.map_err(|_| busy("unavailable"))?;
            let turn = turn.map_err(Problem::internal)?;
            turns.push(Turn { _turn: turn, _place: place });
        }
        Ok(turns)
    }

    fn enter(&self, key: Key) -> Option<(Place, Arc<Semaphore>)> {
        let mut lines = self.lines();
        let new = || Line { inside: 0, turns: Arc::new(Semaphore::new(AT_ONCE)) };
        let line = lines.entry(key).or_insert_with(new);
        if LINE_MAX <= line.inside {
            return None;
        }
        line.inside += 1;
        Some((Place { crowd: self.clone(), key }, Arc::clone(&line.turns)))
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Key, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.crowd.lines();
        let Some(line) = lines.get_mut(&self.key) else { return };
        line.inside -= 1;
        if line.inside == 0 {
            lines.remove(&self.key);
        }
    }
}

fn busy(code: &'static str) -> Problem {
    Problem::new(code).retry_after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;

    fn wanted(variants: &[u128]) -> BTreeSet<VariantId> {
        variants.iter().map(|&variant| VariantId(Uuid::from_u128(variant))).collect()
    }

    async fn turns(crowd: &Crowd, variants: &[u128], wait: u64) -> Result<Vec<Turn>, &'static str> {
        let deadline = Deadline(Instant::now() + Duration::from_millis(wait));
        let store_id = StoreId(Uuid::from_u128(1));
        let turns = crowd.turns(store_id, wanted(variants), deadline).await;
        turns.map_err(|problem| problem.code())
    }

    #[tokio::test(start_paused = true)]
    async fn one_crowd_is_not_in_the_way_of_another() {
        let crowd = Crowd::default();
        let mut begun = Vec::new();
        for _ in 0..AT_ONCE {
            begun.push(turns(&crowd, &[1], 0).await.unwrap());
        }
        assert_eq!(turns(&crowd, &[1], 50).await.unwrap_err(), "unavailable");
        assert_eq!(turns(&crowd, &[1, 2], 50).await.unwrap_err(), "unavailable");
        turns(&crowd, &[2, 3], 0).await.unwrap();
        begun.pop();
        turns(&crowd, &[1], 0).await.unwrap();
        begun.clear();
        assert!(crowd.lines().is_empty(), "nobody is in line");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_too_long_turns_people_away_at_once() {
        let crowd = Crowd::default();
        let waiting = (0..LINE_MAX).map(|_| turns(&crowd, &[1], 50));
        let mut waiting = futures::future::join_all(waiting);
        let began = Instant::now();
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the line moves"),
            late = turns(&crowd, &[1], 50) => assert_eq!(late.unwrap_err(), "overloaded"),
        }
        assert!(began.elapsed().is_zero());
        drop(waiting);
        assert!(crowd.lines().is_empty(), "who gives up leaves the line");
    }
}
