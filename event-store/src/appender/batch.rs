//! The entries of one call, and the verdict on each.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::{BYTES_PER_CALL_MAX, EVENTS_PER_CALL_MAX, Settled, Waiting};
use crate::lookup::Fate;
use crate::{Done, Loser, Refusal, StoreError, Unit};

/// Entries in the order of their decisions. At least one.
#[derive(Debug)]
pub(super) struct Batch {
    waiting: Vec<Waiting>,
    /// One per entry; a unit without one is to be sent.
    verdicts: Vec<Option<Settled>>,
}

impl Batch {
    /// Takes from the front of the queue what fits into one call; `None` if the queue is empty.
    pub(super) fn take(queue: &mut VecDeque<Waiting>) -> Option<Batch> {
        let mut waiting = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        while let Some(next) = queue.front() {
            if let Some(unit) = &next.entry.unit {
                events += unit.events.len();
                bytes += unit.bytes() + unit.metadata.len();
            }
            let full = EVENTS_PER_CALL_MAX < events || BYTES_PER_CALL_MAX < bytes;
            if full && !waiting.is_empty() {
                break;
            }
            waiting.extend(queue.pop_front());
        }
        let verdicts = waiting.iter().map(|_| None).collect();
        (!waiting.is_empty()).then_some(Batch { waiting, verdicts })
    }

    /// Passes over what nobody waits for any more. It has not reached the database.
    pub(super) fn drop_late(&mut self, now: Instant) {
        for (waiting, verdict) in self.waiting.iter().zip(&mut self.verdicts) {
            let entry = &waiting.entry;
            if entry.unit.is_some() && entry.deadline.is_some_and(|deadline| deadline <= now) {
                *verdict = Some(Settled::Failed(StoreError::Late));
            }
        }
    }

    /// The units without a verdict, in order; `None` if there are none.
    pub(super) fn units(&mut self) -> Option<Vec<&Unit>> {
        self.displace();
        let units = self.waiting.iter().zip(&self.verdicts);
        let units: Vec<&Unit> = units
            .filter(|(_, verdict)| verdict.is_none())
            .filter_map(|(waiting, _)| waiting.entry.unit.as_ref())
            .collect();
        (!units.is_empty()).then_some(units)
    }

    /// Takes out what rests on a decision that is not stored.
    fn displace(&mut self) {
        let mut broken = HashSet::new();
        for (waiting, verdict) in self.waiting.iter().zip(&mut self.verdicts) {
            let chain = &waiting.entry.chain;
            let address = Arc::as_ptr(chain).addr();
            match verdict {
                None if chain.is_broken() || broken.contains(&address) => {
                    *verdict = Some(Settled::Displaced);
                }
                None | Some(Settled::Done(_)) => {}
                Some(_) => {
                    broken.insert(address);
                }
            }
        }
    }

    /// Everything without a verdict was stored.
    pub(super) fn stored(&mut self, done: Vec<Done>) {
        for (at, done) in self.open().into_iter().zip(done) {
            self.verdicts[at] = Some(Settled::Done(done));
        }
    }

    /// These of the units without a verdict were not stored, nor were the others.
    pub(super) fn refused(&mut self, losers: Vec<Loser>) {
        let open = self.open();
        let mut outrun = HashSet::new();
        for Loser { unit, why } in losers {
            let at = open[unit];
            let chain = Arc::as_ptr(&self.waiting[at].entry.chain).addr();
            // The log names every unit of a stream that moved. Only the first was outrun; the others
            // rest on it, and have not had their try.
            if matches!(why, Refusal::Version { .. }) && !outrun.insert(chain) {
                continue;
            }
            self.verdicts[at] = Some(Settled::Refused(why));
        }
    }

    /// Nothing without a verdict was stored.
    pub(super) fn failed(&mut self, error: &StoreError) {
        for at in self.open() {
            self.verdicts[at] = Some(Settled::Failed(error.clone()));
        }
    }

    /// What the log knew of the units without a verdict, after the connection died. A unit it does
    /// not know is sent again. One that another process has carried out is a repeat like any other:
    /// the events may be others than those decided here.
    pub(super) fn found(&mut self, fates: Vec<Option<Fate>>) {
        for (at, fate) in self.open().into_iter().zip(fates) {
            let Some(Fate { record, event_id }) = fate else { continue };
            let unit = self.waiting[at].entry.unit.as_ref().expect("an open entry has a unit");
            let ours = unit.events.last().map(|event| event.event_id) == event_id;
            self.verdicts[at] = Some(match (ours, record.fingerprint == unit.fingerprint) {
                (true, _) => Settled::Done(record.done()),
                (false, true) => Settled::Refused(Refusal::Repeated),
                (false, false) => Settled::Refused(Refusal::Reused),
            });
        }
    }

    /// Answers everybody, in order; returns the last position stored.
    pub(super) fn settle(self) -> Option<i64> {
        // Chains break before anybody hears of it: whoever decides again reads the stream anew.
        for (waiting, verdict) in self.waiting.iter().zip(&self.verdicts) {
            if matches!(verdict, Some(verdict) if !matches!(verdict, Settled::Done(_))) {
                waiting.entry.chain.break_off();
            }
        }
        let mut last = None;
        for (waiting, verdict) in self.waiting.into_iter().zip(self.verdicts) {
            let Waiting { entry, .. } = &waiting;
            let settled = match verdict {
                Some(Settled::Done(done)) => {
                    entry.chain.advance(done.version, done.position);
                    last = last.max(Some(done.position));
                    Settled::Done(done)
                }
                Some(verdict) => verdict,
                None if entry.chain.is_broken() => Settled::Displaced,
                None => {
                    let (version, position) = entry.chain.stored();
                    Settled::Reached { version, position }
                }
            };
            waiting.settle(settled);
        }
        last
    }

    /// Indexes of the units without a verdict.
    fn open(&self) -> Vec<usize> {
        let entries = self.waiting.iter().zip(&self.verdicts).enumerate();
        entries
            .filter(|(_, (waiting, verdict))| verdict.is_none() && waiting.entry.unit.is_some())
            .map(|(at, _)| at)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::super::Entry;
    use super::*;
    use crate::chain::Chain;
    use crate::{CommandRecord, NewEvent, StreamKey};

    /// A unit on version `expected`, whose only event has the id `event`.
    fn unit(expected: i64, event: u128) -> Unit {
        Unit {
            stream: StreamKey { store_id: Uuid::nil(), category: "account", id: Uuid::nil() },
            expected,
            command_id: Uuid::from_u128(event),
            fingerprint: [7; 32],
            metadata: b"{}".to_vec(),
            keys: vec![],
            events: vec![NewEvent {
                event_id: Uuid::from_u128(event),
                event_type: "AccountDeposited".into(),
                schema_version: 1,
                payload: b"{}".to_vec(),
            }],
        }
    }

    /// Two decisions of one chain, the second on what the first left behind, and one of another.
    fn batch() -> (Batch, Vec<oneshot::Receiver<Settled>>) {
        let (one, other) = (Chain::at(0, 0), Chain::at(5, 5));
        let entries = [(&one, unit(0, 1)), (&one, unit(1, 2)), (&other, unit(5, 3))];
        let mut replies = vec![];
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        for (chain, unit) in entries {
            let (reply, settled) = oneshot::channel();
            chain.add_outstanding();
            let entry = Entry { chain: Arc::clone(chain), unit: Some(unit), deadline: None };
            queue.push_back(Waiting { entry, reply: Some(reply) });
            replies.push(settled);
        }
        (Batch::take(&mut queue).expect("there is something in the queue"), replies)
    }

    #[test]
    fn of_a_stream_that_moved_only_the_first_command_was_outrun() {
        let (mut batch, mut replies) = batch();
        let outrun = |unit| Loser { unit, why: Refusal::Version { current: 9 } };

        batch.refused(vec![outrun(0), outrun(1)]);
        let left: Vec<i64> =
            batch.units().expect("one is left").iter().map(|unit| unit.expected).collect();
        batch.stored(vec![Done { id: Uuid::nil(), version: 6, position: 10, replayed: false }]);

        assert_eq!((left, batch.settle()), (vec![5], Some(10)));
        let settled: Vec<Settled> =
            replies.iter_mut().map(|reply| reply.try_recv().unwrap()).collect();
        assert!(matches!(settled[0], Settled::Refused(Refusal::Version { .. })), "{settled:?}");
        assert!(matches!(settled[1], Settled::Displaced), "{settled:?}");
        assert!(matches!(settled[2], Settled::Done(_)), "{settled:?}");
    }

    #[test]
    fn a_lost_append_is_ours_if_its_events_are() {
        let (mut batch, mut replies) = batch();
        let fate = |event: u128| {
            let record = CommandRecord {
                fingerprint: vec![7; 32],
                category: "account".into(),
                stream_id: Uuid::nil(),
                version: 1,
                position: 1,
                recorded_at: chrono::DateTime::UNIX_EPOCH,
            };
            Some(Fate { record, event_id: Some(Uuid::from_u128(event)) })
        };

        // Ours, another process's, and not there.
        batch.found(vec![fate(1), fate(99), None]);

        assert_eq!(batch.units().map(|units| units.len()), Some(1), "to be sent again");
        batch.failed(&StoreError::Late);
        batch.settle();
        let settled: Vec<Settled> =
            replies.iter_mut().map(|reply| reply.try_recv().unwrap()).collect();
        assert!(matches!(settled[0], Settled::Done(Done { replayed: false, .. })), "{settled:?}");
        assert!(matches!(settled[1], Settled::Refused(Refusal::Repeated)), "{settled:?}");
        assert!(matches!(settled[2], Settled::Failed(StoreError::Late)), "{settled:?}");
    }
}
