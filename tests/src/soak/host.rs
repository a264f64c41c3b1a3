//! The host of a soak: keeps the number of worlds, kills some, listens, and judges at the end.

use super::{Chance, News, Order, Report, Reports, Tally, discrepancies};
use crate::{Gauge, Stage, kill_payload};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use strait_broker::{Client, Error, Kind, WorldId};

/// For what the broker does at once; more than a machine with much to do, or held up for a while, takes.
const AGES: Duration = Duration::from_secs(600);
/// How long the worlds have at the end to receive what is under way.
const SETTLING: Duration = Duration::from_secs(60);
/// Between two deaths, at most.
const DEATH_EVERY: Duration = Duration::from_secs(4);
/// Complaints that are kept.
const MAX_WRONG: usize = 100;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub time: Duration,
    pub worlds: usize,
    pub seed: u64,
}

/// How it stands.
#[derive(Clone, Debug)]
pub struct Progress {
    pub elapsed: Duration,
    pub worlds: usize,
    pub deaths: u64,
    /// As far as the worlds have told; of the dead, until shortly before.
    pub tally: Tally,
    pub switch: Gauge,
    pub wrong: Vec<String>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub progress: Progress,
    /// Bytes of its own memory that the switch may have come to hold: every world's budget, twice (what frees it may keep a while).
    pub bound_kib: u64,
}

impl Outcome {
    /// Everything that is wrong, memory included.
    pub fn complaints(&self) -> Vec<String> {
        let Progress { switch, wrong, .. } = &self.progress;
        let grown = switch.most.own_kib.saturating_sub(switch.start.own_kib);
        let beyond = (grown > self.bound_kib)
            .then(|| format!("the switch has grown by {grown} KiB, {} are allowed", self.bound_kib));
        wrong.iter().cloned().chain(beyond).collect()
    }
}

struct Soak {
    stage: Stage,
    plan: Plan,
    chance: Chance,
    begin: Instant,
    /// Worlds that are there, with the pid of their jail.
    worlds: Vec<(WorldId, u32)>,
    started: u64,
    deaths: u64,
    tallies: BTreeMap<WorldId, Tally>,
    switch: Gauge,
    wrong: Vec<String>,
}

/// Runs a plan to its end, or until `goes_on` says no, which is shown how it stands several times a second.
pub fn run(plan: &Plan, mut goes_on: impl FnMut(&Progress) -> bool) -> Result<Outcome, Box<dyn std::error::Error>> {
    let mut soak = Soak::new(plan)?;
    let mut next_death = Instant::now() + soak.chance.up_to(DEATH_EVERY);
    while soak.begin.elapsed() < plan.time && goes_on(&soak.progress()) {
        soak.listen(Duration::from_millis(100))?;
        soak.switch.look();
        if Instant::now() >= next_death {
            soak.replace_one()?;
            next_death = Instant::now() + soak.chance.up_to(DEATH_EVERY);
        }
    }
    soak.settle()?;
    soak.switch.look();
    soak.end()
}

impl Soak {
    fn new(plan: &Plan) -> Result<Self, Box<dyn std::error::Error>> {
        let stage = Stage::new();
        let switch = Gauge::new(stage.broker_pids().1);
        let mut soak = Self {
            stage,
            plan: plan.clone(),
            chance: Chance::new(plan.seed),
            begin: Instant::now(),
            worlds: Vec::new(),
            started: 0,
            deaths: 0,
            tallies: BTreeMap::new(),
            switch,
            wrong: Vec::new(),
        };
        for _ in 0..plan.worlds {
            soak.start_one()?;
        }
        soak.switch = Gauge::new(soak.stage.broker_pids().1);
        soak.begin = Instant::now();
        soak.order(&soak.peers())?;
        Ok(soak)
    }

    fn client(&mut self) -> &mut Client {
        self.stage.client()
    }

    fn start_one(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        self.started += 1;
        let (name, seed) = (format!("soak/{}", self.started), self.plan.seed.to_string());
        let id = self.stage.host.spawn(&name, &crate::actor(&["soaker", &seed], &["soak/*"]))?;
        let pid = self.stage.pid(id);
        self.worlds.push((id, pid));
        Ok(())
    }

    fn peers(&self) -> Order {
        Order::Peers(self.worlds.iter().map(|(id, _)| id.0).collect())
    }

    fn order(&mut self, order: &Order) -> Result<(), Box<dyn std::error::Error>> {
        let text = serde_json::to_vec(order)?;
        for (id, _) in self.worlds.clone() {
            self.client().send(id, &text)?;
        }
        Ok(())
    }

    /// Kills a world; when it is gone, another takes its place, and all are told.
    fn replace_one(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let at = self.chance.below(self.worlds.len());
        let (id, pid) = self.worlds.swap_remove(at);
        kill_payload(pid);
        let ended = self.client().wait(id, Some(AGES))?;
        if ended.signal != Some(9) || ended.killed {
            self.complain(format!("{id} was to be killed: {ended:?}"));
        }
        self.deaths += 1;
        self.start_one()?;
        self.order(&self.peers())
    }

    fn listen(&mut self, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let Some(record) = self.client().receive(Some(left))? else { break };
            let (header, payload) = (record.header(), record.payload().to_vec());
            if header.kind == Kind::Message {
                self.hear(header.source, &payload)?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, from: WorldId, payload: &[u8]) -> Result<(), serde_json::Error> {
        match serde_json::from_slice(payload)? {
            News::Tally(tally) => drop(self.tallies.insert(from, tally)),
            News::Wrong(what) => self.complain(what),
        }
        Ok(())
    }

    fn complain(&mut self, what: String) {
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push(what);
        }
    }

    fn progress(&self) -> Progress {
        let mut tally = Tally::default();
        self.tallies.values().for_each(|one| tally.add(one));
        Progress {
            elapsed: self.begin.elapsed(),
            worlds: self.worlds.len(),
            deaths: self.deaths,
            tally,
            switch: self.switch.clone(),
            wrong: self.wrong.clone(),
        }
    }

    /// Lets everybody receive what is under way, until all fits together or it is clear that it never will.
    fn settle(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        self.order(&Order::Quiet)?;
        let end = Instant::now() + SETTLING;
        loop {
            self.listen(Duration::from_millis(200))?;
            let found = discrepancies(&self.reports()?);
            if found.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                found.into_iter().for_each(|what| self.complain(what));
                return Ok(());
            }
        }
    }

    fn reports(&mut self) -> Result<Reports, Box<dyn std::error::Error>> {
        let question = serde_json::to_vec(&Order::Report)?;
        let mut reports = Reports::new();
        for (id, _) in self.worlds.clone() {
            match self.client().request(id, &question, AGES) {
                Ok(reply) => {
                    let report: Report = serde_json::from_slice(&reply.payload)?;
                    self.tallies.insert(id, report.tally);
                    reports.insert(id.0, report);
                }
                Err(Error::Undelivered { reason, .. }) => {
                    self.worlds.retain(|(other, _)| *other != id);
                    self.complain(format!("{id} has ended by itself: {reason}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(reports)
    }

    fn end(self) -> Result<Outcome, Box<dyn std::error::Error>> {
        let mut progress = self.progress();
        let bound_kib = (self.plan.worlds as u64 + 1) * 2 * 256 + 8192;
        let ends = self.stage.host.stop(AGES, "the soak is over")?;
        let bad = ends.iter().filter(|ended| ended.code != Some(0)).map(|ended| format!("{ended:?}"));
        progress.wrong.extend(bad);
        Ok(Outcome { progress, bound_kib })
    }
}
