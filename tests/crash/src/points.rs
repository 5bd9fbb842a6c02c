//! The fail points, and which processes pass them.

/// What a process is started as. The numbers tell apart two processes of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    Write(usize),
    Saga(usize),
    /// By its place in [`projections::ALL`].
    Projector(usize),
    Read,
}

/// Processes of the command API, and of the saga.
pub const TWINS: usize = 2;

impl Slot {
    /// Every process of the program, in the order in which they are started.
    pub fn all() -> Vec<Slot> {
        let write = (0..TWINS).map(Slot::Write);
        let saga = (0..TWINS).map(Slot::Saga);
        let projectors = (0..projections::ALL.len()).map(Slot::Projector);
        write.chain(saga).chain(projectors).chain([Slot::Read]).collect()
    }

    /// For people and for names of files.
    pub fn name(self) -> String {
        match self {
            Slot::Write(number) => format!("write-{number}"),
            Slot::Saga(number) => format!("saga-{number}"),
            Slot::Projector(number) => format!("projector-{}", projections::ALL[number].name),
            Slot::Read => "read".to_owned(),
        }
    }

    /// The fail points that such a process can die at.
    pub fn points(self) -> Vec<&'static str> {
        let areas: &[&str] = match self {
            // A request carries on what it begins; only the runners read of it and take it up.
            Slot::Write(_) => &["write-api", "engine", "saga"],
            Slot::Saga(_) => &["saga", "timer", "engine"],
            Slot::Projector(_) => &["projector"],
            Slot::Read => &[],
        };
        let of_areas =
            |point: &&&str| areas.contains(&point.split("::").next().unwrap_or_default());
        let reached =
            |point: &&&str| !matches!(self, Slot::Write(_)) || !OF_RUNNERS.contains(point);
        POINTS.iter().filter(of_areas).filter(reached).copied().collect()
    }
}

/// Points that only the process manager passes.
const OF_RUNNERS: &[&str] = &[
    "saga::before-arm",
    "saga::after-arm",
    "saga::after-claim",
    "saga::before-put",
    "saga::after-put",
];

/// Every fail point of the program, in the order in which a purchase passes them.
pub const POINTS: &[&str] = &[
    "write-api::after-parse",
    "engine::before-decide",
    "engine::after-decide",
    "engine::before-append",
    "engine::after-append",
    "engine::after-snapshot",
    "engine::before-reply",
    "write-api::before-rest",
    "write-api::before-drive",
    "saga::before-arm",
    "saga::after-arm",
    "saga::after-claim",
    "saga::before-step",
    "saga::after-hold",
    "saga::before-call",
    "saga::after-call",
    "saga::after-allocate",
    "saga::after-release",
    "saga::after-step",
    "saga::after-refund",
    "saga::before-cancelled",
    "timer::before-expire",
    "timer::after-expire",
    "saga::before-put",
    "saga::after-put",
    "write-api::after-rest",
    "write-api::before-reply",
    "projector::after-read",
    "projector::after-apply",
    "projector::before-commit",
    "projector::after-commit",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn no_point_is_forgotten() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = BTreeSet::new();
        for name in ["event-store", "projections", "sagas", "write-api"] {
            collect(&root.join(name).join("src"), &mut found);
        }
        let listed: BTreeSet<String> = POINTS.iter().map(|&point| point.to_owned()).collect();
        assert_eq!(listed, found);
        assert_eq!(listed.len(), POINTS.len(), "a point is listed twice");
    }

    #[test]
    fn every_point_is_passed_by_some_process() {
        let passed: BTreeSet<&str> = Slot::all().into_iter().flat_map(Slot::points).collect();
        assert_eq!(passed, POINTS.iter().copied().collect());
    }

    fn collect(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split("fail_point!(\"").skip(1) {
                found.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
}
