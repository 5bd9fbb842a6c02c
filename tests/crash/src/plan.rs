//! Which faults come when: all of it follows from the seed.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;

use crate::{
    fleet::CrashAt,
    points::{Slot, TWINS},
    proxy::Cut,
};

/// Deaths of one process in one round.
const DEATHS: std::ops::RangeInclusive<usize> = 3..=5;

/// Highest number of times a point is passed before the process dies there.
const NTH_MAX: u32 = 5;

/// What comes to a round beside deaths of processes; instead of them if it is the server's.
#[derive(Clone, Copy, Debug)]
enum Extra {
    Server,
    Cuts,
    Pause,
    Rebuild,
    Read,
    Nothing,
}

/// How often each comes in as many rounds.
const EXTRAS: [Extra; 9] = [
    Extra::Server,
    Extra::Cuts,
    Extra::Cuts,
    Extra::Cuts,
    Extra::Pause,
    Extra::Rebuild,
    Extra::Rebuild,
    Extra::Read,
    Extra::Nothing,
];

/// Of a hundred pauses, how many last longer than a saga's lease, and how long that is.
const LONG_PAUSES: u8 = 15;
const LONG_PAUSE: Duration = Duration::from_secs(32);

/// Of a hundred deaths, how many come from outside at no point in particular.
const ANYWHERE: u8 = 10;

/// What happens to one process, or to the server, one thing after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Dies and comes back, again and again.
    Deaths(Slot, Vec<Death>),
    /// Its wire is cut at appends.
    Cuts(Slot, Vec<Cut>),
    /// Stands still.
    Pause { slot: Slot, after: Duration, span: Duration },
    /// A projection is built anew beside the live one; whoever does it dies if it takes longer.
    Rebuild { projection: usize, killed_after: Duration },
    /// PostgreSQL dies and comes back.
    Server { after: Duration },
}

/// How a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    At(CrashAt),
    After(Duration),
}

/// Makes one round after the other.
#[derive(Debug)]
pub struct Plan {
    rng: Rng,
    /// Points of each kind of process that were not chosen for a while.
    decks: BTreeMap<Slot, Vec<&'static str>>,
    extras: Vec<Extra>,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        Plan { rng: Rng::with_seed(seed), decks: BTreeMap::new(), extras: Vec::new() }
    }

    /// Lanes that run side by side. Something of each role is left alone, so that there is always
    /// somebody to buy from.
    pub fn round(&mut self) -> Vec<Lane> {
        let (write, saga) = (self.rng.usize(..TWINS), self.rng.usize(..TWINS));
        let left_alone = [Slot::Write(1 - write), Slot::Saga(1 - saga)][self.rng.usize(..TWINS)];
        let mut lanes = match self.extra() {
            Extra::Server => return vec![Lane::Server { after: self.millis(200, 2_000) }],
            Extra::Cuts => {
                let cuts = (0..self.rng.usize(DEATHS)).map(|_| self.cut()).collect();
                vec![Lane::Cuts(left_alone, cuts)]
            }
            Extra::Pause => {
                let after = self.millis(0, 1_000);
                // After a long one it takes for its own what is another's by now.
                let (slot, span) = if self.chance(LONG_PAUSES) {
                    (Slot::Saga(1 - saga), LONG_PAUSE)
                } else {
                    (left_alone, self.millis(1_000, 5_000))
                };
                vec![Lane::Pause { slot, after, span }]
            }
            Extra::Rebuild => {
                let projection = self.rng.usize(..projections::ALL.len());
                let killed_after = self.millis(100, 3_000);
                vec![Lane::Rebuild { projection, killed_after }]
            }
            Extra::Read => {
                let deaths = vec![Death::After(self.millis(0, 1_000))];
                vec![Lane::Deaths(Slot::Read, deaths)]
            }
            Extra::Nothing => Vec::new(),
        };
        let standing_by = self.rng.usize(..projections::ALL.len());
        let projectors = (0..projections::ALL.len()).filter(|&number| number != standing_by);
        let victims = [Slot::Write(write), Slot::Saga(saga)];
        for slot in victims.into_iter().chain(projectors.map(Slot::Projector)) {
            lanes.push(self.deaths(slot));
        }
        lanes
    }

    /// All of them come before one comes again.
    fn extra(&mut self) -> Extra {
        if self.extras.is_empty() {
            self.extras = EXTRAS.to_vec();
            self.rng.shuffle(&mut self.extras);
        }
        self.extras.pop().expect("there are extras")
    }

    fn deaths(&mut self, slot: Slot) -> Lane {
        let deaths = (0..self.rng.usize(DEATHS)).map(|_| {
            if self.chance(ANYWHERE) {
                return Death::After(self.millis(0, 1_000));
            }
            let point = self.point(slot);
            Death::At(CrashAt { point, nth: self.rng.u32(1..=nth_max(point)) })
        });
        let deaths = deaths.collect();
        Lane::Deaths(slot, deaths)
    }

    /// Every point comes before one comes again.
    fn point(&mut self, slot: Slot) -> &'static str {
        let kind = match slot {
            Slot::Write(_) => Slot::Write(0),
            Slot::Saga(_) => Slot::Saga(0),
            Slot::Projector(_) => Slot::Projector(0),
            Slot::Read => Slot::Read,
        };
        let deck = self.decks.entry(kind).or_default();
        if deck.is_empty() {
            *deck = kind.points();
            self.rng.shuffle(deck);
        }
        deck.pop().expect("a process that is to die at a point passes some")
    }

    fn cut(&mut self) -> Cut {
        [Cut::Before, Cut::During, Cut::After][self.rng.usize(..3)]
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.u64(from..to))
    }
}

/// Some points are passed seldom.
fn nth_max(point: &str) -> u32 {
    match point {
        "timer::before-expire"
        | "timer::after-expire"
        | "saga::after-refund"
        | "saga::before-cancelled"
        | "saga::after-release"
        | "engine::after-snapshot" => 1,
        _ => NTH_MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::points::POINTS;

    #[test]
    fn the_same_seed_makes_the_same_faults() {
        let rounds = |seed| {
            let mut plan = Plan::new(seed);
            (0..50).map(|_| plan.round()).collect::<Vec<_>>()
        };
        assert_eq!(rounds(1), rounds(1));
        assert_ne!(rounds(1), rounds(2));
    }

    #[test]
    fn every_point_has_its_turn_within_twenty_rounds() {
        let mut plan = Plan::new(7);
        let mut seen = BTreeSet::new();
        for lane in (0..20).flat_map(|_| plan.round()) {
            let Lane::Deaths(_, deaths) = lane else { continue };
            seen.extend(deaths.iter().filter_map(|death| match death {
                Death::At(at) => Some(at.point),
                Death::After(_) => None,
            }));
        }
        assert_eq!(seen, POINTS.iter().copied().collect());
    }
}
