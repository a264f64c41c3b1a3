//! Who is measured under what, in which order.

use crate::Outcome;
use crate::table::Row;
use std::collections::HashMap;
use strait_measure::{Figures, Kind, Load, Placement, Report};

/// Someone who is measured.
pub trait Contender {
    /// What it is called in tables.
    fn name(&self) -> &str;
    /// Why a load doesn't apply, if it doesn't.
    fn refusal(&self, load: &Load) -> Option<String>;
    /// Runs a load once, with processes of its own that are gone afterwards.
    fn run(&self, load: &Load, placement: Placement) -> Outcome<Figures>;
}

/// All that is to be measured.
pub struct Contest {
    pub contenders: Vec<Box<dyn Contender>>,
    pub loads: Vec<Load>,
    pub placements: Vec<Placement>,
    pub reps: u32,
    /// About how long one run is to take.
    pub seconds: f64,
}

/// What was measured, and what couldn't be.
#[derive(Debug, Default)]
pub struct Results {
    pub rows: Vec<Row>,
    /// Peer and load, and why there is no figure.
    pub gaps: Vec<String>,
}

/// One contender under one load in one placement.
type Cell = (usize, Load, Placement);

impl Contest {
    /// First a short run of each, which isn't counted: it says how much is enough, and who can't. Then the repetitions, each of
    /// all contenders one after the other: what else the machine does hits them alike.
    pub fn hold(&self, say: impl Fn(&str)) -> Results {
        let mut results = Results::default();
        let mut lengths = HashMap::new();
        say("short runs first, to see how quick everyone is");
        for (contender, load, placement) in self.cells() {
            match self.pilot(contender, &load, placement) {
                Ok(length) => drop(lengths.insert((contender, load, placement), length)),
                Err(why) => results.gap(self.contenders[contender].name(), &load, Some(placement), &why),
            }
        }
        for rep in 0..self.reps {
            let mut last = None;
            for (contender, load, placement) in self.cells() {
                let Some(length) = lengths.get(&(contender, load, placement)) else { continue };
                if last.replace((load, placement)) != Some((load, placement)) {
                    let (name, placement) = (load.name(), placement.name());
                    say(&format!("repetition {} of {}: {name} {} {placement}", rep + 1, self.reps, load.bytes));
                }
                let peer = &self.contenders[contender];
                match peer.run(length, placement) {
                    Ok(figures) => results.rows.extend(Row::of(peer.name(), length, placement, rep, &figures)),
                    Err(error) => results.gap(peer.name(), &load, Some(placement), &error.to_string()),
                }
            }
        }
        results
    }

    fn cells(&self) -> impl Iterator<Item = Cell> {
        let placed =
            self.placements.iter().flat_map(|placement| self.loads.iter().map(move |load| (*placement, *load)));
        // Memory doesn't depend on where a process runs; and of processes that are yet to be started only one can be placed.
        let once = |load: &Load| matches!(load.kind, Kind::Idle | Kind::Spawn);
        let placed = placed.filter(move |(placement, load)| !once(load) || *placement == self.placements[0]);
        placed.flat_map(move |(placement, load)| {
            let fits = move |n: &usize| self.contenders[*n].refusal(&load).is_none();
            (0..self.contenders.len()).filter(fits).map(move |n| (n, load, placement))
        })
    }

    /// The load, as long as it has to be for this contender.
    fn pilot(&self, contender: usize, load: &Load, placement: Placement) -> Result<Load, String> {
        let is_led_by_time = load.bystanders > 0 && load.kind != Kind::Topics;
        if matches!(load.kind, Kind::Idle | Kind::Watched) || is_led_by_time {
            return Ok(load.lasting(self.seconds, if load.kind == Kind::Idle { 0.0 } else { 100_000.0 }));
        }
        let figures = self.contenders[contender].run(load, placement).map_err(|error| error.to_string())?;
        Ok(load.lasting(self.seconds, per_second(load, &figures).ok_or("no figures")?))
    }
}

impl Results {
    pub fn gap(&mut self, peer: &str, load: &Load, placement: Option<Placement>, why: &str) {
        let placement = placement.map_or("", Placement::name);
        self.gaps.push(format!("{peer}, {} {} {placement}: {why}", load.name(), load.bytes));
    }
}

/// How many messages of a load go in a second, by what a short run of it has measured.
fn per_second(load: &Load, figures: &Figures) -> Option<f64> {
    let of = |wanted: &str| figures.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    match load.kind.is_stream() {
        true => Some(of("msgs_per_s")? / load.receivers as f64),
        false => Some(1e6 / of("mean_us")?),
    }
}

/// From the first message that any receiver had to the last that any had.
pub fn span_ns(reports: &[Report]) -> Option<u64> {
    let first = reports.iter().filter_map(|report| Some(report.span_ns?.0)).min()?;
    let last = reports.iter().filter_map(|report| Some(report.span_ns?.1)).max()?;
    Some(last - first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    struct Fake(&'static str, Rc<RefCell<Vec<String>>>);

    impl Contender for Fake {
        fn name(&self) -> &str {
            self.0
        }

        fn refusal(&self, load: &Load) -> Option<String> {
            (self.0 == "b" && load.kind == Kind::Idle).then(|| "no".into())
        }

        fn run(&self, load: &Load, placement: Placement) -> Outcome<Figures> {
            let line = format!("{} {} {} {}", self.0, load.name(), placement.name(), load.count);
            self.1.borrow_mut().push(line);
            match (self.0, load.bytes) {
                ("b", 1024) => Err("too large".into()),
                _ => Ok(vec![("msgs_per_s".into(), 1e6), ("mean_us".into(), 10.0)]),
            }
        }
    }

    fn contest(loads: Vec<Load>) -> (Contest, Rc<RefCell<Vec<String>>>) {
        let log = Rc::new(RefCell::new(Vec::new()));
        let contenders: Vec<Box<dyn Contender>> =
            vec![Box::new(Fake("a", log.clone())), Box::new(Fake("b", log.clone()))];
        let placements = vec![Placement::Free, Placement::Same];
        (Contest { contenders, loads, placements, reps: 2, seconds: 0.5 }, log)
    }

    #[test]
    fn contenders_take_turns_and_runs_are_as_long_as_the_short_ones_were_quick() {
        let (contest, log) = contest(vec![Load::new(Kind::OneWay, 64)]);
        let results = contest.hold(|_| ());
        assert_eq!(results.rows.len(), 2 * 2 * 2 * 2);
        let log = log.borrow();
        assert_eq!(log[..2], ["a oneway free 20000", "b oneway free 20000"]);
        assert_eq!(log[4..6], ["a oneway free 500000", "b oneway free 500000"]);
        assert_eq!(log.len(), 4 + 8);
    }

    #[test]
    fn who_fails_is_named_and_not_asked_again() {
        let (contest, log) = contest(vec![Load::new(Kind::RoundTrip, 1024)]);
        let results = contest.hold(|_| ());
        assert_eq!(results.gaps, ["b, rtt 1024 free: too large", "b, rtt 1024 same: too large"]);
        assert_eq!(log.borrow().iter().filter(|line| line.starts_with("b")).count(), 2);
    }

    #[test]
    fn memory_is_weighed_in_one_placement_and_only_of_whom_it_applies_to() {
        let (contest, log) = contest(vec![Load::new(Kind::Idle, 64)]);
        contest.hold(|_| ());
        assert_eq!(*log.borrow(), ["a idle free 200", "a idle free 200"]);
    }

    #[test]
    fn a_stream_lasts_from_the_first_receipt_anywhere_to_the_last() {
        let report = |span_ns| Report { span_ns, ..Report::default() };
        assert_eq!(span_ns(&[report(Some((5, 10))), report(Some((3, 8)))]), Some(7));
        assert_eq!(span_ns(&[report(None)]), None);
    }
}
