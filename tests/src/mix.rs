//! Two honest worlds among misbehaving ones: what they feel of it, beside what they feel of as many worlds that only take processor time.

use crate::attack::Attack;
use crate::soak::Chance;
use crate::{Gauge, Stage, kill_payload, payload_of, processor_time};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use strait_broker::WorldId;

/// Payload of a round trip.
pub const TRIP_BYTES: usize = 64;
/// Misbehaving worlds that take all the time they get: flooder, its sink, bell ringer, scribbler.
const BUSY: usize = 4;
/// The longest that a scribbler is waited for.
const SCRIBBLING: Duration = Duration::from_secs(2);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Round trips of the honest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub trips: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub longest_us: f64,
}

impl Measured {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len().saturating_sub(1) as f64 * share) as usize;
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Self { trips: times.len() as u64, p50_us: at(0.5), p99_us: at(0.99), longest_us: at(1.0) }
    }
}

/// What came of it. Every round trip was right, else there is none.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub alone: Measured,
    /// Beside as many worlds as are busy among the misbehaving ones, which only take processor time.
    pub burdened: Measured,
    /// Among all who misbehave but the scribblers.
    pub pestered: Measured,
    /// And with a scribbler after the other.
    pub disturbed: Measured,
    /// Scribblers that were ended for what they wrote, and all of them.
    pub quarantined: u64,
    pub scribblers: u64,
    /// What the sink got from the flooder.
    pub flooded: u64,
    /// Who had how much of a processor while the misbehaving were there.
    pub shares: Vec<(&'static str, f64)>,
    pub switch: Gauge,
}

/// Measures the four for so long each.
pub fn run(time: Duration, seed: u64) -> Result<Outcome> {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    let timer = stage.add("timer", &["timer", "echo"], &["echo"]);
    let mut switch = Gauge::new(stage.broker_pids().1);
    let alone = measure(&mut stage, timer, |_| rest(time))?;
    let burners: Vec<WorldId> = (0..BUSY).map(|n| stage.add(&format!("burner-{n}"), &["burner"], &[])).collect();
    let burdened = measure(&mut stage, timer, |_| rest(time))?;
    burners.into_iter().try_for_each(|burner| end(&mut stage, burner))?;
    let (sink, busy) = misbehave(&mut stage, echo)?;
    let pestered = measure(&mut stage, timer, |_| rest(time))?;
    let mut scribblers = Scribblers { chance: Chance::new(seed), started: 0, quarantined: 0 };
    let mut shares = Shares::new(&mut stage, &[("echo", echo), ("timer", timer)], &busy);
    let disturbed = measure(&mut stage, timer, |stage| {
        let end = Instant::now() + time;
        while Instant::now() < end {
            scribblers.run_one(stage)?;
            switch.look();
        }
        shares.take();
        Ok(())
    })?;
    let flooded = String::from_utf8(stage.ask(sink, b"how many?"))?.parse()?;
    let Scribblers { started, quarantined, .. } = scribblers;
    let shares = shares.shares;
    Ok(Outcome { alone, burdened, pestered, disturbed, quarantined, scribblers: started, flooded, shares, switch })
}

/// The figures of a while, without those of the time it took to get there.
fn measure(stage: &mut Stage, timer: WorldId, while_: impl FnOnce(&mut Stage) -> Result<()>) -> Result<Measured> {
    std::thread::sleep(Duration::from_millis(200));
    stage.ask(timer, b"forget");
    while_(stage)?;
    Ok(serde_json::from_slice(&stage.ask(timer, b"figures"))?)
}

fn rest(time: Duration) -> Result<()> {
    std::thread::sleep(time);
    Ok(())
}

/// Starts all who misbehave but the scribblers. Returns the sink, and who is busy.
fn misbehave(stage: &mut Stage, forbidden: WorldId) -> Result<(WorldId, Vec<(&'static str, WorldId)>)> {
    let sink = stage.add("sink", &["sink"], &[]);
    let flooder = stage.add("flooder", &["flooder", "sink", &forbidden.0.to_string()], &["sink"]);
    stage.add("deaf", &["deaf"], &[]);
    let talks_to_the_deaf = stage.add("to-the-deaf", &["flood", "deaf"], &["deaf"]);
    let ringer = stage.add("ringer", &["rogue"], &[]);
    order(stage, ringer, &Attack::Bell { rings: u64::MAX })?;
    let busy = [("flooder", flooder), ("sink", sink), ("to the deaf", talks_to_the_deaf), ("bell ringer", ringer)];
    Ok((sink, busy.into()))
}

fn order(stage: &mut Stage, rogue: WorldId, attack: &Attack) -> Result<()> {
    stage.client().start_request(rogue, &serde_json::to_vec(attack)?, Duration::from_secs(600))?;
    Ok(())
}

fn end(stage: &mut Stage, world: WorldId) -> Result<()> {
    let pid = stage.pid(world);
    kill_payload(pid);
    stage.client().wait(world, Some(crate::LONG))?;
    Ok(())
}

/// One after the other, each until it is ended.
struct Scribblers {
    chance: Chance,
    started: u64,
    quarantined: u64,
}

impl Scribblers {
    fn run_one(&mut self, stage: &mut Stage) -> Result<()> {
        self.started += 1;
        let name = format!("scribbler-{}", self.started);
        let scribbler = stage.host.spawn(&name, &crate::actor(&["rogue"], &["echo", "sink"]))?;
        order(stage, scribbler, &Attack::Scribble { seed: self.chance.word() })?;
        match stage.client().wait(scribbler, Some(SCRIBBLING)) {
            Ok(ended) => self.quarantined += u64::from(ended.note.starts_with("quarantined: ")),
            Err(_) => end(stage, scribbler)?,
        }
        // What became of the order, and what the scribblers sent here.
        while stage.client().try_receive()?.is_some() {}
        Ok(())
    }
}

/// Processor time of worlds and of the switch, from one point in time to another.
struct Shares {
    begin: Instant,
    pids: Vec<(&'static str, u32, Duration)>,
    shares: Vec<(&'static str, f64)>,
}

impl Shares {
    fn new(stage: &mut Stage, honest: &[(&'static str, WorldId)], busy: &[(&'static str, WorldId)]) -> Self {
        let mut pids = vec![("switch", stage.broker_pids().1), ("supervisor", stage.broker_pids().0)];
        for (name, world) in honest.iter().chain(busy) {
            let pid = stage.pid(*world);
            pids.extend(payload_of(pid).map(|pid| (*name, pid)));
        }
        let pids = pids.into_iter().map(|(name, pid)| (name, pid, processor_time(pid))).collect();
        Self { begin: Instant::now(), pids, shares: Vec::new() }
    }

    fn take(&mut self) {
        let time = self.begin.elapsed().as_secs_f64();
        let share = |before: Duration, pid| processor_time(pid).saturating_sub(before).as_secs_f64() / time;
        self.shares = self.pids.iter().map(|(name, pid, before)| (*name, share(*before, *pid))).collect();
    }
}
